"""Commands in the pages' code blocks exist, with every option that they are given; none is run."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from forgetmi.commands.command_texts import actions_of, help_of, options_in
from forgetmi.commands.completion import LOG_OPTIONS
from forgetmi.commands.entry_points import added_commands
from forgetmi.commands.verbs import COMMANDS
from forgetmi.core.registry import cohorts, methods

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# Options that choose which other options there are, what they may be, and a command that explains those
CHOOSING = {"--cohort": (cohorts, ("cohort", "show")), "--method": (methods, ("unlearn",))}
MADE_FROM = {"--like", "--from-dicom"}
# What another function takes over from a command, by an option of its own
TAKEN_OVER = {f"--{command.option}" for command in added_commands() if command.option}


def commands_in(text: str) -> Iterator[list[str]]:
    """Words of each command in the code blocks of a page, without ``forgetmi``, redirections and remarks."""
    joined = re.sub(r"\\\n\s*", " ", text)
    fenced = False
    for line in joined.splitlines():
        if line.startswith("```"):
            fenced = not fenced

        # Shell variables that a page sets itself stand for options
        code = fenced or line.startswith("    ")
        match = re.search(r"(?:^|[;&(]|do |time )\s*forgetmi (.*)", line.strip()) if code else None
        if match is None:
            continue
        shown = re.split(r" #|\s[|>;&]|; |\)", match[1])[0]
        try:
            yield shlex.split(shown)
        except ValueError:
            yield shown.split()


@cache
def known_options(words: tuple[str, ...]) -> frozenset[str]:
    """Options that a command's help explains."""
    return frozenset((*options_in(help_of(*words)), *LOG_OPTIONS, "--help"))


def faults_of(words: list[str], *, options: bool = True) -> list[str]:
    """What of a command does not exist: the command itself, and its options if they are wanted."""
    verb, *rest = words
    added = {command.verb for command in added_commands() if not command.option}
    if verb in added or verb.isupper() or verb.startswith("-"):
        return []
    if verb not in COMMANDS:
        return [f"forgetmi {verb}"]
    if TAKEN_OVER & {word.partition("=")[0] for word in rest} or verb == "help":
        return []

    # A subcommand, where the verb has some; several at once are a list of them
    command = [verb]
    actions = actions_of(verb)
    if actions:
        if not rest or "|" in rest[0] or rest[0].startswith("-"):
            return []
        if rest[0] not in actions:
            return [f"forgetmi {verb} {rest[0]}"]
        command.append(rest.pop(0))

    if not options:
        return []

    # A kind of cohort to make decides which options there are
    for option in MADE_FROM & set(rest):
        command += [option, rest[rest.index(option) + 1]]
    known = known_options(tuple(command))

    # Options of a cohort reader and of a method are the same in every command
    for option, (registry, explaining) in CHOOSING.items():
        for name, value in itertools.pairwise(rest):
            if name == option and value in registry.names():
                known |= known_options((*explaining, option, value))

    given = [word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)]
    return [f"{' '.join(command)}: {option}" for option in given if option not in known]


def faults_by_page(*, options: bool) -> dict[tuple[str, str], list[str]]:
    """What of the pages' commands does not exist."""
    wrong = {}
    for page in PAGES:
        for words in commands_in(page.read_text(encoding="utf-8")):
            faults = faults_of(words, options=options)
            if faults:
                wrong[page.name, " ".join(words)[:60]] = faults
    return wrong


def test_commands_of_the_pages_exist() -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(len(list(commands_in(text))) for text in pages) > 80
    assert not faults_by_page(options=False)


def test_no_command_has_lost_its_indentation() -> None:
    """A command with options that begins a line of prose is shown as prose, with its remark in it."""
    lost = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        lost += re.findall(r"^forgetmi [a-z]+.* --.*$", text, re.M)
    assert not lost


@pytest.mark.slow
def test_options_of_the_pages_commands_exist() -> None:
    assert not faults_by_page(options=True)


def test_the_check_can_fail() -> None:
    text = "    forgetmi runn\n    forgetmi verify runs/1 --recomput verdict  # no\n    forgetmi requests ad"
    found = [faults_of(words) for words in commands_in(text)]
    assert found == [["forgetmi runn"], ["verify: --recomput"], ["forgetmi requests ad"]]
    folded = "    forgetmi run \\\n        --method scrub --method.epoch 3 | tee log"
    assert [faults_of(words) for words in commands_in(folded)] == [["run: --method.epoch"]]
