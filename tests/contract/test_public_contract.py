"""The contract of methods, line by line, for those that work on public towers alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from forgetmi.core.registry import methods
from forgetmi.model.initialise import build
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.applies import applies
from tests.conftest import prepare_small
from tests.contract import test_methods as contract
from tests.contract.conftest import LOGS, RECIPE, needs_public_towers, quick
from tests.contract.test_autocast import runs_under_autocast
from tests.public_towers import on_tower, published

NAMES = [name for name in methods.names() if needs_public_towers(name)]
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", NAMES, scope="module")]


@pytest.fixture(scope="module")
def small(_own_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("public")
    with published(folder):
        own = prepare_small(patients=16, forget=20.0)
        yield dataclasses.replace(own, prepared=on_tower(own.prepared, folder))


@pytest.fixture(scope="module")
def train_once(small: Any) -> Callable[[str], Any]:
    @functools.cache
    def train(name: str) -> Any:
        made = train_original(
            prepared=small.prepared,
            partition=small.partition,
            method=quick(name),
            recipe=RECIPE,
            seed=3,
        )
        LOGS[made.model] = made.log
        return made.model

    return train


@pytest.fixture(scope="module")
def original(name: str, small: Any, train_once: Callable[[str], Any]) -> Any:
    assert applies(methods.get(name), build(small.prepared.spec, seed=0), GRADES) == ""
    return train_once(name)


# The lines of the contract: assigned, so that no linter takes them for imports that nobody uses
watched = contract.watched
resumed = contract.resumed
test_untouched = contract.test_the_input_model_is_untouched_and_shares_no_storage
test_same_seed_equal = contract.test_same_seed_equal_other_seed_different
test_reads = contract.test_only_declared_sets_are_read
test_own_training = contract.test_a_training_of_its_own_reads_no_one_else
test_undeclared_sets = contract.test_undeclared_sets_raise
test_undeclared = contract.test_what_else_is_undeclared_raises
test_teacher = contract.test_who_asks_the_original_declares_a_teacher
test_resumes = contract.test_an_interrupted_run_resumes_to_the_same_weights
test_options = contract.test_unknown_options_are_refused
test_trace = contract.test_the_trace_is_complete_and_true
test_one_sample = contract.test_one_forgotten_sample_works_or_is_refused
test_search = contract.test_its_search_space_holds_the_defaults_and_nothing_impossible
test_description = contract.test_its_description_is_complete


def test_autocast(name: str, small: Any, original: Any) -> None:
    runs_under_autocast(name, small, original)
