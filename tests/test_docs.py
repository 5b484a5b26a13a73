"""Pages name what exists: links, programs, marks, commands."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from forgetmi.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PROGRAMS = {
    path.name
    for path in (ROOT / "studies").glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
}


def words(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    links = [
        link.partition("#")[0]
        for link in re.findall(r"\]\(([^)\s]+)\)", words(page))
        if not re.match(r"https?://|#", link)
    ]
    named = re.findall(r"(?<![\w/.-])((?:docs|studies|examples)/[\w/.]*\w)", words(page))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing + [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marks_of_a_page_come_in_pairs(page: Path) -> None:
    marks = re.findall(r"<!-- ([\w-]+): (begin|end) -->", words(page))
    assert [side for _, side in marks] == ["begin", "end"] * (len(marks) // 2)
    assert all(count == 2 for count in Counter(name for name, _ in marks).values())


def test_every_page_and_every_command_is_named_on_the_first_page() -> None:
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(
        re.findall(r"\]\(([^)]+)\)", README)
    )
    assert set(COMMANDS) <= set(re.findall(r"`(\w+)`", README)) | set(
        re.findall(r"forgetmi (\w+)", README)
    )


def test_every_program_is_named_where_its_figures_are() -> None:
    named = {name for page in PAGES for name in re.findall(r"studies/(\w+\.py)", words(page))}
    assert named >= PROGRAMS
