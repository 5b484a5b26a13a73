"""``forgetmi requests``: the ledger of withdrawals, one file a subcommand."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.groups import run_action

HELP = """usage: forgetmi requests add|list|due|page|process|close|inform|advise|drift [OPTIONS]

  add      enter a request; its deadline is set, and only keyed digests are kept
  list     all requests and where they stand
  due      what must be done by when, the most urgent first
  page     the queue as one page: received, due, state, verdict, papers
  process  gather open requests into one forget list for forgetmi run
  close    close requests by a run's record; or refuse them, hold them, open them again
  inform   record who was told of withdrawals: recipients of data or of a model
  advise   compare retraining, SISA and unlearning by measured cost, and by risk
  drift    what the requests so far have done to the model in service"""

ACTIONS = {
    "add": "forgetmi.commands.requests.add:add",
    "list": "forgetmi.commands.requests.list:list_requests",
    "due": "forgetmi.commands.requests.due:due",
    "page": "forgetmi.commands.requests.page:page",
    "process": "forgetmi.commands.requests.process:process",
    "close": "forgetmi.commands.requests.close:close",
    "inform": "forgetmi.commands.requests.inform:inform",
    "advise": "forgetmi.commands.requests.advise:advise",
    "drift": "forgetmi.commands.requests.drift:drift",
}


def requests(argv: Sequence[str]) -> None:
    """Keep the ledger of withdrawals."""
    run_action("requests", argv, actions=ACTIONS, help_text=HELP)
