"""Every method on labels of other kinds: it trains, or it is refused in one sentence before anything starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.core.labels import Scale
from forgetmi.core.registry import methods
from forgetmi.model import checkpoint
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.applies import applies
from forgetmi.unlearning.method import Method, unlearn

RECIPE = Recipe(epochs=1, lr=1e-3, validate_every=1)
FEW: dict[str, Any] = {"epochs": 1, "draws": 2, "copies": 2, "shards": 2, "slices": 1, "orders": 1}
TASKS = ("findings", "value", "pairs", "binary")
# One for each place in which a method asks the task for more than a loss
READ_LABELS = ("calibrated_consensus", "delete", "newton_heads", "random_labels", "scrub", "sisa")


@dataclass(frozen=True)
class Case:
    """The small cohort with other labels, prepared, and an original trained on them for an epoch."""

    task: str
    prepared: Any
    partition: Any
    original: ImageText
    trace: Any


def labels_of(task: str, grade: Any) -> tuple[Any, tuple[str, ...]]:
    """Labels of a kind that follow from the grades, a sixth of them unknown, and the names of classes or findings."""
    rng = np.random.default_rng(0)
    unknown = rng.random((len(grade), 3)) < 1 / 6
    match task:
        case "findings":
            label = np.stack([grade >= 1, grade >= 2, grade == 3], axis=1).astype(np.float32)
            label[unknown | (grade < 0)[:, None]] = math.nan
            return label, ("any", "interstitial", "alveolar")
        case "value":
            label = 50 + 20 * grade.astype(np.float32)
            label[unknown[:, 0]] = math.nan
            return label, ("pressure",)
        case "binary":
            return np.where(unknown[:, 0], -1, (grade >= 2).astype(np.int64)), ("no", "yes")
        case _:
            return np.zeros(len(grade), np.int64), ()


@pytest.fixture(scope="module", params=TASKS)
def case(request: pytest.FixtureRequest, small: Any) -> Case:
    """One for each task; images and tokens are those of the small cohort."""
    task = request.param
    label, names = labels_of(task, small.cohort.label)
    cohort = replace(small.cohort, task=task, label=label, classes=names)
    rows = small.partition.retain
    scale = Scale.fitted(label[rows]) if task == "value" else Scale()
    records = replace(small.prepared.records, label=scale.standard(cohort.label), scale=scale)
    spec = replace(small.prepared.spec, classes=training_task(task).outputs(len(names)))
    prepared = replace(small.prepared, cohort=cohort, records=records, spec=spec)
    original, trace = workflow.train(
        prepared=prepared, partition=small.partition, recipe=RECIPE, seed=3
    )
    return Case(task, prepared, small.partition, original, trace)


def run(method: Method, case: Case) -> Any:
    """Unlearn with a method, from an original of its own where it needs one."""
    original, log = case.original, None
    if method.info.original is not None:
        trained = train_original(
            prepared=case.prepared,
            partition=case.partition,
            method=method,
            recipe=RECIPE,
            seed=3,
        )
        original, log = trained.model, trained.log
    return unlearn(
        method,
        original,
        records=case.prepared.records,
        partition=case.partition,
        seed=5,
        recipe=RECIPE,
        task=case.task,
        batch_size=8,
        fresh_model=lambda seed: workflow.build(case.prepared.spec, seed=seed),
        training_log=log,
    )


def quick(name: str) -> Method:
    """A method that does as little as it can."""
    cls = methods.get(name)
    return cls(**{key: few for key, few in FEW.items() if key in cls.__dataclass_fields__})


def trains(name: str, case: Case) -> None:
    """Run a method, and look at its weights and its losses."""
    done = run(quick(name), case)
    for weights in done.model.state_dict().values():
        assert bool(torch.isfinite(weights.double()).all())
    for means in done.trace.epochs:
        assert all(math.isfinite(value) for value in means.values())


def test_the_original_is_trained(case: Case) -> None:
    record = case.trace.epochs[0]
    assert math.isfinite(record["loss"])
    assert record["validation_loss"] > 0
    if case.task == "pairs":
        assert case.original.logit_names == ()
    else:
        assert record["validation_auc_image"] is None or 0 <= record["validation_auc_image"] <= 1


@pytest.mark.parametrize("case", ["findings"], indirect=True)
@pytest.mark.parametrize("name", READ_LABELS)
def test_methods_that_read_labels_train_on_findings(case: Case, name: str) -> None:
    trains(name, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.names())
def test_every_method_trains_or_is_refused(case: Case, name: str) -> None:
    if not applies(quick(name), case.original, training_task(case.task)):
        trains(name, case)
        return

    assert case.task in ("value", "pairs") or name in ("lotus", "s3t")
    with pytest.raises(MethodError, match="does not apply to this model"):
        run(quick(name), case)


def test_which_methods_are_refused(case: Case) -> None:
    refused = {
        name
        for name in methods.names()
        if applies(methods.get(name), case.original, training_task(case.task))
    }
    refused -= {"s3t"}  # works on public towers alone
    if case.task in ("findings", "binary"):
        assert refused <= ({"lotus"} if case.task == "findings" else set())
    elif case.task == "value":
        assert refused - {"lotus"} == {"calibrated_consensus", "delete"}
    else:
        assert {"retrain", "fine_tune", "forget_mi", "consensus", "multi_delete"}.isdisjoint(
            refused
        )
        assert {"scrub", "random_labels", "ssd", "newton_heads", "delete"} <= refused


def test_a_checkpoint_keeps_task_and_scale(case: Case, tmp_path: Any) -> None:
    case.prepared.save(tmp_path / "model", case.original, patients=None)
    loaded = checkpoint.load(tmp_path / "model")
    assert loaded.preprocessing["task"] == case.task
    assert ("scale" in loaded.preprocessing) == (case.task == "value")
    before, after = case.original.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_predictions_of_values_are_kept_in_their_units(case: Case) -> None:
    if case.task != "value":
        pytest.skip("only values have units")
    rows = case.partition.validation
    signals = workflow.predict(prepared=case.prepared, model=case.original, rows=rows)
    batch = case.prepared.records.batch(rows)
    with torch.no_grad():
        standard = case.original(batch).image_logits.double().numpy()
    scale = case.prepared.records.scale
    assert scale.deviation > 5
    np.testing.assert_allclose(
        signals.image_logits, standard * scale.deviation + scale.mean, rtol=1e-4
    )
