"""The examples of the public verbs run, on the small cohort that the tests share."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import forgetmi
from forgetmi.audit import front_door as auditing
from forgetmi.cohort import partition as partitions
from forgetmi.core.cost import Cost
from forgetmi.model import adapted
from forgetmi.report import front_door as reporting
from forgetmi.report import pages
from forgetmi.run import progress_bar as progress_bars
from forgetmi.run import workflow
from forgetmi.service import hub, saving, trained_model
from forgetmi.unlearning import adapter_files
from forgetmi.unlearning.method import Trace
from tests.report.conftest import make_facts
from tests.runs import SMALL

VERBS = {
    forgetmi: ("load_cohort",),
    partitions: ("partition",),
    workflow: ("prepare", "train", "unlearn", "predict", "evaluate"),
    pages: ("write_report",),
    auditing: ("audit", "verdict"),
    reporting: ("report",),
    progress_bars: ("progress_bar",),
    adapted: ("adapt",),
    adapter_files: ("with_adapters",),
    trained_model: ("load",),
    saving: ("save",),
    hub: ("save_pretrained", "from_pretrained"),
}
# It needs a network and an account
WITHOUT = {"push_to_hub"}
TRACE = Trace(
    method="Forget-MI",
    options={"epochs": 1},
    seed=0,
    epochs=({"UU": 1.0},),
    steps=3,
    samples={"forget": 8},
    cost=Cost(1.0, 1.0, 2**20),
    changed=(),
    changed_heads=(),
    first_gradient=1.0,
    moved=0.1,
    facts={},
)
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
    # One model for all: what the verbs print is not looked at here
    signals = workflow.predict(prepared=small.prepared, model=original)
    scores = workflow.evaluate(
        original=signals,
        unlearned=signals,
        retrained=[signals, signals],
        partition=small.partition,
        resamples=0,
    )
    return {
        "forgetmi": forgetmi,
        "signals": signals,
        "scores": scores,
        "trace": TRACE,
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

    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for part in parts:
        runner.run(part)
    assert runner.failures == 0


def test_every_verb_of_the_front_door_has_one() -> None:
    functions = {name for name in forgetmi.__all__ if name[0].islower()}
    assert functions == {name for _, name in PAIRS} | WITHOUT
