"""Amnesiac: the log adds up, and taking back all of it, none of it and part of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import MethodError
from forgetmi.methods.amnesiac import Amnesiac, subtract
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.unlearning import method
from forgetmi.unlearning.shard_log import SliceLog
from forgetmi.unlearning.update_log import UpdateLog

RECIPE = Recipe(epochs=1, batch_size=4)


def train(small: Any, bucket: Ints, **more: Any) -> tuple[ImageText, UpdateLog]:
    log = UpdateLog(bucket)
    model, _ = workflow.train(
        prepared=small.prepared,
        partition=small.partition,
        recipe=RECIPE,
        seed=3,
        observers=[log],
        **more,
    )
    return model, log


def take_back(
    small: Any, model: ImageText, log: Any, *, epochs: int = 0, state: Path | None = None
) -> method.Unlearned:
    return method.unlearn(
        Amnesiac(repair_epochs=epochs),
        model,
        records=small.prepared.records,
        partition=small.partition,
        seed=5,
        recipe=RECIPE,
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        training_log=log,
        state=state,
    )


def weights(model: ImageText) -> torch.Tensor:
    """All weights but the gate's, which training does not touch and which is fitted after it."""
    return torch.cat(
        [
            value.detach().flatten()
            for name, value in model.named_parameters()
            if not name.startswith("gate.")
        ]
    )


@pytest.fixture(scope="module")
def by_patient(small: Any) -> tuple[ImageText, UpdateLog]:
    return train(small, small.partition.patient)


def test_each_step_goes_to_the_set_of_its_buckets() -> None:
    model = nn.Linear(1, 1, bias=False)
    log = UpdateLog(np.array([0, 0, 1, 2]))
    for rows, change in (
        ([0, 1], 1.0),
        ([1, 2], 10.0),
        ([1, 0], 100.0),
        ([3], 1000.0),
        ([2, 0], 1e4),
    ):
        batch: Any = SimpleNamespace(row=torch.tensor(rows))
        log.before_step(model, batch)
        with torch.no_grad():
            model.weight += change
        log.after_step(model, batch)
    assert {key: round(float(value)) for key, value in log.sums.items()} == {
        (0,): 101,
        (0, 1): 10_010,
        (2,): 1000,
    }
    assert log.steps == {(0,): 2, (0, 1): 2, (2,): 1}
    assert log.affected(np.array([2])) == [(0, 1)]
    assert log.affected(np.array([0])) == [(0,), (0, 1)]
    kept = log.without(np.array([2]))
    assert set(kept.sums) == {(0,), (2,)}
    assert len(log.sums) == 3


def test_all_affected_gives_the_initial_weights_back(small: Any) -> None:
    model, log = train(small, np.zeros(len(small.cohort), np.int64))
    done = take_back(small, model, log)
    start = workflow.build(small.prepared.spec, seed=3)
    assert (weights(model) - weights(start)).abs().max() > 3e-3
    assert torch.allclose(weights(done.model), weights(start), atol=1e-5)
    assert (
        done.trace.facts["steps taken back"]
        == done.trace.facts["steps logged"]
        == sum(log.steps.values())
    )


def test_an_interrupted_rollback_takes_nothing_back_twice(
    small: Any,
    by_patient: tuple[ImageText, UpdateLog],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, log = by_patient
    whole, before, updates = (
        take_back(small, model, log, epochs=1),
        parameter_digest(model),
        UpdateLog.updates,
    )
    assert len(log.affected(small.partition.forget)) > 1

    def stop(self: UpdateLog, rows: Ints) -> Iterator[torch.Tensor]:
        yield next(updates(self, rows))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UpdateLog, "updates", stop)
        with pytest.raises(KeyboardInterrupt):
            take_back(small, model, log, epochs=1, state=tmp_path / "state.pt")
    assert parameter_digest(model) == before
    again = take_back(small, model, log, epochs=1, state=tmp_path / "state.pt")
    assert parameter_digest(again.model) == parameter_digest(whole.model)


def test_none_affected_changes_nothing(small: Any) -> None:
    model, log = train(
        small,
        np.isin(np.arange(len(small.cohort)), small.partition.forget).astype(np.int64),
        without_forgotten=True,
    )
    done = take_back(small, model, log)
    assert parameter_digest(done.model) == parameter_digest(model)
    assert done.trace.facts["steps taken back"] == 0


def test_what_is_taken_back_and_what_stays_is_the_whole_training(
    small: Any,
    by_patient: tuple[ImageText, UpdateLog],
) -> None:
    model, log = by_patient
    start, done = workflow.build(small.prepared.spec, seed=3), take_back(small, model, log)
    stays = done.training_log
    assert 0 < len(stays.sums) < len(log.sums)
    model_end, lost = weights(model), weights(model) - weights(done.model)
    kept = torch.stack(list(stays.sums.values())).sum(0)
    gate = sum(
        value.numel() for name, value in model.named_parameters() if name.startswith("gate.")
    )
    moved = torch.cat(
        [
            part.flatten()
            for (name, _), part in zip(
                model.named_parameters(),
                kept.split([p.numel() for p in model.parameters()]),
                strict=True,
            )
            if not name.startswith("gate.")
        ]
    )
    assert len(moved) == len(kept) - gate
    assert torch.allclose(lost + moved, model_end - weights(start), atol=1e-5)


