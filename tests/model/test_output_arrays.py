"""Outputs are put into their places batch by batch, in memory or in a file."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from forgetmi.core.signals import Signals
from forgetmi.model import output_arrays
from forgetmi.model.output_arrays import OutputArrays


@pytest.mark.parametrize("most_in_memory", [0, 10**6])
def test_samples_of_all_batches_stand_in_their_places(
    most_in_memory, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(output_arrays, "_MOST_IN_MEMORY", most_in_memory)
    draw = np.random.default_rng(0)
    n = 50
    logits, embedding = draw.random((n, 3)), draw.random((n, 5), np.float32)
    order = draw.permutation(n)
    collected = OutputArrays(order)
    for rows in np.array_split(order, 7):
        collected.add({"image_logits": logits[rows], "image_embedding": embedding[rows]})
    arrays = collected.arrays()
    np.testing.assert_array_equal(arrays["image_logits"], logits)
    np.testing.assert_array_equal(arrays["image_embedding"], embedding)
    assert isinstance(arrays["image_logits"], np.memmap) == (most_in_memory == 0)

    # Signals take them as they are, without a copy, and write the same file
    names = np.full(n, "a", dtype=object)
    signals = Signals(
        "0",
        "0",
        np.arange(n),
        names,
        names,
        np.zeros(n, np.int64),
        {"image": arrays["image_logits"]},
    )
    assert np.shares_memory(signals.logits["image"], arrays["image_logits"])
    signals.save(tmp_path / "signals.npz")
    np.testing.assert_array_equal(Signals.load(tmp_path / "signals.npz").logits["image"], logits)


def test_what_is_missing_is_noticed() -> None:
    collected = OutputArrays(np.arange(4))
    collected.add({"image_logits": np.zeros((3, 2))})
    with pytest.raises(AssertionError):
        collected.arrays()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves nothing")
def test_a_disk_without_room_is_an_error_before_anything_is_computed(monkeypatch) -> None:
    """A mapped file that the disk has no room for would end the process at a write."""
    asked = []

    def full(handle: int, start: int, size: int) -> None:
        asked.append((start, size))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_arrays, "_MOST_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        OutputArrays(np.arange(8)).add({"image_logits": np.zeros((2, 3))})
    assert asked == [(0, 8 * 3 * 8)]
