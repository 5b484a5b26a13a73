"""``forgetmi help``: a command, a page of the documentation or a term of the glossary, by its name."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from forgetmi.commands.command_texts import actions_of, help_of, summaries
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import MOST_VALUE, quoted
from forgetmi.core.suggest import did_you_mean

HELP = """usage: forgetmi help [TOPIC]

A topic is a command (run, requests add), a page of the documentation (audit, glossary) or a term (margin, gap).
Without one: what there is."""

# Pages lie beside the sources in a checkout, and where an installed package's documents go
_CHECKOUT = Path(__file__).parents[3] / "docs"
_INSTALLED = "share/doc/forgetmi/"
_TERM = re.compile(r"^- (\*\*.+?(?=\n- |\n\n|\Z))", re.MULTILINE | re.DOTALL)


def help_topics(argv: Sequence[str]) -> None:
    """Print a topic, or which there are.

    Raises:
        SpecError: There is no such topic; the nearest one is named.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return
    if not argv:
        print(_overview())
        return

    text = topic(argv)
    if sys.stdout.isatty() and text.startswith("#"):
        # A page is set for the terminal; elsewhere it stays as it is written
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
        return
    print(text)


def topic(words: Sequence[str]) -> str:
    """The text of a topic.

    Args:
        words: A command's words, a page's name or a term.

    Raises:
        SpecError: There is no such topic; the nearest one is named.
    """
    # A command explains itself
    verb, *rest = words
    if verb in summaries() and (not rest or rest[0] in actions_of(verb)):
        return help_of(*words).rstrip("\n")

    # A page, by the name of its file, or a term
    name = " ".join(words).lower()
    found = pages()
    page = found.get(name.replace(" ", "_").removesuffix(".md"))
    if page is not None:
        return page.read_text(encoding="utf-8").rstrip("\n")
    meanings = terms()
    if name in meanings:
        return meanings[name]

    known = [*summaries(), *found, *meanings]
    raise SpecError(
        Fault(
            f"there is no topic {quoted(name)}",
            where="command line",
            do=did_you_mean(name[:MOST_VALUE], known, then="forgetmi help lists what there is."),
        )
    )


def pages() -> dict[str, Path]:
    """The pages of the documentation by name; empty = they were not installed."""
    if (_CHECKOUT / "glossary.md").exists():
        return {path.stem: path for path in sorted(_CHECKOUT.rglob("*.md"))}
    try:
        installed = distribution("forgetmi")
    except PackageNotFoundError:
        return {}

    found = {}
    for file in installed.files or ():
        if _INSTALLED in file.as_posix() and file.suffix == ".md":
            found[file.stem] = Path(str(installed.locate_file(file)))
    return found


def terms() -> dict[str, str]:
    """Terms of the glossary, in small letters, to what each means."""
    glossary = pages().get("glossary")
    if glossary is None:
        return {}

    meanings = {}
    for entry in _TERM.findall(glossary.read_text(encoding="utf-8")):
        text = " ".join(entry.split())

        # An entry may explain several terms, each in bold letters
        for names in re.findall(r"\*\*(.+?)\*\*", text):
            for name in names.split(", "):
                earlier = meanings.get(name.lower())
                meaning = text.replace("**", "")
                meanings[name.lower()] = f"{earlier}\n{meaning}" if earlier else meaning
    return meanings


def _overview() -> str:
    """What topics there are."""
    verbs = summaries()
    width = max(map(len, verbs))
    lines = ["Commands:", *(f"  {verb:<{width}}  {text}" for verb, text in verbs.items())]

    lines += ["", "Pages:"]
    for name, page in pages().items():
        title = page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"  {name}  {title}")
    lines += ["", f"Terms: {', '.join(terms())}"]
    return "\n".join(lines)
