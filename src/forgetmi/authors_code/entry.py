"""Where the command line finds this room; nothing heavy is imported before a command needs it."""

from __future__ import annotations

from collections.abc import Sequence


def run_authors(argv: Sequence[str]) -> None:
    """The same from the authors' config.yaml, with --mode paper or release."""
    from forgetmi.authors_code import commands

    commands.run_authors(argv)


def checkpoint(argv: Sequence[str]) -> None:
    """Convert checkpoints between the authors' form and ours."""
    from forgetmi.authors_code import commands

    commands.checkpoint(argv)
