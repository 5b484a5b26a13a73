"""What every registered method must meet, unasked."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.registry import methods
from forgetmi.core.serialization import from_plain
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.method import Unlearned, unlearn
from tests.contract.conftest import LOGS, RECIPE, needs_public_towers, quick

NAMES = [name for name in methods.names() if not needs_public_towers(name)]
pytestmark = pytest.mark.parametrize(
    "name", NAMES, scope="module"
)  # all of a method, then the next


@dataclasses.dataclass(frozen=True)
class Watched:
    """A whole run of a method with the usual seed, and what it did seen from outside.

    Attributes:
        done: The unlearned model and its trace.
        input: Digest and mode of the original, before and after.
        read: Rows read, in order, as often as they were read.
        moments: "batch" and "epoch", in the order in which they came.
        steps: Optimiser steps.
    """

    done: Unlearned
    input: tuple[tuple[str, bool], tuple[str, bool]]
    read: list[int]
    moments: list[str]
    steps: int


@dataclasses.dataclass(frozen=True)
class Resumed:
    """The same run, interrupted and taken up again.

    Attributes:
        done: The unlearned model and its trace.
        saved: Whether there was progress on disk after the interruption.
        looped: Whether the method goes through epochs.
        input: Digest of the original after the interruption.
    """

    done: Unlearned
    saved: bool
    looped: bool
    input: str


def usual(name: str) -> Any:
    """Two epochs, where it has epochs; one method has three: progress is saved over progress before the last."""
    return quick(name, epochs=3 if name == "forget_mi" else 2)


def apply(small: Any, model: ImageText, method: Any, *, seed: int = 5, **more: Any) -> Unlearned:
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=small.partition,
        seed=seed,
        recipe=RECIPE,
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        training_log=LOGS.get(model),
        **more,
    )


class Stopped:
    """Counts what a run does from outside - batches read, epochs reported - and interrupts it at one of these moments.

    Args:
        batch: Reads a batch.
        at: Number of the moment, from 0; None = never.
    """

    def __init__(self, batch: Callable[..., Any], *, at: int | None = None) -> None:
        self.moments: list[str] = []
        self.rows: list[int] = []
        self._batch, self._at = batch, at

    def _moment(self, what: str) -> None:
        self.moments.append(what)
        if len(self.moments) - 1 == self._at:
            raise KeyboardInterrupt

    def read(self, records: Any, rows: Any, **more: Any) -> Any:
        """In place of `SampleStore.batch`."""
        self._moment("batch")
        self.rows.extend(int(row) for row in rows)
        return self._batch(records, rows, **more)

    def progress(self, done: int, total: int) -> None:
        """An epoch is done."""
        self._moment("epoch")


@pytest.fixture(scope="module")
def watched(name: str, small: Any, original: ImageText) -> Watched:
    """For every property that only reads what a run did and left."""
    records = type(small.prepared.records)
    before = parameter_digest(original), original.training

    # Count batches, epochs and steps while the method runs
    watch = Stopped(records.batch)
    steps: list[Any] = []
    hook = register_optimizer_step_post_hook(lambda *given: steps.append(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "batch", lambda *given, **more: watch.read(*given, **more))
        try:
            done = apply(small, original, usual(name), progress=watch.progress)
        finally:
            hook.remove()

    after = parameter_digest(original), original.training
    return Watched(done, (before, after), watch.rows, watch.moments, len(steps))


@pytest.fixture(scope="module")
def resumed(
    name: str,
    small: Any,
    original: ImageText,
    watched: Watched,
    tmp_path_factory: pytest.TempPathFactory,
) -> Resumed:
    """Interrupted in the last epoch, or, without a loop over epochs, half-way through what is read."""
    records, method = type(small.prepared.records), usual(name)
    epochs = [at for at, what in enumerate(watched.moments) if what == "epoch"]
    state, looped = tmp_path_factory.mktemp(name) / "state.pt", len(epochs) > 1

    cut = Stopped(records.batch, at=epochs[-1] - 1 if looped else len(watched.moments) // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "batch", lambda *given, **more: cut.read(*given, **more))
        with pytest.raises(KeyboardInterrupt):
            apply(small, original, method, state=state, progress=cut.progress)

    saved, left = state.exists(), parameter_digest(original)
    return Resumed(apply(small, original, method, state=state), saved, looped, left)


def test_the_input_model_is_untouched_and_shares_no_storage(
    name: str, original: ImageText, watched: Watched
) -> None:
    before, after = watched.input
    assert after == before
    theirs = {value.data_ptr() for value in original.state_dict().values() if value.numel()}
    assert not theirs & {
        value.data_ptr() for value in watched.done.model.state_dict().values() if value.numel()
    }


def test_zero_epochs_return_the_original_bit_for_bit(
    name: str, small: Any, original: ImageText
) -> None:
    method = quick(name, epochs=0)
    if getattr(method, "epochs", None) != 0:
        pytest.skip("the method has no epochs of its own")
    assert parameter_digest(apply(small, original, method).model) == parameter_digest(original)


def test_same_seed_equal_other_seed_different(
    name: str, small: Any, original: ImageText, watched: Watched, resumed: Resumed
) -> None:
    """The second run with the same seed is one that was interrupted on its way."""
    first, again = watched.done.model, resumed.done.model
    other = apply(small, original, usual(name), seed=6).model
    assert parameter_digest(first) == parameter_digest(again)
    assert parameter_digest(first) != parameter_digest(original)
    if methods.get(name).info.deterministic:
        one, two = first.state_dict(), other.state_dict()
        assert all(torch.allclose(one[key], two[key], rtol=0, atol=1e-6) for key in one)
    else:
        assert parameter_digest(first) != parameter_digest(other)


def test_frozen_parts_and_kept_statistics_stay_bit_identical(
    name: str, small: Any, original: ImageText, request: pytest.FixtureRequest
) -> None:
    """With bn=eval nothing is written to a buffer, and the gate that teacher and student share does not move."""
    method = quick(name, bn="eval")
    if getattr(method, "bn", None) != "eval":
        pytest.skip(
            "the method has no choice of statistics: it trains afresh, or has a test of its own"
        )
    weights = {key for key, _ in original.named_parameters()}
    if usual(name).bn == "eval":
        trace = request.getfixturevalue("watched").done.trace
    else:
        trace = apply(small, original, quick(name, bn="eval", epochs=1)).trace
    changed = set(trace.changed)
    assert changed
    assert changed <= weights
    assert name == "multi_delete" or not any(key.startswith("gate.") for key in changed)


def test_only_declared_sets_are_read(name: str, small: Any, watched: Watched) -> None:
    read = set(watched.read)
    declared = methods.get(name).info.reads
    allowed = {
        int(row)
        for kind in ("forget", "retain", "validation")
        if kind in declared
        for row in small.partition.rows(kind)
    }
    assert read <= allowed
    assert not read & set(small.partition.holdout.tolist())


def test_a_training_of_its_own_reads_no_one_else(name: str, small: Any, monkeypatch: Any) -> None:
    """Methods that train their original themselves see the patients trained on, and cannot ask for others."""
    method, told = quick(name), []
    if method.info.original is None:
        pytest.skip("the usual original will do")
    train = method.info.original.train
    read: set[int] = set()
    batch = type(small.prepared.records).batch

    def spy(self: Any, rows: Any, **more: Any) -> Any:
        read.update(int(row) for row in rows)
        return batch(self, rows, **more)

    def watched(method: Any, task: Any) -> Any:
        told.append(task)
        return train(method, task)

    monkeypatch.setattr(type(small.prepared.records), "batch", spy)
    own = dataclasses.replace(method.info.original, train=watched)
    monkeypatch.setattr(type(method), "info", dataclasses.replace(method.info, original=own))
    train_original(prepared=small.prepared, partition=small.partition, method=method, recipe=RECIPE)
    assert read
    assert not read & set(small.partition.holdout.tolist())
    assert set(told[0].samples.rows) <= {*small.partition.forget, *small.partition.retain}
    for kind in ("validation", "holdout"):
        with pytest.raises(MethodError, match="not in this set"):
            told[0].samples.for_training(8, rows=small.partition.rows(kind)[:4])


def test_undeclared_sets_raise(name: str, small: Any) -> None:
    declared = methods.get(name).info.reads
    rows = {kind: small.partition.rows(kind) for kind in ("forget", "retain", "validation")}
    loaders = GuardedLoaders(
        small.prepared.records,
        rows,
        patient=small.partition.patient,
        reads=declared,
        batch_size=8,
        seed=0,
    )
    for kind in {"forget", "retain", "validation"} - declared:
        with pytest.raises(MethodError, match="without declaring"):
            getattr(loaders, kind)
    if "labels" not in declared:
        for kind in {"forget", "retain", "validation"} & declared:
            assert bool((next(getattr(loaders, kind).epoch(0)).label == -1).all())


def test_what_else_is_undeclared_raises(name: str, small: Any) -> None:
    declared = methods.get(name).info.reads
    context = Context(
        seed=0,
        reads=declared,
        task=GRADES,
        _recipe=RECIPE,
        _fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
    )
    ways_by_part: dict[str, list[Callable[[], Any]]] = {
        "recipe": [lambda: context.recipe],
        "fresh model": [lambda: context.fresh_model(1)],
        "training log": [lambda: context.training_log, lambda: context.keep_log(None)],
    }
    for what, ways in ways_by_part.items():
        for way in ways:
            if what in declared:
                way()
            else:
                with pytest.raises(MethodError, match="without declaring"):
                    way()


def test_who_asks_the_original_declares_a_teacher(name: str, small: Any) -> None:
    """Its answers are got by freezing it, or by measuring it before the first step."""
    kind = methods.get(name)
    source = inspect.getsource(inspect.getmodule(kind) or kind)
    asks = any(
        way in source
        for way in ("frozen(model", "per_sample(model", "deepcopy(model).requires_grad_(False)")
    )
    assert asks == ("teacher" in kind.info.reads)


def test_an_interrupted_run_resumes_to_the_same_weights(
    name: str, original: ImageText, watched: Watched, resumed: Resumed
) -> None:
    """In the last epoch, or, without a loop over epochs, half-way through what is read."""
    assert resumed.saved == resumed.looped
    assert resumed.input == watched.input[0][0]
    assert parameter_digest(resumed.done.model) == parameter_digest(watched.done.model)
    for what in ("steps", "samples", "epochs", "changed", "first_gradient"):
        assert getattr(resumed.done.trace, what) == getattr(watched.done.trace, what), what


def test_unknown_options_are_refused(name: str, small: Any) -> None:
    with pytest.raises(TypeError):
        methods.get(name)(no_such_option=1)
    with pytest.raises(SpecError, match="unknown key"):
        from_plain(methods.get(name), {"no_such_option": 1}, where="spec.yaml")


def test_impossible_epochs_and_learning_rates_are_out_of_range(name: str, small: Any) -> None:
    default = methods.get(name)()
    for option, value in (("epochs", -1), ("lr", 0.0), ("lr", -1e-3)):
        if hasattr(default, option):
            with pytest.raises((MethodError, SpecError)):
                RunSpec(method=dataclasses.replace(default, **{option: value}))


def test_the_trace_is_complete_and_true(
    name: str, small: Any, original: ImageText, watched: Watched
) -> None:
    done, read = watched.done, watched.read
    old, new = original.state_dict(), done.model.state_dict()
    assert set(done.trace.changed) == {key for key in old if not torch.equal(old[key], new[key])}
    assert done.trace.steps == watched.steps
    assert done.trace.method == methods.get(name).info.title
    assert done.trace.options == dataclasses.asdict(usual(name))
    assert done.trace.moved > 0
    assert done.trace.cost.seconds > 0
    assert done.trace.cost.cpu_seconds > 0
    json.dumps(done.trace.plain(), allow_nan=False)
    assert done.trace.cost.peak_memory > 1e6
    assert (
        set(done.trace.samples) == {"forget", "retain", "validation"} & methods.get(name).info.reads
    )
    assert done.trace.samples == {
        kind: int(np.isin(read, small.partition.rows(kind)).sum()) for kind in done.trace.samples
    }
    assert all(np.isfinite(value) for epoch in done.trace.epochs for value in epoch.values())


def test_one_forgotten_sample_works_or_is_refused(
    name: str, small: Any, original: ImageText
) -> None:
    row = small.partition.forget[:1]
    rest = np.setdiff1d(small.partition.forget, row)
    patient = small.partition.patient.copy()
    patient[row] = patient.max() + 1
    retain = np.sort(np.concatenate([small.partition.retain, rest]))
    one = dataclasses.replace(
        small.partition, forget=row, retain=retain, patient=patient, group=patient
    )
    lone = dataclasses.replace(small, partition=one)
    try:
        done = apply(lone, original, quick(name, epochs=1))
    except MethodError as error:
        refusal = error
    else:
        assert all(bool(torch.isfinite(value).all()) for value in done.model.parameters())
        return
    assert all(fault.why or fault.do for fault in refusal.faults)
    assert "the loss became" not in str(refusal)


def test_its_search_space_holds_the_defaults_and_nothing_impossible(name: str, small: Any) -> None:
    default, space = methods.get(name)(), methods.get(name).info.search
    for option, values in space.items():
        assert len(set(values)) == len(values) > 1
        assert getattr(default, option) in values
    for values in itertools.product(*space.values()):
        dataclasses.replace(default, **dict(zip(space, values, strict=True)))
    assert len(space) <= 3


def test_its_description_is_complete(name: str, small: Any) -> None:
    info = methods.get(name).info
    options = {option.name for option in dataclasses.fields(methods.get(name))}
    assert info.own_epochs == ("epochs" in options)
    assert ("training log" in info.reads) == (info.original is not None)
    assert info.title
    assert info.paper
    assert info.summary.endswith(".")
    assert info.cost
    assert info.suits
