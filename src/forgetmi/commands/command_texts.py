"""What the commands say of themselves: every command line's words, its help and its options, without running any."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module

from forgetmi.commands.entry_points import added_commands
from forgetmi.commands.groups import load_function
from forgetmi.commands.verbs import COMMANDS

_OPTION_LINE = re.compile(r"^\W*(?:-\w, )?--[a-z]")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*")


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
    target, _ = COMMANDS[verb]
    printed = io.StringIO()

    # The parser ends the process after its help
    with redirect_stdout(printed), suppress(SystemExit):
        load_function(target)([*rest, "--help"])
    return printed.getvalue()


def options_in(text: str) -> list[str]:
    """The options that a help text explains, in its order."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        if _OPTION_LINE.match(line):
            found |= dict.fromkeys(option.rstrip(".") for option in _OPTION.findall(line))
    return list(found)
