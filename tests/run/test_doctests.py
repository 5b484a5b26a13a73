"""The examples of the public verbs run, on the small cohort that the tests share."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import forgetmi
from forgetmi.cohort import partition as partitions
from forgetmi.model import adapted
from forgetmi.report import pages
from forgetmi.run import workflow
from forgetmi.service import hub, saving, trained_model
from tests.report.conftest import make_facts
from tests.runs import SMALL

VERBS = {
    forgetmi: ("load_cohort",),
    partitions: ("partition",),
    workflow: ("prepare", "train", "unlearn", "predict", "evaluate"),
    pages: ("write_report",),
    adapted: ("adapt",),
    trained_model: ("load",),
    saving: ("save",),
    hub: ("save_pretrained", "from_pretrained"),
}
# It needs a network and an account
WITHOUT = {"push_to_hub"}
PAIRS = [(module, name) for module, names in VERBS.items() for name in names]


@pytest.fixture(scope="module")
def names(small: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples take as given: the small cohort, ready to use, a model of it, and its checkpoint."""
    original = workflow.build(small.prepared.spec, seed=0)
    service = str(tmp_path_factory.mktemp("checkpoints") / "service")
    saving.save(
        service,
        original,
        prepared=small.prepared,
        partition=small.partition,
        without_forgotten=False,
    )
    return {
        "cohort": small.cohort,
        "sets": small.partition,
        "data": small.prepared,
        "images": small.prepared.images,
        "architecture": SMALL.model,
        "original": original,
        "facts": make_facts(),
        "folder": str(tmp_path_factory.mktemp("pages")),
        "service": service,
    }


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=[name for _, name in PAIRS])
def test_the_example_of_a_verb_runs(module: Any, name: str, names: dict[str, Any]) -> None:
    verb = getattr(module, name)
    parts = doctest.DocTestFinder(recurse=False).find(verb, name, globs={**vars(module), **names})
    examples = [example for part in parts for example in part.examples]
    assert examples, f"{name} has no example"

    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for part in parts:
        runner.run(part)
    assert runner.failures == 0


def test_every_verb_of_the_front_door_has_one() -> None:
    functions = {name for name in forgetmi.__all__ if name[0].islower()}
    assert functions == {name for _, name in PAIRS} | WITHOUT
