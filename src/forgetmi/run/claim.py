"""Taking an output directory for one specification: the same one goes on there, another one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.yaml_text import MOST_BYTES, parse_yaml

SHOWN = 8  # keys that a message names at most


def claim(path: Path, text: str, *, kind: str) -> None:
    """Take a directory for what a file in it describes, or go on with the same.

    Use it before a directory is written to, so that results of two specifications are never mixed.

    Args:
        path: The file, YAML or JSON; written where it is missing.
        text: What the directory is to be taken for, as it is written.
        kind: What such a directory holds, for the message, e.g. "tuning".

    Raises:
        SpecError: The directory is taken for something else; the keys that differ are named.
    """
    if path.exists():
        check_same(path, text, kind=kind)
    else:
        write_text(path, text)


def check_same(path: Path, text: str, *, kind: str) -> None:
    """Refuse a directory that is taken for something else.

    Args:
        path, text, kind: See `claim`; the file exists.

    Raises:
        SpecError: It is; the keys that differ are named.
    """
    source = Source(path.name, f"the stored {kind}", "Restore the file, or choose another --out.")
    stored = read_text(path, source, limit=MOST_BYTES)
    if stored == text:
        return

    raise SpecError(
        Fault(
            f"the output directory holds another {kind}",
            where=path.parent.name,
            why=f"these differ: {', '.join(differing_keys(stored, text)[:SHOWN])}",
            do="Choose another --out.",
        )
    )


def write_if_new(path: Path, text: str) -> bool:
    """Write a text, unless the file has it already: then not even its time changes.

    Use it for results that are made again from what is stored, each time the same.

    Args:
        path: The file.
        text: Its content.

    Returns:
        Whether it was written.
    """
    content = text.encode()
    try:
        same = path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        same = False
    if not same:
        write_text(path, text)
    return not same


def differing_keys(first: str, second: str) -> list[str]:
    """The dotted keys in which two YAML or JSON texts differ, sorted; "the layout" where only the writing does."""
    lines = set(_flat(first)) ^ set(_flat(second))
    keys = {line.split(" = ")[0] for line in lines} - {""}
    return sorted(keys) or ["the layout"]


def _flat(text: str) -> Iterator[str]:
    """``key.sub = value`` lines of a mapping."""

    def walk(value: Any, path: str) -> Iterator[str]:
        # Entries of a list are keyed by their position.
        if isinstance(value, list):
            value = dict(enumerate(value))

        if isinstance(value, dict) and value:
            for key, item in value.items():
                yield from walk(item, f"{path}.{key}" if path else str(key))
        else:
            yield f"{path} = {value!r}"

    yield from walk(_values(text), "")


def _values(text: str) -> Any:
    """The values of a YAML or JSON text; none where an edited one cannot be read."""
    try:
        what, do = "the stored text", "Restore the file, or choose another --out."
        return parse_yaml(text, where="", what=what, do=do, limit=MOST_BYTES)
    except SpecError:
        return {}
