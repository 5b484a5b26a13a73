"""The cohort and partition of the signed run, loaded once: both are read-only."""

from __future__ import annotations

import pytest

from tests.evidence.copied_runs import Data
from tests.runs import TINY


@pytest.fixture(scope="session")
def tiny_data(_own_cache: None) -> Data:
    """Cohort and partition of `tests.runs.TINY`."""
    from forgetmi.run.run_data import load_data

    return load_data(TINY)