def test_running_statistics_are_left_to_the_repair(
    small: Any, by_patient: tuple[ImageText, UpdateLog]
) -> None:
    model, log = by_patient
    plain, repaired = (take_back(small, model, log, epochs=epochs) for epochs in (0, 1))
    assert not any("running_" in name or "num_batches" in name for name in plain.trace.changed)
    assert any("running_" in name for name in repaired.trace.changed)
    assert plain.trace.samples == {"forget": 0, "retain": 0}
    assert repaired.trace.samples == {"forget": 0, "retain": len(small.partition.retain)}


def test_a_log_survives_its_file(
    tmp_path: Path, small: Any, by_patient: tuple[ImageText, UpdateLog]
) -> None:
    model, log = by_patient
    log.save(tmp_path / "log.pt")
    again = UpdateLog.load(tmp_path / "log.pt")
    assert again.steps == log.steps
    assert list(tmp_path.iterdir()) == [tmp_path / "log.pt"]
    assert all(torch.equal(again.sums[buckets], update) for buckets, update in log.sums.items())
    one, two = (take_back(small, model, given).model for given in (log, again))
    assert parameter_digest(one) == parameter_digest(two)
    with pytest.raises(MethodError, match="of Amnesiac, not of SISA"):
        SliceLog.load(tmp_path / "log.pt" / "index.pt")
    (tmp_path / "log.pt" / "updates.f32").write_bytes(b"short")
    with pytest.raises(MethodError, match="incomplete"):
        UpdateLog.load(tmp_path / "log.pt")
    (tmp_path / "log.pt" / "index.pt").write_bytes(b"no log")
    with pytest.raises(MethodError, match="cannot be read"):
        UpdateLog.load(tmp_path / "log.pt")


def test_a_log_that_grows_too_large_stops_the_training(small: Any) -> None:
    log = UpdateLog(small.partition.patient, limit=5e5)
    with pytest.raises(MethodError, match="fewer buckets"):
        workflow.train(
            prepared=small.prepared,
            partition=small.partition,
            recipe=RECIPE,
            seed=3,
            observers=[log],
        )


def test_without_its_log_or_with_another_models_it_is_refused(
    small: Any, memorised: ImageText
) -> None:
    with pytest.raises(MethodError, match="needs the log"):
        take_back(small, memorised, None)
    with pytest.raises(MethodError, match="another architecture"):
        subtract(memorised, [torch.zeros(3)])


def original(small: Any, buckets: Any, *, epochs: int = 3, **more: Any) -> Any:
    return train_original(
        prepared=small.prepared,
        partition=small.partition,
        method=Amnesiac(buckets=buckets),
        recipe=Recipe(epochs=epochs, batch_size=8),
        seed=3,
        **more,
    )


def test_two_buckets_take_back_what_one_a_patient_does(small: Any) -> None:
    few, many = (original(small, buckets, epochs=1) for buckets in ("request", "patients"))
    assert parameter_digest(few.model) == parameter_digest(many.model)
    assert len(few.log.sums) <= 3 < len(many.log.sums)
    one, two = (take_back(small, made.model, made.log) for made in (few, many))
    assert one.trace.facts == two.trace.facts
    assert torch.allclose(weights(one.model), weights(two.model), atol=1e-5)


@pytest.mark.parametrize("buckets", ["request", pytest.param("patients", marks=pytest.mark.slow)])
def test_an_interrupted_training_resumes_to_the_same_log(
    tmp_path: Path, small: Any, buckets: str
) -> None:
    whole = original(small, buckets, log=tmp_path / "whole.log")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    where = {"resume": tmp_path / "state.pt", "log": tmp_path / "log"}
    with pytest.raises(KeyboardInterrupt):
        original(small, buckets, progress=stop, **where)
    with pytest.raises(MethodError, match="cannot be read"):
        UpdateLog.load(tmp_path / "log")
    # The kill came after an epoch was saved; what a later epoch had written by then must not count.
    with (tmp_path / "log" / "updates.f32").open("ab") as file:
        file.write(b"\x01" * 4096)
    again = original(small, buckets, **where)
    assert parameter_digest(again.model) == parameter_digest(whole.model)
    kept, first = (UpdateLog.load(tmp_path / name) for name in ("log", "whole.log"))
    assert kept.steps == first.steps
    assert all(torch.equal(update, first.sums[buckets]) for buckets, update in kept.sums.items())
