"""Where the command line finds this room; nothing heavy is imported before a command needs it."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.groups import run_action


def run_authors(argv: Sequence[str]) -> None:
    """The same from the authors' config.yaml, with --mode paper or release."""
    from forgetmi.authors_code import run_command

    run_command.run_authors(argv)


def checkpoint(argv: Sequence[str]) -> None:
    """Convert checkpoints between the authors' form and ours."""
    run_action(
        "checkpoint",
        argv,
        actions={"convert": "forgetmi.authors_code.convert_command:convert"},
        help_text="usage: forgetmi checkpoint convert [OPTIONS]",
    )
