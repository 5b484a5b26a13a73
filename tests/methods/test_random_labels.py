"""Random labels: what is drawn, for whom, and the objective."""

from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Batch
from forgetmi.core.errors import MethodError
from forgetmi.core.task import Rule
from forgetmi.methods import random_labels
from forgetmi.methods.random_labels import RandomLabels
from forgetmi.methods.salun import SalUn
from forgetmi.model.image_text import ImageText
from forgetmi.model.losses import base_loss
from forgetmi.model.random_label import random_label
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.loop import training_loss
from forgetmi.unlearning.losses import classification
from forgetmi.unlearning.mixed import mixed
from forgetmi.unlearning.relabel import Unit, relabelling
from tests.unlearning.reading import loaders


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**31), st.data())
def test_other_labels_differ_and_neighbours_are_next(
    classes: int, seed: int, data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, classes - 1))
    other, neighbour, free = (
        random_label(label, classes, rule=rule, generator=np.random.default_rng(seed))
        for rule in ("other", "neighbour", "any")
    )
    assert other != label
    assert abs(neighbour - label) == 1
    assert all(0 <= one < classes for one in (other, neighbour, free))


@pytest.mark.parametrize(
    ("rule", "allowed"), [("other", {0, 1, 3}), ("neighbour", {1, 3}), ("any", {0, 1, 2, 3})]
)
def test_allowed_labels_are_drawn_alike(rule: Rule, allowed: set[int]) -> None:
    found = Counter(
        random_label(2, 4, rule=rule, generator=np.random.default_rng(seed)) for seed in range(3000)
    )
    assert set(found) == allowed
    expected = 3000 / len(allowed)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in found.values())


@pytest.mark.parametrize("rule", ["other", "neighbour", "any"])
def test_unknown_labels_stay(rule: Rule) -> None:
    assert random_label(-1, 4, rule=rule, generator=np.random.default_rng(0)) == -1


def relabelled(
    small: Any, method: RandomLabels, *, seed: int = 5, epoch: int = 0
) -> tuple[Batch, Batch]:
    """Every forgotten and retained sample, with the drawn and with its own labels."""
    rows = np.concatenate([small.partition.forget, small.partition.retain])
    batch = small.prepared.records.batch(rows)
    forget = loaders(small, "labels").forget
    return relabelling(
        forget,
        4,
        task=GRADES,
        rule=method.labels,
        unit=method.unit,
        seed=seed,
        draw=epoch if method.redraw else 0,
    )(batch), batch


@pytest.mark.parametrize("unit", ["study", "patient"])
def test_the_retained_keep_their_labels_and_units_share_a_shift(small: Any, unit: Unit) -> None:
    drawn, own = relabelled(small, RandomLabels(unit=unit))
    first = len(small.partition.forget)
    assert torch.equal(drawn.label[first:], own.label[first:])
    assert bool((drawn.label[:first] != own.label[:first]).all())
    of = (
        own.study[:first]
        if unit == "study"
        else torch.from_numpy(small.partition.patient[small.partition.forget])
    )
    shift = (drawn.label - own.label)[:first] % 4
    assert all(len(shift[of == one].unique()) == 1 for one in of.unique())
    assert len(shift.unique()) > 1


def test_the_draw_depends_on_the_seed_and_on_the_epoch_if_asked(small: Any) -> None:
    once, anew = RandomLabels(), RandomLabels(redraw=True)
    first = relabelled(small, once)[0].label
    assert torch.equal(first, relabelled(small, once, epoch=3)[0].label)
    assert not torch.equal(first, relabelled(small, once, seed=6)[0].label)
    assert not torch.equal(first, relabelled(small, anew, epoch=3)[0].label)


@pytest.mark.parametrize("order", ["mixed", "passes"])
def test_the_first_losses_have_the_value_of_the_formula(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
    order: Literal["mixed", "passes"],
) -> None:
    method = RandomLabels(epochs=1, order=order, lr=1e-12)
    done = unlearn(method, batch_size=1000)
    forget, retain = small.partition.forget, small.partition.retain
    drawn, _ = relabelled(small, method)
    sets, batch = loaders(small, "labels", batch_size=1000), small.prepared.records.batch
    # Impostors of the ranking loss are the next samples: the order within the batch matters.
    order_of = {
        "passes": lambda: next(sets.retain.epoch(0)).row,
        "mixed": lambda: next(mixed(sets, retain, seed=5, epoch=0)).row[len(forget) :],
    }
    with torch.no_grad():
        ce = float(
            classification(memorised(batch(forget)), drawn.label[: len(forget)], task=GRADES)
        )
        held = batch(order_of[order]().numpy())
        base = float(base_loss(memorised(held), held, task=GRADES).total)
    whole = len(forget) + len(retain)
    share = (len(forget) / whole, len(retain) / whole) if order == "mixed" else (1, 1)
    assert done.trace.epochs == (
        {
            "forget": pytest.approx(share[0] * ce, rel=1e-4),
            "retain": pytest.approx(share[1] * base, rel=1e-4),
        },
    )


@pytest.mark.parametrize("order", ["mixed", "passes"])
def test_both_sets_are_read_once_an_epoch(
    small: Any, unlearn: Any, order: Literal["mixed", "passes"]
) -> None:
    trace = unlearn(RandomLabels(epochs=1, order=order)).trace
    assert trace.samples == {
        "forget": len(small.partition.forget),
        "retain": len(small.partition.retain),
    }


@pytest.mark.parametrize("order", ["mixed", "passes"])
def test_the_forgotten_are_taught_something_wrong(
    unlearn: Any,
    monkeypatch: pytest.MonkeyPatch,
    order: Literal["mixed", "passes"],
) -> None:
    """Without the retained, whose loss may pull the other way, and by a small step."""
    monkeypatch.setattr(random_labels, "training_loss", lambda *given: 0 * training_loss(*given))
    monkeypatch.setattr(
        random_labels,
        "base_loss",
        lambda *given, task: SimpleNamespace(total=0 * base_loss(*given, task=task).total),
    )
    method = RandomLabels(epochs=2, order=order, lr=1e-5, weight_decay=0.0)
    first, second = unlearn(method, batch_size=1000).trace.epochs
    assert 0 < second["forget"] < 0.999 * first["forget"]
    assert first["retain"] == second["retain"] == 0


def test_nominal_classes_have_no_neighbours(small: Any, unlearn: Any) -> None:
    with pytest.raises(MethodError, match="no neighbours"):
        unlearn(RandomLabels(labels="neighbour", epochs=1), task="classes")
    assert unlearn(RandomLabels(labels="neighbour", epochs=1)).trace.steps > 0


def test_fields_are_those_of_salun_but_for_the_share() -> None:
    ours, theirs = ({f.name for f in dataclasses.fields(one)} for one in (RandomLabels, SalUn))
    assert theirs - ours == {"share"}
    assert ours <= theirs
