"""``forgetmi cohort``: make, check or show a cohort, one file a subcommand."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.groups import run_action

HELP = """usage: forgetmi cohort make|check|show|canaries [OPTIONS]

  make   write a generated cohort anybody can read, with --like mimic a tree like MIMIC-CXR's, or with --from-dicom
         the table of your own DICOM files
  check  read every row and decode every image; report all faults at once
  show   counts of a cohort and of its partition
  canaries  before training: patients of whom a coin decides who is trained on and later forgotten"""

ACTIONS = {
    "make": "forgetmi.commands.cohort.make:make",
    "check": "forgetmi.commands.cohort.check:check",
    "show": "forgetmi.commands.cohort.show:show",
    "canaries": "forgetmi.commands.cohort.canaries:canaries",
}


def cohort(argv: Sequence[str]) -> None:
    """Make, check or show a cohort."""
    run_action("cohort", argv, actions=ACTIONS, help_text=HELP)
