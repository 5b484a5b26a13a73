"""``forgetmi cache``: what the cache remembers, one file a subcommand."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.groups import run_action

HELP = """usage: forgetmi cache show|forget [OPTIONS]

  show    what lies in the cache: kinds, numbers, sizes
  forget  remove what it holds of the patients of a forget list, or everything"""

ACTIONS = {
    "show": "forgetmi.commands.cache.show:show",
    "forget": "forgetmi.commands.cache.forget:forget",
}


def cache(argv: Sequence[str]) -> None:
    """Show or forget what the cache remembers."""
    run_action("cache", argv, actions=ACTIONS, help_text=HELP)
