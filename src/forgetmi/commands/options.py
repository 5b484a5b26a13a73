"""A run specification from the command line: every dataclass field is an option, a file gives the starting values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from forgetmi.commands.agent_values import read_pairs, split_pairs
from forgetmi.commands.command_line import option_faults, read_words, take_options
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.former_options import present_words, was_renamed
from forgetmi.core.printable import quoted
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.spec import CHOICES, RunSpec, applied, read_yaml


@dataclass(frozen=True)
class NoOptions:
    """A command without options of its own."""


# Names a function that makes the user's own model
MODEL_FROM = "model-from"


def parse(
    extra: type,
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    only: Sequence[str] = (),
    start: RunSpec | None = None,
    base: RunSpec | None = None,
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
        base: Starting values where ``--spec`` gives none; None = the defaults.
        agent: Whether ``--NAME=VALUE`` may be written as Weights & Biases's agent does; see `agent_values`.

    Returns:
        The specification and the command's own options.

    Raises:
        SpecError: A file or name is wrong. Wrong options end the process with code 2 and the nearest option's name.
    """
    used = [f.name for f in dataclasses.fields(RunSpec) if not only or f.name in only]
    words = list(argv)

    # What an agent wrote is set aside: its values are not written as a person writes them.
    pairs: Mapping[str, str] = {}
    if agent:
        words, pairs = split_pairs(words, used)

    # --spec, --cohort and --method come first: they decide which other options there are.
    chosen: dict[str, type] = {}
    if start is None:
        words, values = take_options(words, {"spec", MODEL_FROM, *CHOICES})
        start = read_yaml(Path(values["spec"])) if "spec" in values else base or RunSpec()
        start = with_factory(start, values.get(MODEL_FROM, ""))
        for part, registry in CHOICES.items():
            if part in values:
                chosen[part] = registry.get(values[part])
        description += f"\n\n{_help_of_choices(used)}"

    # An agent's values are applied at the end; those that have no default go through the command line.
    types = _types_of_parts(start, chosen)
    if was_renamed({f.name for f in dataclasses.fields(types["cohort"])}):
        words = present_words(words, "cohort.")
    agent_values, required_words = read_pairs(pairs, types, chosen=chosen)
    words += required_words

    # One dataclass of all options, which tyro reads from the words.
    options = _all_options(extra, used, start, types, chosen)
    parsed = read_words(options, words, prog=prog, description=description)

    # Apart again: the command's own options and the specification.
    own = extra(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(extra)})
    faults = option_faults(own)
    try:
        spec = dataclasses.replace(start, **{name: getattr(parsed, name) for name in used})
        if agent_values:
            spec = applied(spec, agent_values, where="command line")
    except SpecError as error:
        raise SpecError([*faults, *error.faults]) from None
    if faults:
        raise SpecError(faults)
    # A run that is moved, or continued from another folder, finds its files
    return absolute(spec), own


def with_factory(spec: RunSpec, factory: str) -> RunSpec:
    """A specification whose models the user's own factory makes.

    Raises:
        SpecError: The specification names a factory itself, and the command does not name the same.
    """
    named = spec.model.factory
    if named not in ("", factory):
        raise SpecError(
            Fault(
                f"the specification names the factory {quoted(named)}",
                where=f"--{MODEL_FROM}",
                why="no code that a file names is run unasked",
                do=f"If you trust that code, name it: --{MODEL_FROM} {named}",
            )
        )
    return dataclasses.replace(spec, model=dataclasses.replace(spec.model, factory=factory))


def _help_of_choices(used: Sequence[str]) -> str:
    """What the help says of the options that are read before all others."""
    kinds = []
    for part, registry in CHOICES.items():
        if part in used:
            kinds.append(f"--{part} KIND with KIND one of {', '.join(registry.names())}")
    kinds.append(
        f"--{MODEL_FROM} MODULE:FUNCTION is a factory of a model of your own, which is run"
    )
    return f"--spec FILE gives the starting values. {'; '.join(kinds)}."


def _types_of_parts(start: RunSpec, chosen: Mapping[str, type]) -> dict[str, Any]:
    """Type of each field of a specification; cohort and method have that of the part chosen or given."""
    types = get_type_hints(RunSpec)
    for part in CHOICES:
        types[part] = chosen.get(part, type(getattr(start, part)))
    return types


def _all_options(
    extra: type,
    used: Sequence[str],
    start: RunSpec,
    types: Mapping[str, Any],
    chosen: Mapping[str, type],
) -> type:
    """A dataclass of a command's own options, then those of a run specification with their starting values."""
    hints = get_type_hints(extra)
    fields: list[tuple[str, Any, Any]] = [
        (own.name, hints[own.name], _with_the_default_of(own)) for own in dataclasses.fields(extra)
    ]

    for name in used:
        if name in chosen:
            # No starting value: the part's own defaults hold, and its required options must be given.
            fields.append((name, types[name], dataclasses.field()))
        else:
            default = getattr(start, name)
            fields.append((name, types[name], dataclasses.field(default=default)))

    options = dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True)
    # tyro takes the help of each option from here.
    options.__doc__ = f"Options.\n\nArgs:\n{_arguments(RunSpec)}\n{_arguments(extra)}\n"
    return options


def _with_the_default_of(own: dataclasses.Field[Any]) -> Any:
    """A new field with the same default; a field belongs to one class alone."""
    if own.default is not dataclasses.MISSING:
        return dataclasses.field(default=own.default)
    if own.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=own.default_factory)
    return dataclasses.field()


def _arguments(options: type) -> str:
    """The descriptions of a dataclass's arguments, from its docstring."""
    _, _, arguments = (options.__doc__ or "").partition("Args:\n")
    return arguments.rstrip()
