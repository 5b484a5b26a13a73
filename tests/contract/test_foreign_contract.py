"""The whole contract of methods, line by line, on models that this package knows nothing of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

from forgetmi.core.registry import methods
from forgetmi.methods.retrain import Retrain
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.applies import applies
from tests.conftest import prepare_small
from tests.contract.conftest import LOGS, RECIPE
from tests.contract.foreign import NAMES, prepared_for
from tests.contract.test_methods import (
    Resumed,
    Watched,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kind", NAMES, scope="module"),
    pytest.mark.parametrize("name", methods.names(), scope="module"),
]


@pytest.fixture(scope="module")
def small(_own_cache: None, kind: str) -> Any:
    own = prepare_small(patients=16, forget=20.0)
    return dataclasses.replace(own, prepared=prepared_for(kind, own.prepared))


@pytest.fixture(scope="module")
def train_once(small: Any) -> Callable[[str], Any]:
    @functools.cache
    def train(name: str) -> Any:
        made = train_original(
            prepared=small.prepared,
            partition=small.partition,
            method=methods.get(name)() if name else Retrain(),
            recipe=RECIPE,
            seed=3,
        )
        LOGS[made.model] = made.log
        return made.model

    return train


@pytest.fixture(scope="module")
def original(name: str, small: Any, train_once: Callable[[str], Any]) -> Any:
    reason = applies(methods.get(name), build(small.prepared.spec, seed=0), GRADES)
    if reason:
        pytest.skip(reason)
    return train_once(name if "training log" in methods.get(name).info.reads else "")


def test_same_seed_equal(name: str, original: Any, watched: Watched, resumed: Resumed) -> None:
    """The second run with the same seed is one that was interrupted on its way.

    Another seed need not differ: it may decide no more than the order within a single batch.
    """
    first, again = watched.done.model, resumed.done.model
    assert parameter_digest(first) == parameter_digest(again) != parameter_digest(original)
