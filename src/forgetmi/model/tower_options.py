"""Towers as they are named on the command line: ``image=hf_vision:FOLDER,pooling=mean``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.registry import towers as registry
from forgetmi.core.serialization import from_plain

_WHERE = "model.towers"
_FORM = "MODALITY=KIND, MODALITY=KIND:SOURCE, then ,OPTION=VALUE for each option"

# Between the values of an option that takes several
_SEVERAL = "+"


def read_towers(texts: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Modality and specification of each tower.

    Args:
        texts: "image=hf_vision:FOLDER,pooling=mean", "table=table,hidden=64+32". What follows the colon is the option
            ``source``; several values of one option stand between plus signs.

    Raises:
        SpecError: A text has another form, names no kind that is registered, or has options that its kind has not;
            all faults at once.

    Examples:
        >>> read_towers(["table=table,hidden=64+32"])[0][1].hidden
        (64, 32)
    """
    towers, faults = [], []
    for text in texts:
        try:
            towers.append(_read(text))
        except SpecError as error:
            faults.extend(error.faults)
    if faults:
        raise SpecError(faults)
    return tuple(towers)


def _read(text: str) -> tuple[str, Any]:
    first, *options = text.split(",")
    modality, equals, named = first.partition("=")
    kind, _, source = named.partition(":")
    if not equals or not kind:
        raise SpecError(Fault(f"{quoted(text)} names no tower", where=_WHERE, do=f"Write {_FORM}."))

    values: dict[str, str] = {"source": source} if source else {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise SpecError(
                Fault(f"{quoted(option)} is no option", where=_WHERE, do=f"Write {_FORM}.")
            )
        values[name.strip().replace("-", "_")] = value

    spec = registry.get(kind)
    hints = get_type_hints(spec)
    known = {field.name for field in dataclasses.fields(spec)}
    plain = {}
    for name, value in values.items():
        plain[name] = _plain(value, hints[name]) if name in known else value
    return modality.strip(), from_plain(spec, plain, where=f"{_WHERE} ({modality})")


def _plain(value: str, kind: Any) -> Any:
    """A value as its option's type has it; as it is where it does not fit, which is then refused with the others."""
    if getattr(kind, "__origin__", None) is tuple:
        return [_plain(item, kind.__args__[0]) for item in value.split(_SEVERAL)]
    if kind is bool:
        return {"true": True, "false": False}.get(value.lower(), value)
    if kind is int:
        return int(value) if value.isascii() and value.isdigit() else value
    return value
