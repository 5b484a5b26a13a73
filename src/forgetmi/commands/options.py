"""A run specification from the command line: every dataclass field is an option, a file gives the starting values."""

from __future__ import annotations

import ast
import dataclasses
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from forgetmi.commands.command_line import command_line, take_options
from forgetmi.run.spec import CHOICES, RunSpec, applied, read_yaml


def parse(
    extra: type,
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    only: Sequence[str] = (),
    start: RunSpec | None = None,
    agent: bool = False,
) -> tuple[RunSpec, Any]:
    """Options of a command that works on a run specification.

    ``--spec FILE`` gives the starting values and single options override it. ``--cohort KIND`` and ``--method KIND``
    choose a registered part, whose own options then appear as ``--cohort.NAME`` and ``--method.NAME``.

    Args:
        extra: Dataclass of the command's own options, shown first; all with defaults or all required.
        argv: Arguments after the command's name.
        prog: The command as typed, for the help.
        description: What it does.
        only: Fields of `RunSpec` this command uses; empty = all.
        start: Starting values from elsewhere; ``--spec`` and the choice of parts are not options then.
        agent: Whether ``--NAME=VALUE`` may be written as Weights & Biases's agent does; see `read_value`.

    Returns:
        The specification and the command's own options.

    Raises:
        SpecError: A file or name is wrong. Wrong options end the process with code 2 and the nearest option's name.
    """
    chosen_elsewhere = start is not None
    used = [f for f in dataclasses.fields(RunSpec) if not only or f.name in only]
    rest, pairs = take_pairs(argv, {f.name for f in used}) if agent else (argv, {})
    words, chosen = take_options(rest, set() if chosen_elsewhere else {"spec", *CHOICES})
    if start is None:
        start = read_yaml(Path(chosen["spec"])) if "spec" in chosen else RunSpec()
    for key, registry in CHOICES.items():
        if key in chosen:
            start = dataclasses.replace(start, **{key: _default(registry.get(chosen[key]))})
    given, required = _given(start, pairs)
    words += required
    hints = typing.get_type_hints(RunSpec)
    combined = dataclasses.make_dataclass(
        "Options",
        [
            *(
                (f.name, typing.get_type_hints(extra)[f.name], _same(f))
                for f in dataclasses.fields(extra)
            ),
            *(
                (
                    f.name,
                    _type(hints[f.name], getattr(start, f.name)),
                    field(default=getattr(start, f.name)),
                )  # type: ignore[arg-type]
                for f in used
            ),
        ],
        frozen=True,
        kw_only=True,
    )
    combined.__doc__ = _documentation(extra)
    if not chosen_elsewhere:
        kinds = "; ".join(
            f"--{key} KIND with KIND one of {', '.join(registry.names())}"
            for key, registry in CHOICES.items()
            if not only or key in only
        )
        description += f"\n\n--spec FILE gives the starting values. {kinds}."
    parsed = command_line(combined, words, prog=prog, description=description)
    values = {f.name: getattr(parsed, f.name) for f in dataclasses.fields(combined)}
    own = {f.name: values.pop(f.name) for f in dataclasses.fields(extra)}
    spec = dataclasses.replace(start, **values)
    return applied(spec, given, where="command line") if given else spec, extra(**own)


def take_pairs(argv: Sequence[str], parts: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Split off ``--NAME=VALUE`` of a run's parts; ``--method=KIND`` stays, ``--method={...}`` does not."""
    rest: list[str] = []
    found: dict[str, str] = {}
    for word in argv:
        name, equals, value = word.removeprefix("--").partition("=")
        part = name.partition(".")[0].replace("-", "_")
        if (
            word.startswith("--")
            and equals
            and part in parts
            and (name not in CHOICES or value.startswith("{"))
        ):
            found[name] = value
        else:
            rest.append(word)
    return rest, found


def read_value(text: str, kind: Any) -> Any:
    """A value as Python writes it, hence Weights & Biases's agent (``True``, ``[8, 16]``, ``None``), or as YAML does.

    Args:
        text: The value.
        kind: Type of the option; where that is text, text stays as it is.
    """
    kinds = (
        typing.get_args(kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType)
        else (kind,)
    )
    if type(None) in kinds and text in ("None", "null"):
        return None
    if str in kinds or Path in kinds or text in typing.get_args(kind):
        return text
    if typing.get_origin(kind) is tuple and text[:1] not in (
        "[",
        "(",
    ):  # one value, as on any command line
        return (read_value(text, typing.get_args(kind)[0]),)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text


def _given(start: RunSpec, pairs: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values of pairs, and the words of those that the command line requires."""
    import tyro

    given: dict[str, Any] = {}
    required = []
    for name, text in pairs.items():
        part: Any = start
        *path, last = name.replace("-", "_").split(".")
        for key in path:
            part = getattr(part, key, None)
        if getattr(part, last, None) is tyro.MISSING:
            required.append(f"--{name}={text}")
        else:
            kind = (
                typing.get_type_hints(type(part)).get(last, Any)
                if dataclasses.is_dataclass(part)
                else Any
            )
            given |= _single(name, read_value(text, kind), getattr(part, last, None))
    return given, required


def _single(name: str, value: Any, now: Any) -> dict[str, Any]:
    """Options one by one, where nested parameters come as one mapping for a part."""
    if not (isinstance(value, dict) and dataclasses.is_dataclass(now)):
        return {name: value}
    return {
        full: one
        for key, inner in value.items()
        for full, one in _single(f"{name}.{key}", inner, getattr(now, str(key), None)).items()
    }


def _default(cls: type) -> Any:
    """A part with its defaults; required options stay `dataclasses.MISSING` for the command line to fill."""
    import tyro

    required = {
        f.name: tyro.MISSING
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    made = object.__new__(cls)
    for f in dataclasses.fields(cls):
        if f.name in required:
            value = tyro.MISSING
        else:
            value = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]
        object.__setattr__(made, f.name, value)
    return made


def _type(hint: Any, value: Any) -> Any:
    return type(value) if hint is Any else hint


def _same(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return field(default=f.default)
    if f.default_factory is not dataclasses.MISSING:
        return field(default_factory=f.default_factory)
    return field()


def _documentation(extra: type) -> str:
    """The argument descriptions of both dataclasses under one heading."""

    def arguments(cls: type) -> str:
        text = sys.modules[cls.__module__].__dict__[cls.__name__].__doc__ or ""
        return text.split("Args:\n", 1)[1].rstrip() if "Args:\n" in text else ""

    return f"Options.\n\nArgs:\n{arguments(extra)}\n{arguments(RunSpec)}\n"


@dataclass(frozen=True)
class NoOptions:
    """A command without options of its own."""
