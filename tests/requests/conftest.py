"""The records of the evidence tests serve the ledger, too."""

from tests.evidence.conftest import *  # noqa: F403
