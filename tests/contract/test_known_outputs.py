"""What the original says of samples as they are need not be computed again, where its evaluation is at hand."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.errors import CheckpointError, MethodError
from forgetmi.core.registry import methods
from forgetmi.core.signals import Signals
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.unlearning import noise_calibration
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.method import SHARES, VISIBLE, Unlearned, original_table, unlearn
from forgetmi.unlearning.teacher import frozen, outputs_of, table_from_signals, tabulate
from tests.contract.conftest import LOGS, RECIPE, quick


def apply(
    small: Any, model: ImageText, method: Any, original: Signals | None, **recipe: Any
) -> Unlearned:
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=small.partition,
        seed=5,
        original=original,
        recipe=dataclasses.replace(RECIPE, **recipe),
        training_log=LOGS.get(model),
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
    )


@pytest.mark.parametrize("name", methods.names(), scope="module")
def test_the_same_to_rounding_with_fewer_samples_read(
    name: str,
    small: Any,
    original: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And without test patients, of whom the signals need not say anything."""
    if not isinstance(original, ImageText):
        pytest.skip("an ensemble")
    method, sets = quick(name, epochs=1), small.partition
    signals = workflow.predict(prepared=small.prepared, model=original)
    if not method.info.reads_signals:
        with pytest.raises(MethodError, match="does not read the original's signals"):
            apply(small, original, method, signals)
        return
    assert "teacher" in method.info.reads
    plain, known = apply(small, original, method, None), apply(small, original, method, signals)
    tested = signals.select(
        np.setdiff1d(signals.row, np.concatenate([sets.holdout, sets.reference]))
    )
    assert parameter_digest(apply(small, original, method, tested).model) == parameter_digest(
        known.model
    )
    assert known.trace.facts["what the original says"] == "read from its signals"
    one, two = plain.model.state_dict(), known.model.state_dict()
    start = original.state_dict()
    moved = max(float((one[key] - start[key]).abs().max()) for key in one)
    apart = max(float((one[key] - two[key]).abs().max()) for key in one)
    assert apart < 0.2 * moved
    assert all(known.trace.samples[kind] <= count for kind, count in plain.trace.samples.items())
    spared = sum(plain.trace.samples.values()) - sum(known.trace.samples.values())
    assert (
        spared > 0 or name == "newton_heads"
    )  # which reads labels, so that it reads each sample anyway
    monkeypatch.setattr("forgetmi.unlearning.method.check", lambda *given: None)
    shifted = signals.replaced(**{name: values[::-1] for name, values in signals.named().items()})
    other = apply(
        small, original, method, shifted
    ).model.state_dict()  # what is looked up is what is used
    assert max(float((two[key] - other[key]).abs().max()) for key in two) > 10 * apart


@pytest.fixture(scope="module")
def said(small: Any, train_once: Any) -> tuple[ImageText, Signals]:
    model = train_once("")
    return model, workflow.predict(prepared=small.prepared, model=model)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "0" * 64}, "another model"),
        ({"cohort": "0" * 64}, "another cohort"),
        ({"text_embedding": None}, "no embeddings"),
        ({"image_logits": (4, np.nan)}, "damaged"),
        ({"text_embedding": np.zeros((3, 16), np.float32)}, "damaged"),
        ({"text_logits": (0, 0.0)}, "damaged"),
        ({"text_embedding": (5, 1.0)}, "different now"),
        ({"image_embedding": (16, 1.0)}, "different now"),
    ],
)
def test_other_signals_are_refused(
    changes: dict[str, Any], why: str, small: Any, said: Any
) -> None:
    model, signals = said

    # A pair stands for a column that is the same everywhere: its width (0 = no second axis) and its value
    columns = {}
    for name, change in changes.items():
        if isinstance(change, tuple):
            width, value = change
            shape = (len(signals.row), width) if width else len(signals.row)
            change = np.full(shape, value, np.float32)
        columns[name] = change

    with pytest.raises(MethodError, match=why):
        apply(small, model, ForgetMI(epochs=1), signals.replaced(**columns))


def test_missing_rows_and_bfloat16_are_refused(small: Any, said: Any) -> None:
    model, signals = said
    with pytest.raises(MethodError, match="are not in them"):
        apply(
            small,
            model,
            ForgetMI(epochs=1),
            signals.select(np.setdiff1d(signals.row, small.partition.retain[:1])),
        )
    with pytest.raises(MethodError, match="bfloat16"):
        apply(small, model, ForgetMI(epochs=1), signals, bf16=True)


