"""Signals on disk, and rows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals


def signals() -> Signals:
    draw = np.random.default_rng(0)
    return Signals.image_text(
        model="m",
        cohort="c",
        row=np.array([5, 2, 9]),
        patient=np.array(["p", "q", "p"]),
        study=np.array(["a", "b", "c"]),
        label=np.array([0, 1, -1]),
        image_logits=draw.normal(size=(3, 2)),
        text_logits=draw.normal(size=(3, 2)),
        image_embedding=draw.normal(size=(3, 4)).astype(np.float32),
    )


def test_signals_survive_the_disk_and_select_rows(tmp_path: Path) -> None:
    signals().save(tmp_path / "s.npz")
    back = Signals.load(tmp_path / "s.npz")
    assert np.array_equal(back.image_logits, signals().image_logits)
    assert back.text_embedding is None
    assert back.select(np.array([9, 5])).label.tolist() == [-1, 0]
    with pytest.raises(KeyError):
        back.select(np.array([3]))
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.parametrize("number", [0xD800, 0x110000, 2**32 - 1])
@pytest.mark.parametrize("name", ["model", "patient"])
def test_characters_that_are_none_are_refused(tmp_path: Path, name: str, number: int) -> None:
    good = signals()
    names = ("cohort", "row", "study", "label", "image_logits", "text_logits", "model", "patient")
    values = {field: getattr(good, field) for field in names}
    values[name] = np.full((*np.shape(values[name]), 1), number, np.uint32).view("<U1")[..., 0]
    np.savez(tmp_path / "s.npz", **values)
    with pytest.raises(EvaluationError, match=f"{name} is no text"):
        Signals.load(tmp_path / "s.npz")


@pytest.mark.parametrize("name", ["row", "image_logits", "image_embedding"])
def test_one_flipped_bit_of_a_value_is_refused(tmp_path: Path, name: str) -> None:
    signals().save(tmp_path / "s.npz")
    content = bytearray((tmp_path / "s.npz").read_bytes())
    content[content.index(getattr(signals(), name).tobytes()) + 3] ^= 1
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Signals.load(tmp_path / "s.npz")


def one_head() -> Signals:
    """A model with a table and no joint embedding."""
    one = signals()
    return replace(
        one, logits={"table": one.image_logits}, embedding={"table": one.embedding["image"]}
    )


def test_other_heads_are_arrays_of_their_own(tmp_path: Path) -> None:
    one_head().save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        assert stored.files[-3:] == ["heads", "table_logits", "table_embedding"]

    back = Signals.load(tmp_path / "s.npz")
    assert list(back.logits) == list(back.embedding) == ["table"]
    assert np.array_equal(back.of_head("table"), one_head().of_head("table"))
    assert back.select(np.array([9])).of_head("table").shape == (1, 2)
    with pytest.raises(EvaluationError, match="no image head"):
        _ = back.image_logits


def test_files_of_an_image_and_a_text_head_hold_nothing_new(tmp_path: Path) -> None:
    signals().save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        assert stored.files == [
            *("model", "cohort", "row", "patient", "study", "label"),
            *("image_logits", "text_logits", "image_embedding"),
        ]


@pytest.mark.parametrize(
    ("heads", "why"),
    [
        (["table", "series"], "an array is missing"),
        (["image"], "an array is missing, or one is unknown"),
        (["table", "table"], "one twice"),
        (["../table"], "a name that is none"),
        ([], "an array is missing, or one is unknown"),
        ([[]], "another type or shape"),
        (None, "an array is missing"),
    ],
)
def test_a_head_that_is_lost_or_foreign_is_noticed(
    tmp_path: Path, heads: list[Any] | None, why: str
) -> None:
    one_head().save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as stored:
        values = dict(stored)
    del values["heads"]
    if heads is not None:
        values["heads"] = np.array(heads, dtype=str)
    np.savez(tmp_path / "s.npz", **values)
    with pytest.raises(EvaluationError, match=why):
        Signals.load(tmp_path / "s.npz")


def test_values_are_replaced_by_their_names_on_disk() -> None:
    zero = np.zeros((3, 2))
    changed = signals().replaced(cohort="d", text_logits=zero, image_embedding=None)
    assert changed.cohort == "d"
    assert np.array_equal(changed.text_logits, zero)
    assert np.array_equal(changed.image_logits, signals().image_logits)
    assert not changed.embedding
    with pytest.raises(KeyError):
        signals().replaced(text_logit=zero)
