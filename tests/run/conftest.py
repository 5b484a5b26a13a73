"""What the tests of runs share: a standing pool of the model of a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pool(signed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds, two repetitions for audits and one for targets, of a model of one epoch."""
    from forgetmi.run.pool_making import make_pool, plan_pool
    from tests.runs import TINY, of_service

    spec, root = of_service(signed_run), tmp_path_factory.mktemp("pools") / "pool"
    plan, folds = plan_pool(
        spec, folds=2, repetitions=2, targets=1, seed=TINY.seed, keep_models=True
    )
    # Six members, and what the model in service says
    assert make_pool(plan, folds, spec, root) == 7
    return root
