"""What the commands say of themselves: every command line's words, its help and its options, without running any."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module

from forgetmi.commands.entry_points import added_commands, load_added
from forgetmi.commands.groups import load_function
from forgetmi.commands.verbs import COMMANDS

# Options begin a line of a box, where a text that goes on is set in further; some stand in a sentence above the boxes
_OPTION_LINE = re.compile(r"^[^\w-]{0,4}((?:-{1,2}[a-z][\w.-]*, )*--[a-z][\w.-]*)")
_IN_SENTENCE = re.compile(r"(?<![\w-])--[a-z][\w-]*(?= [A-Z])")


def summaries() -> dict[str, str]:
    """Each verb and what it does, in one line; those of other packages included."""
    found = {verb: text for verb, (_, text) in COMMANDS.items()}
    for command in added_commands():
        if not command.option:
            found[command.verb] = command.summary()
    return found


def actions_of(verb: str) -> Mapping[str, str]:
    """The subcommands of a verb, to the function of each; empty = it has none."""
    target, _ = COMMANDS.get(verb, ("", ""))
    module = target.partition(":")[0]
    if not module.endswith(".group"):
        return {}
    return import_module(module).ACTIONS


def command_words() -> list[tuple[str, ...]]:
    """Every command as its words, e.g. ("run",) and ("requests", "add"); those of other packages are left out."""
    found: list[tuple[str, ...]] = []
    for verb in COMMANDS:
        found.append((verb,))
        found += [(verb, action) for action in actions_of(verb)]
    return found


def help_of(*words: str) -> str:
    """What ``forgetmi WORDS --help`` prints.

    Args:
        words: The command, then whatever changes its options, e.g. ``--cohort table``.
    """
    verb, *rest = words
    printed = io.StringIO()

    # A command of another package comes first, as on the command line
    function = load_added(verb, rest) or load_function(COMMANDS[verb][0])

    # The parser ends the process after its help
    with redirect_stdout(printed), suppress(SystemExit):
        function([*rest, "--help"])
    return printed.getvalue()


def options_in(text: str) -> list[str]:
    """The options that a help text explains, in its order."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        if line.startswith("--"):
            found |= dict.fromkeys(_IN_SENTENCE.findall(line))
        elif named := _OPTION_LINE.match(line):
            options = named[1].split(", ")
            found |= dict.fromkeys(option for option in options if option.startswith("--"))
    return list(found)
