"""SISA: exactness bit for bit, isolation of shards, and the mean of probabilities."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.authors_code.convert import to_authors
from forgetmi.core.errors import CheckpointError, MethodError
from forgetmi.core.partition import Partition
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.sisa import Sisa, shard_seed
from forgetmi.model.collect import collect
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.run.prepared import open_checkpoint, trained_rows
from forgetmi.unlearning.method import Unlearned, unlearn
from forgetmi.unlearning.shard_log import SliceLog

RECIPE = Recipe(epochs=2)
METHOD = Sisa(shards=3, slices=2)


def train(
    small: Any,
    method: Sisa = METHOD,
    *,
    without_forgotten: bool = False,
    recipe: Recipe = RECIPE,
    **more: Any,
) -> tuple[Any, Any]:
    made = train_original(
        prepared=small.prepared,
        partition=small.partition,
        method=method,
        recipe=recipe,
        seed=5,
        without_forgotten=without_forgotten,
        **more,
    )
    return made.model, made.log


def forget(
    small: Any,
    model: Any,
    log: Any,
    method: Any = METHOD,
    partition: Partition | None = None,
) -> Unlearned[Any]:
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=partition or small.partition,
        seed=5,
        recipe=RECIPE,
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        training_log=log,
    )


def equal(one: SliceLog, two: SliceLog) -> bool:
    return (
        np.array_equal(one.shard, two.shard)
        and np.array_equal(one.slice, two.slice)
        and all(
            torch.equal(a[name], b[name])
            for left, right in zip(one.weights, two.weights, strict=True)
            for a, b in zip(left, right, strict=True)
            for name in a
        )
    )


@pytest.fixture(scope="module")
def original(small: Any) -> tuple[Ensemble, SliceLog]:
    return train(small)


@pytest.fixture(scope="module")
def done(small: Any, original: tuple[Ensemble, SliceLog]) -> Unlearned[Any]:
    return forget(small, *original)


@pytest.fixture(scope="module")
def without(small: Any) -> tuple[Ensemble, SliceLog]:
    """Trained without the forgotten from the start."""
    return train(small, without_forgotten=True)


def test_one_shard_of_one_slice_is_retraining(small: Any, memorised: ImageText) -> None:
    single = Sisa(shards=1, slices=1)
    model, log = train(small, single)
    alone = forget(small, model, log, single).model
    anew = forget(small, memorised, None, Retrain()).model
    assert parameter_digest(alone.member(0)) == parameter_digest(anew)
    batch = small.prepared.records.batch(small.partition.holdout[:4])
    with torch.no_grad():
        assert torch.allclose(
            alone(batch).image_logits, anew(batch).image_logits.log_softmax(1), atol=1e-6
        )


def test_unlearning_equals_training_without_the_forgotten(
    without: tuple[Ensemble, SliceLog], done: Unlearned[Any]
) -> None:
    model, log = without
    assert parameter_digest(done.model) == parameter_digest(model)
    assert equal(done.training_log, log)


def test_the_log_handed_back_serves_the_next_request(
    small: Any,
    original: tuple[Ensemble, SliceLog],
    without: tuple[Ensemble, SliceLog],
) -> None:
    sets = small.partition
    first = sets.forget[sets.patient[sets.forget] == sets.patient[sets.forget[0]]]
    second = np.setdiff1d(sets.forget, first)
    one = dataclasses.replace(sets, forget=first, retain=np.union1d(sets.retain, second))
    two = dataclasses.replace(sets, forget=second)
    after = forget(small, *original, partition=one)
    last = forget(small, after.model, after.training_log, partition=two)
    assert parameter_digest(last.model) == parameter_digest(without[0])


def test_unaffected_parts_stay_bit_identical(
    small: Any,
    original: tuple[Ensemble, SliceLog],
) -> None:
    sets, (model, log) = small.partition, original
    rows = sets.forget[sets.patient[sets.forget] == sets.patient[sets.forget[0]]]
    one = dataclasses.replace(
        sets, forget=rows, retain=np.union1d(sets.retain, np.setdiff1d(sets.forget, rows))
    )
    done = forget(small, model, log, partition=one)
    (hit,) = set(log.shard[rows])
    for number in range(METHOD.shards):
        same = parameter_digest(done.model.member(number)) == parameter_digest(model.member(number))
        assert same == (number != hit)
    assert done.trace.facts["shards affected"] == 1
    assert done.trace.facts["slices trained again"] == METHOD.slices - log.slice[rows].min()
    before, kept = int(log.slice[rows].min()), done.training_log.weights[hit]
    assert all(
        torch.equal(kept[at][name], log.weights[hit][at][name])
        for at in range(before)
        for name in kept[at]
    )


def test_a_patient_is_in_one_place_whoever_else_is_trained_on(
    small: Any,
    original: tuple[Ensemble, SliceLog],
) -> None:
    sets, log = small.partition, original[1]
    trained = trained_rows(sets)
    assert np.array_equal(np.flatnonzero(log.shard >= 0), trained)
    assert np.array_equal(log.shard >= 0, log.slice >= 0)
    for patient in np.unique(sets.patient[trained]):
        rows = trained[sets.patient[trained] == patient]
        assert len(set(zip(log.shard[rows], log.slice[rows], strict=True))) == 1
    assert set(log.shard[trained]) == set(range(METHOD.shards))
    fewer = train(small, without_forgotten=True, recipe=Recipe(epochs=0))[1]
    assert np.array_equal(fewer.shard[sets.retain], log.shard[sets.retain])
    assert np.array_equal(fewer.slice[sets.retain], log.slice[sets.retain])


def test_no_forgotten_image_is_read(small: Any, done: Unlearned[Any]) -> None:
    assert done.trace.samples["forget"] == 0
    assert done.trace.samples["retain"] > 0
    assert done.trace.steps > 0


def test_probabilities_are_averaged(small: Any, original: tuple[Ensemble, SliceLog]) -> None:
    model, batch = original[0], small.prepared.records.batch(small.partition.holdout[:6])
    with torch.no_grad():
        out = model(batch)
        mean = torch.stack(
            [model.member(at)(batch).text_logits.softmax(1) for at in range(3)]
        ).mean(0)
    assert torch.allclose(out.text_logits.exp(), mean, atol=1e-6)
    assert torch.allclose(out.image_logits.exp().sum(1), torch.ones(6), atol=1e-6)
    signals = collect(
        model,
        small.prepared.records,
        small.partition.holdout[:6],
        cohort=small.cohort,
        model_digest="",
    )
    assert signals.image_embedding is None


def test_the_log_survives_its_file_and_holds_the_model(
    tmp_path: Path,
    small: Any,
    original: tuple[Ensemble, SliceLog],
) -> None:
    model, log = original
    log.save(tmp_path / "log.pt")
    again = SliceLog.load(tmp_path / "log.pt")
    assert equal(again, log)
    rebuilt = again.ensemble(lambda own: workflow.build(small.prepared.spec, seed=own), task=GRADES)
    assert parameter_digest(rebuilt) == parameter_digest(model)


def test_other_models_logs_and_options_are_refused(
    small: Any,
    original: tuple[Ensemble, SliceLog],
    memorised: ImageText,
    done: Unlearned[Any],
) -> None:
    model, log = original
    for given, kept in ((memorised, log), (model, None)):
        with pytest.raises(MethodError, match="its own original"):
            forget(small, given, kept)
    with pytest.raises(MethodError, match="3 shards of 2 slices"):
        forget(small, model, log, Sisa(shards=2, slices=2))
    with pytest.raises(MethodError, match="other rows"):
        forget(small, model, done.training_log)
    with pytest.raises(MethodError, match="at least 1"):
        Sisa(shards=0)


def test_the_front_door_takes_an_ensemble(small: Any, original: tuple[Ensemble, SliceLog]) -> None:
    model, log = original
    done = workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=model,
        method=METHOD,
        recipe=RECIPE,
        seed=5,
        training_log=log,
    )
    said = workflow.predict(prepared=small.prepared, model=done.model, rows=small.partition.holdout)
    assert np.allclose(np.exp(said.text_logits).sum(1), 1.0, atol=1e-5)
    assert said.model == parameter_digest(done.model)


def test_an_interrupted_training_resumes_to_the_same_bits(
    tmp_path: Path,
    small: Any,
    original: tuple[Ensemble, SliceLog],
) -> None:
    model, log = original

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small, resume=tmp_path / "state.pt", progress=stop)
    again, kept = train(small, resume=tmp_path / "state.pt", log=tmp_path / "log.pt")
    assert parameter_digest(again) == parameter_digest(model)
    assert equal(kept, log)
    assert equal(SliceLog.load(tmp_path / "log.pt"), log)


def test_the_checkpoint_of_an_ensemble_survives_its_file(
    tmp_path: Path,
    small: Any,
    original: tuple[Ensemble, SliceLog],
) -> None:
    small.prepared.save(tmp_path / "model", original[0], patients=None, role="original")
    prepared, loaded = open_checkpoint(tmp_path / "model", cohort=small.cohort)
    assert isinstance(loaded.model, Ensemble)
    assert prepared.spec == small.prepared.spec
    assert loaded.digest == parameter_digest(loaded.model) == parameter_digest(original[0])
    with pytest.raises(CheckpointError, match="ensemble"):
        to_authors(tmp_path / "model", tmp_path / "theirs")


def test_no_two_root_seeds_share_a_shards_seed() -> None:
    found = [shard_seed(seed, number) for seed in range(4) for number in range(4)]
    assert len(set(found)) == 16
    assert [shard_seed(seed, 0) for seed in range(4)] == [0, 1, 2, 3]
