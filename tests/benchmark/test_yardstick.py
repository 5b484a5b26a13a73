"""The cheapest exact retraining: found on validation patients, among what was measured, and never guessed."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forgetmi.benchmark import yardstick
from forgetmi.benchmark.measured import Measured, Number
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import read_setting
from forgetmi.benchmark.store import Outcome
from forgetmi.benchmark.tables import all_tables
from forgetmi.benchmark.yardstick import cheapest, validation_auc
from forgetmi.core.cost import Cost, busy_seconds
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.signals import Signals
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.model.tasks.classes import CLASSES


def signals(quality: float) -> Signals:
    """Ten validation rows, 10 to 19, of which a share is ranked rightly; the other rows are ranked wrongly."""
    row = np.arange(20)
    label = np.tile([0, 1], 10)
    right = (np.arange(20) >= 10) & (np.arange(20) < 10 + 10 * quality)
    towards = np.where(label == 1, 1.0, -1.0) * np.where(right, 1.0, -1.0)
    logits = np.stack([-towards, towards], axis=1).astype(np.float32)
    made: Any = SimpleNamespace(row=row, label=label, logits={"image": logits, "text": logits})
    made.select = lambda rows: SimpleNamespace(
        label=label[rows],
        logits={name: values[rows] for name, values in made.logits.items()},
        there=lambda head: np.ones(len(rows), dtype=bool),
    )
    return made


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From (row, quality, CPU seconds) to a store and a point; the original is right everywhere."""

    def make(*rows: tuple[str, float, float]) -> Any:
        made = {"original": (1.0, 99.0), **{row: (quality, cost) for row, quality, cost in rows}}
        store = SimpleNamespace(
            finished=lambda digest: digest in made,
            outcome=lambda digest: Outcome("", Cost(3.0, made[digest][1], 1)),
            signals=lambda digest: signals(made[digest][0]),
        )
        data = SimpleNamespace(
            cohort=SimpleNamespace(task="classes"),
            partition=SimpleNamespace(validation=np.arange(10, 20)),
        )
        monkeypatch.setattr(yardstick, "open_run", lambda spec: data)
        cells = {row: (SimpleNamespace(digest=row),) for row, _, _ in rows}
        original = SimpleNamespace(digest="original")
        return store, SimpleNamespace(spec=None, original=original, unlearned=cells)

    return make


def test_the_cheapest_of_those_that_are_good_enough(point: Any) -> None:
    found = cheapest(
        *point(
            ("short_retrain:train_epochs=2", 0.8, 5.0),
            ("short_retrain:train_epochs=6", 1.0, 9.0),
            ("short_retrain:train_epochs=8", 1.0, 12.0),
            ("fine_tune", 1.0, 1.0),
        ),
        device="cpu",
        retraining=30.0,
    )
    assert found is not None
    assert (found.row, found.seconds) == ("short_retrain:train_epochs=6", 9.0)
    assert found.auc_lost == pytest.approx(0.0)


def test_where_no_short_one_is_good_enough_it_is_the_retraining(point: Any) -> None:
    rows = (("short_retrain", 0.8, 5.0),)
    found = cheapest(*point(*rows), device="cpu", retraining=30.0)
    assert found is not None
    assert (found.row, found.seconds) == ("retrain", 30.0)
    assert cheapest(*point(*rows), device="cpu", retraining=None) is None


def test_without_a_short_retraining_nothing_is_guessed(point: Any) -> None:
    assert cheapest(*point(("fine_tune", 1.0, 1.0)), device="cpu", retraining=30.0) is None


def test_of_a_device_that_computes_its_seconds_count(point: Any) -> None:
    found = cheapest(*point(("short_retrain", 1.0, 9.0)), device="cuda", retraining=30.0)
    assert found is not None
    assert found.seconds == 3.0
    assert busy_seconds(Cost(3.0, 9.0, 1), "cpu") == 9.0


def test_auc_is_that_of_the_rows_asked_for_over_both_heads() -> None:
    assert validation_auc(signals(1.0), np.arange(10, 20), task=CLASSES) == pytest.approx(1.0)
    assert validation_auc(signals(1.0), np.arange(10), task=CLASSES) == pytest.approx(0.0)
    alone = signals(1.0).select(np.array([10, 12]))
    assert (
        validation_auc(
            SimpleNamespace(select=lambda rows: alone),  # type: ignore[arg-type]
            np.array([10, 12]),
            task=CLASSES,
        )
        is None
    )


def test_the_table_has_the_column_or_says_that_it_was_not_measured() -> None:
    def measured(row: str, cpu: float, cost: float | None) -> Measured:
        outcome = Outcome("", Cost(1.0, cpu, 1))
        return Measured(row, 10.0, 0, 0, 0, row, outcome, Evaluation({}), 40.0, cost)

    for cost, share in ((20.0, 0.25), (None, None)):
        models = (measured(FLOOR, 40.0, cost), measured("cf_k", 5.0, cost))
        results = Results(models, {10.0: ((20, 80),)})
        tables = all_tables(results, [read_setting("cf_k")], seeds=1, published=False)
        time = next(one.table for one in tables if one.name == "time")
        place = time.headings.index("10 %: share of the cheapest exact retraining")
        cells = {row.label: row.cells[place] for row in time.rows}
        assert cells["CF-k"].value == share
        assert cells["Retrain"].value == (None if cost is None else 2.0)
        if cost is None:
            assert cells["CF-k"].reason == "no short_retrain"

    on_device = dataclasses.replace(models[1], device="cuda", cheapest=2.0)
    share_of = on_device.share_of_cheapest()
    assert isinstance(share_of, Number)
    assert share_of.value == pytest.approx(0.5)
    failed = dataclasses.replace(on_device, outcome=Outcome("diverged", Cost(1, 1, 1)))
    assert isinstance(failed.share_of_cheapest(), Failed)
