"""``forgetmi pool``: models without a part of the patients each, made once for all requests; one file a subcommand."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.groups import run_action

HELP = """usage: forgetmi pool make|risk|standby [OPTIONS]

  make     train the members: references for every request to come, which then needs no retraining
  risk     whom the model in service remembers most, before anybody withdraws
  standby  members that never saw anybody of a list, to serve while the model is repaired"""

ACTIONS = {
    "make": "forgetmi.commands.pool.make:make",
    "risk": "forgetmi.commands.pool.risk:risk",
    "standby": "forgetmi.commands.pool.standby:standby",
}


def pool(argv: Sequence[str]) -> None:
    """Make a standing pool, or ask it."""
    run_action("pool", argv, actions=ACTIONS, help_text=HELP)