def test_a_table_holds_the_rows_asked_for_and_no_others(small: Any, said: Any) -> None:
    model, signals = said
    sets, reads = small.partition, frozenset({"forget", "retain", "labels", "teacher"})
    loader = GuardedLoaders(
        small.prepared.records,
        {kind: sets.rows(kind) for kind in ("forget", "retain")},
        patient=sets.patient,
        reads=reads,
        batch_size=7,
        seed=0,
    ).retain
    both = np.sort(np.concatenate([sets.forget, sets.retain]))
    known = table_from_signals(signals, both, weights=signals.model, cohort=signals.cohort)
    with pytest.raises(KeyError):
        known.of(torch.tensor(sets.validation[:1]))
    rows = sets.retain[[5, 0, 3]]
    read, computed = (
        outputs_of(frozen(model), loader, rows, known),
        outputs_of(frozen(model), loader, rows, None),
    )
    slow = tabulate(frozen(model), [small.prepared.records.batch(np.array([row])) for row in rows])
    for name in ("image", "text", "joint", "image_logits", "text_logits"):
        one, two, three = (getattr(table, name) for table in (read, computed, slow))
        assert one.shape == two.shape == three.shape == (3, one.shape[1])  # in the order asked for
        assert torch.allclose(one, three, atol=1e-4)
        assert torch.allclose(two, three, atol=1e-4)
    with pytest.raises(KeyError):
        read.of(torch.tensor(sets.retain[1:2]))
    with pytest.raises(MethodError, match="not in this set"):
        outputs_of(frozen(model), loader, sets.forget[:1], known)


def test_other_images_under_the_same_names_are_noticed(small: Any, said: Any) -> None:
    model, signals = said
    read = small.prepared.records.batch

    class Inverted:
        scale = small.prepared.records.scale

        def batch(self, rows: Any) -> Any:
            one = read(rows)
            return one.with_inputs(image=1 - one.image)

    with pytest.raises(MethodError, match="outputs for these images are different now"):
        original_table(
            signals, ForgetMI(), model, records=Inverted(), partition=small.partition, recipe=RECIPE
        )


@dataclasses.dataclass(frozen=True)
class Curious:
    """Asks for everything it can."""

    info = dataclasses.replace(ForgetMI.info, reads=frozenset({"forget", "validation", "teacher"}))
    epochs: int = 1

    def apply(self, model: ImageText, loaders: GuardedLoaders, context: Context) -> ImageText:
        assert context.cached is not None
        context.facts["held"] = torch.nonzero(context.cached.position >= 0).flatten().tolist()
        return copy.deepcopy(model)


def test_a_method_learns_of_the_sets_it_declares_alone(small: Any, said: Any) -> None:
    sets = small.partition
    held = apply(small, said[0], Curious(), said[1]).trace.facts["held"]
    assert held == sorted([*sets.forget.tolist(), *sets.validation.tolist()])


def test_a_run_with_signals_does_not_go_on_without(small: Any, said: Any, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    def go(state: Path, original: Signals | None, **more: Any) -> Unlearned:
        return workflow.unlearn(
            prepared=small.prepared,
            partition=small.partition,
            model=said[0],
            seed=5,
            recipe=RECIPE,
            method=ForgetMI(epochs=3),
            original=original,
            state=state,
            **more,
        )

    for first, then in ((said[1], None), (None, said[1])):
        state = tmp_path / f"{first is None}.pt"
        with pytest.raises(KeyboardInterrupt):
            go(state, first, progress=stop)
        with pytest.raises(CheckpointError):
            go(state, then)
        assert parameter_digest(go(state, first).model) == parameter_digest(
            go(tmp_path / "new.pt", first).model
        )
        (tmp_path / "new.pt").unlink()
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "shares.pt", None, progress=stop)
    changed, whole = (
        go(tmp_path / "shares.pt", None, micro_batches=2),
        go(tmp_path / "new.pt", None, micro_batches=2),
    )
    assert changed.trace.facts[SHARES] == "another number after an interruption"
    assert whole.trace.facts[SHARES] == 2


def test_calibration_reads_the_same_target(
    small: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_calibration, "FEWEST", 1)
    model, signals = said
    sets = small.partition
    loaders = GuardedLoaders(
        small.prepared.records,
        {kind: sets.rows(kind) for kind in VISIBLE},
        patient=sets.patient,
        reads=ForgetMI.info.reads,
        batch_size=7,
        seed=0,
    )
    known = table_from_signals(
        signals, np.sort(sets.validation), weights=signals.model, cohort=signals.cohort
    )
    one, two = (
        noise_calibration.calibrate_noise(
            frozen(model), loaders, seed=5, cached=given, task=GRADES
        )[2]
        for given in (None, known)
    )
    assert one["noise"] == two["noise"] == "calibrated"
    assert two["target cross-entropy (image, text)"] == pytest.approx(
        one["target cross-entropy (image, text)"], rel=1e-5
    )


def test_who_does_not_declare_a_teacher_has_no_answers(small: Any) -> None:
    context = Context(
        seed=0,
        reads=frozenset({"retain"}),
        task=GRADES,
        _recipe=RECIPE,
        _fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
    )
    with pytest.raises(MethodError, match="without declaring"):
        _ = context.cached
