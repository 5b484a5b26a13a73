"""What the original says of samples as they are need not be computed again, where its evaluation is at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi import api
from forgetmi.errors import MethodError
from forgetmi.methods import base
from forgetmi.methods.access import Loaders
from forgetmi.methods.context import Context
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.teacher import frozen, outputs_of, recall, tabulate
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.registry import methods
from forgetmi.types import Signals
from tests.contract.conftest import LOGS, RECIPE, quick

ASKING = ("afs", "bad_teaching", "calibrated_consensus", "clip_erase", "consensus", "delete", "forget_mi",
          "multi_delete", "scrub")
COLUMNS = ("image_logits", "text_logits", "image_embedding", "text_embedding", "joint_embedding")


def apply(small: Any, model: ImageText, method: Any, original: Signals | None, **recipe: Any) -> base.Unlearned:
    return base.unlearn(
        method, model, records=small.prepared.records, partition=small.partition, seed=5, original=original,
        recipe=dataclasses.replace(RECIPE, **recipe), training_log=LOGS.get(model),
        fresh_model=lambda own: api.build(small.prepared.spec, seed=own))


def blank(signals: Signals, rows: Any) -> Signals:
    """The same, but nothing is known of some rows."""
    gone = np.isin(signals.row, rows)
    return dataclasses.replace(signals, **{
        name: np.where(gone[:, None], np.nan, getattr(signals, name)).astype(getattr(signals, name).dtype)
        for name in COLUMNS})


@pytest.mark.parametrize("name", methods.names())
def test_the_same_to_rounding_with_fewer_samples_read(name: str, small: Any, original: Any) -> None:
    """And not from test patients: of those the signals may say what they like."""
    if not isinstance(original, ImageText):
        pytest.skip("an ensemble")
    method, sets = quick(name), small.partition
    signals = api.predict(prepared=small.prepared, model=original)
    plain, known = apply(small, original, method, None), apply(small, original, method, signals)
    tested = blank(signals, np.concatenate([sets.holdout, sets.reference]))
    assert parameter_digest(apply(small, original, method, tested).model) == parameter_digest(known.model)
    if name not in ASKING:
        assert parameter_digest(known.model) == parameter_digest(plain.model)
        assert known.trace.samples == plain.trace.samples
        return
    one, two = plain.model.state_dict(), known.model.state_dict()
    start = original.state_dict()
    moved = max(float((one[key] - start[key]).abs().max()) for key in one)
    apart = max(float((one[key] - two[key]).abs().max()) for key in one)
    assert apart < 0.2 * moved
    assert all(known.trace.samples[kind] <= count for kind, count in plain.trace.samples.items())
    assert sum(known.trace.samples.values()) < sum(plain.trace.samples.values())
    trained = blank(signals, np.concatenate([sets.forget, sets.retain]))
    with pytest.raises(MethodError, match="loss became nan"):  # what is looked up is what is used
        apply(small, original, method, trained)


@pytest.fixture(scope="module")
def said(small: Any, train_once: Any) -> tuple[ImageText, Signals]:
    model = train_once("")
    return model, api.predict(prepared=small.prepared, model=model)


@pytest.mark.parametrize(("changes", "why"), [
    ({"model": "0" * 64}, "another model"), ({"cohort": "0" * 64}, "another cohort"),
    ({"joint_embedding": None}, "no embeddings")])
def test_other_signals_are_refused(changes: dict[str, Any], why: str, small: Any, said: Any) -> None:
    model, signals = said
    with pytest.raises(MethodError, match=why):
        apply(small, model, ForgetMI(epochs=1), dataclasses.replace(signals, **changes))


def test_missing_rows_and_bfloat16_are_refused(small: Any, said: Any) -> None:
    model, signals = said
    with pytest.raises(MethodError, match="are not in them"):
        apply(small, model, ForgetMI(epochs=1), signals.select(np.setdiff1d(signals.row, small.partition.retain[:1])))
    with pytest.raises(MethodError, match="bfloat16"):
        apply(small, model, ForgetMI(epochs=1), signals, bf16=True)


def test_a_table_holds_the_rows_asked_for_and_no_others(small: Any, said: Any) -> None:
    model, signals = said
    sets, reads = small.partition, frozenset({"forget", "retain", "labels", "teacher"})
    loader = Loaders(small.prepared.records, {kind: sets.rows(kind) for kind in ("forget", "retain")},
                     patient=sets.patient, reads=reads, batch_size=7, seed=0).retain
    both = np.sort(np.concatenate([sets.forget, sets.retain]))
    known = recall(signals, both, weights=signals.model, cohort=signals.cohort)
    with pytest.raises(KeyError):
        known.of(torch.tensor(sets.validation[:1]))
    rows = sets.retain[[5, 0, 3]]
    read, computed = outputs_of(frozen(model), loader, rows, known), outputs_of(frozen(model), loader, rows, None)
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


def test_who_does_not_declare_a_teacher_has_no_answers(small: Any) -> None:
    context = Context(seed=0, reads=frozenset({"retain"}), ordinal=True, _recipe=RECIPE,
                      _fresh_model=lambda own: api.build(small.prepared.spec, seed=own))
    with pytest.raises(MethodError, match="without declaring"):
        _ = context.known
