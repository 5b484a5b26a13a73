"""Tables for the pages of docs/, with the command that made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from forgetmi.core.files import write_text
from forgetmi.report.manifest import collect

PLACES = {
    "--out": "OUT",
    "--cohort.path": "COHORT",
}  # options whose value says where something lies, and nothing else


def shown(argv: Sequence[str]) -> str:
    """Options as a page shows them, without the places of this machine."""

    def word(before: str, word: str) -> str:
        name, given, _ = word.partition("=")
        return f"{name}={PLACES[name]}" if given and name in PLACES else PLACES.get(before, word)

    return " ".join(word(*pair) for pair in zip(["", *argv], argv, strict=False))


def command(script: str, argv: Sequence[str]) -> str:
    """The command of a script as a page shows it."""
    return f"python studies/{script}.py {shown(argv)}".rstrip()


def hardware() -> str:
    """Processor and cores of this machine, for a table that says what something cost."""
    machine = collect(seeds={}, cohort="", models={}, spec="", stages={})
    return f"{machine.processor}, {machine.cores} cores"


def rows(head: Sequence[str], body: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *body)]


def put(into: Path | None, parts: Mapping[str, str]) -> None:
    """Print the parts, or write each between the marks of its name on a page."""
    for name, text in parts.items():
        if into is None:
            print(text, end="\n\n")
        else:
            write_between(into, name, text)


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what is between the marks of that name on a page.

    Raises:
        SystemExit: The page has no such marks, or has them twice.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found = re.fullmatch(
        f"(.*){re.escape(begin)}.*?{re.escape(end)}(.*)",
        page.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    if found is None or begin in found[1] + found[2]:
        raise SystemExit(f"{page.name} needs the marks {begin} and {end}, once each")
    write_text(page, f"{found[1]}{begin}\n{text}\n{end}{found[2]}")
