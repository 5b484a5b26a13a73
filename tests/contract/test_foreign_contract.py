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
from tests.contract import test_methods as contract
from tests.contract.conftest import LOGS, RECIPE, quick
from tests.contract.foreign import NAMES, prepared_for
from tests.contract.test_autocast import runs_under_autocast

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
            method=quick(name) if name else Retrain(),
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


@pytest.fixture(autouse=True)
def applicable(original: Any) -> None:
    """Methods that do not apply are skipped, whatever a line asks for."""


# The lines of the contract: assigned, so that no linter takes them for imports that nobody uses
watched = contract.watched
resumed = contract.resumed
test_untouched = contract.test_the_input_model_is_untouched_and_shares_no_storage
test_zero_epochs = contract.test_zero_epochs_return_the_original_bit_for_bit
test_frozen = contract.test_frozen_parts_and_kept_statistics_stay_bit_identical
test_reads = contract.test_only_declared_sets_are_read
test_own_training = contract.test_a_training_of_its_own_reads_no_one_else
test_undeclared_sets = contract.test_undeclared_sets_raise
test_undeclared = contract.test_what_else_is_undeclared_raises
test_teacher = contract.test_who_asks_the_original_declares_a_teacher
test_resumes = contract.test_an_interrupted_run_resumes_to_the_same_weights
test_trace = contract.test_the_trace_is_complete_and_true
test_one_sample = contract.test_one_forgotten_sample_works_or_is_refused


def test_autocast(name: str, small: Any, original: Any) -> None:
    runs_under_autocast(name, small, original)


def test_same_seed_equal(
    original: Any, watched: contract.Watched, resumed: contract.Resumed
) -> None:
    """The second run with the same seed is one that was interrupted on its way.

    Another seed need not differ: it may decide no more than the order within a single batch.
    """
    first, again = watched.done.model, resumed.done.model
    assert parameter_digest(first) == parameter_digest(again) != parameter_digest(original)
