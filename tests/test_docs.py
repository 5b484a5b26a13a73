"""Pages name what exists: links, programs, marks, commands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from forgetmi.commands.exit_codes import CODES
from forgetmi.core.registry import methods

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE_WITH_THE_SITE = {"command_line.md"}  # by studies/command_line.py, whenever the site is built
WRITTEN = (page for page in (ROOT / "docs").rglob("*.md") if page.name not in MADE_WITH_THE_SITE)
SITE = sorted(WRITTEN)
PAGES = sorted([*ROOT.glob("*.md"), *SITE])
MOST_WORDS = 1200
# A page that a command writes, and the parts of others that one does, are as long as they are
WRITTEN_WHOLE = {"methods.md"}
GENERATED = re.compile(r"<!-- ([\w-]+): begin -->.*?<!-- \1: end -->", re.DOTALL)
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


def navigation(entry: Any) -> Iterator[str]:
    """Files of a navigation, in its order."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from navigation(part)


def test_no_page_is_an_orphan() -> None:
    listed = list(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    there = {str(page.relative_to(ROOT / "docs")) for page in SITE}
    assert sorted(listed) == sorted(there | MADE_WITH_THE_SITE)


@pytest.mark.parametrize("page", SITE, ids=lambda page: page.stem)
def test_a_page_has_one_title_and_is_read_in_minutes(page: Path) -> None:
    text = GENERATED.sub("", words(page))
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1, "one title"
    if page.name not in WRITTEN_WHOLE:
        assert len(text.split()) <= MOST_WORDS


def test_the_first_page_is_short_and_installs_first() -> None:
    assert len(README.splitlines()) <= 90
    headings = re.findall(r"^## (.+)", README, re.MULTILINE)
    assert headings[:3] == ["Install", "The main job", "A withdrawal"]
    assert README.index("pip install") < README.index("make demo")


def test_the_first_pages_code_is_the_example_that_runs() -> None:
    """With fewer patients and epochs; see tests/test_examples.py."""
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    for shown, run in {
        "patients=270": "patients=30",
        "Recipe(epochs=16)": "Recipe(epochs=1)",
        "ForgetMI(epochs=30)": "ForgetMI(epochs=1)",
    }.items():
        assert shown in code
        code = code.replace(shown, run)
    assert code in (ROOT / "examples" / "main_job.py").read_text(encoding="utf-8")
    assert len([line for line in code.splitlines() if line]) <= 15


def test_the_first_page_names_methods_that_there_are() -> None:
    table = README.partition("## Methods")[2].partition("## ")[0]
    named = re.findall(r"`(\w+)`", table)
    assert set(named) <= set(methods.names())
    assert len(named) == len(set(named)) > 30


def test_the_page_of_exit_codes_says_which_commands_have_them() -> None:
    page = words(ROOT / "docs" / "exit_codes.md")
    for verdict, code in CODES.items():
        assert re.search(rf"^\| {code} \|.*{verdict}", page, re.MULTILINE | re.IGNORECASE)

    # Of a verdict one command makes a code
    commands = ROOT / "src" / "forgetmi" / "commands"
    users = [path.name for path in commands.rglob("*.py") if "CODES[" in words(path)]
    assert users == ["withdraw_steps.py"]
    assert "Codes 10 to 12 are those of `forgetmi withdraw` alone" in page


def test_every_program_is_named_where_its_figures_are() -> None:
    named = {name for page in PAGES for name in re.findall(r"studies/(\w+\.py)", words(page))}
    assert named >= PROGRAMS
