"""Samples and outputs by modality: today's names are views, and what is not there is said."""

from __future__ import annotations

import pytest
import torch

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import MethodError
from forgetmi.core.inputs import Tokens
from forgetmi.unlearning.loop import concatenate


def batch(samples: int, length: int) -> Batch:
    """Films of two pixels, and reports of some tokens."""
    row = torch.arange(samples)
    tokens = torch.arange(samples * length).reshape(samples, length)
    image = row.float().reshape(samples, 1, 1, 1).expand(samples, 1, 1, 2)
    return Batch.image_text(image, tokens, torch.ones_like(tokens), row % 2, row, row)


def test_todays_names_are_views() -> None:
    one = batch(3, 4)
    text = one.inputs["text"]
    assert isinstance(text, Tokens)
    assert one.image is one.inputs["image"]
    assert one.tokens is text.ids
    assert one.mask is text.mask


def test_every_tensor_is_selected() -> None:
    one = batch(3, 4)
    there = torch.tensor([True, False, True])
    one = Batch(one.inputs, one.label, one.study, one.row, {"image": there})
    last = one.select(torch.tensor([2]))
    assert len(last) == 1
    assert last.tokens.tolist() == [[8, 9, 10, 11]]
    assert last.image.flatten().tolist() == [2.0, 2.0]
    assert (last.label.tolist(), last.row.tolist()) == ([0], [2])
    assert last.present["image"].tolist() == [True]


def test_batches_are_joined_modality_by_modality() -> None:
    short, long = batch(1, 2), batch(2, 3)
    absent = Batch(
        long.inputs, long.label, long.study, long.row, {"text": torch.tensor([False, True])}
    )
    both = concatenate(short, absent)
    assert both.tokens.tolist() == [[0, 1, 0], [0, 1, 2], [3, 4, 5]]
    assert both.mask.tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert both.image.shape == (3, 1, 1, 2)
    assert both.present["text"].tolist() == [True, False, True]
    assert "image" not in both.present


def test_an_input_that_is_not_there_is_said() -> None:
    row = torch.arange(2)
    films = Batch({"image": torch.zeros(2, 1, 1, 1)}, row, row, row)
    with pytest.raises(MethodError, match="no text"):
        _ = films.tokens
    assert films.with_inputs(image=torch.ones(2, 1, 1, 1)).image.sum() == 2


def test_outputs_by_name_come_back() -> None:
    logits, embedding = torch.zeros(2, 3), torch.ones(2, 5)
    out = Outputs.image_text(logits, logits + 1, joint_embedding=embedding)
    assert list(out.named()) == ["image_logits", "text_logits", "joint_embedding"]
    assert out.image_embedding is None
    doubled = out.each(lambda values: 2 * values)
    assert float(doubled.text_logits.sum()) == 12
    assert torch.equal(Outputs.from_named(out.named()).joint_embedding, embedding)  # type: ignore[arg-type]
    with pytest.raises(MethodError, match="no text head"):
        _ = Outputs({"image": logits}).text_logits
