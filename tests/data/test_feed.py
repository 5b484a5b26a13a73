"""What gets to an accelerator, and how: on one that is not there, and with the processor in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.errors import SpecError
from forgetmi.data import device_films
from forgetmi.data.device_films import Feeding
from forgetmi.data.feed import Feed
from forgetmi.data.loaders import Loader
from forgetmi.data.noise import Perturbation
from forgetmi.model.initialise import build
from forgetmi.run import workflow
from tests.fake_card import CARD, fake_card

CPU = torch.device("cpu")
PLAN = [np.array([5, 0, 3]), np.array([7, 5, 1]), np.array([2, 9])]


def room_for(films: int, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a device have free memory for so many films of 16 bits."""
    size = small.prepared.records.images.preprocessing.size
    free = int(films * 2 * size**2 / device_films.SHARE) + 1
    monkeypatch.setattr(device_films, "free_memory", lambda device: free)


def fed(small: Any, plan: Sequence[Ints], feeding: Feeding, *, epochs: int = 2) -> list[Batch]:
    """The batches of some epochs by way of a feed, on the processor."""
    feed = Feed(small.prepared.records, CPU, feeding)
    feed.expect(np.concatenate(plan))
    batches: list[Batch] = []
    for _ in range(epochs):
        batches.extend(feed.batches(plan, threads=2))
    return batches


@pytest.mark.parametrize("room", [0, 3, 100])
def test_films_are_the_same_to_the_bit_wherever_they_are_kept(
    small: Any, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    room_for(room, small, monkeypatch)
    batches = fed(small, PLAN, Feeding())
    for rows, batch in zip([*PLAN, *PLAN], batches, strict=True):
        plain = small.prepared.records.batch(rows)
        assert torch.equal(batch.image, plain.image)
        assert torch.equal(batch.row, plain.row)
        assert torch.equal(batch.label, plain.label)

        # Texts are longer by padding alone
        length = plain.tokens.shape[1]
        assert torch.equal(batch.tokens[:, :length], plain.tokens)
        assert not batch.mask[:, length:].any()
        assert batch.tokens.shape[1] % 32 == 0


def test_films_of_8_bits_lose_half_a_step_at_most(
    small: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room_for(100, small, monkeypatch)

    # Films of 8 bits lose nothing
    for rows, batch in zip(PLAN, fed(small, PLAN, Feeding(bits=8), epochs=1), strict=True):
        assert torch.equal(batch.image, small.prepared.records.batch(rows).image)

    # Others do, which is said once
    images = small.prepared.records.images
    draw = np.random.default_rng(0)
    finer = tuple(draw.integers(0, 2**16, one.shape, np.uint16) for one in images.shards)
    records = replace(small.prepared.records, images=replace(images, shards=finer))
    feed = Feed(records, CPU, Feeding(bits=8))
    with caplog.at_level("WARNING", logger="forgetmi"):
        batches = [*feed.batches(PLAN, threads=2), *feed.batches(PLAN, threads=2)]
    for rows, batch in zip([*PLAN, *PLAN], batches, strict=True):
        off = (batch.image - records.batch(rows).image).abs().max()
        assert 0 < off <= 0.5 / 255 + 1e-6
    assert sum("8 bits" in record.message for record in caplog.records) == 1


def test_a_film_crosses_once_as_it_is_stored(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    records = replace(small.prepared.records)
    room_for(100, small, monkeypatch)
    loader = Loader(records, np.arange(10), batch_size=4, seed=0, device=CARD)
    with fake_card() as card:
        for epoch in range(3):
            for batch in loader.epoch(epoch):
                assert batch.image.device.type == CARD
                assert batch.image.dtype == torch.float32
        noise = Perturbation(image_std=0.1, rotation=0.1)
        list(loader.batches(np.arange(4), perturbation=noise))
    films = card.films()
    assert {film.dtype for film in films} == {torch.uint16}
    assert sum(film.shape[0] for film in films) == 10
    assert all(crossing.non_blocking for crossing in card.crossings)
    assert card.waits == 0


def test_on_the_host_it_crosses_every_epoch(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(100, small, monkeypatch)
    records = replace(small.prepared.records, feeding=Feeding(store_on="host"))
    loader = Loader(records, np.arange(10), batch_size=4, seed=0, device=CARD)
    with fake_card() as card:
        for epoch in range(3):
            list(loader.epoch(epoch))
    assert sum(film.shape[0] for film in card.films()) == 30


def test_predictions_are_fed_alike_and_wait_once_in_many_batches(small: Any) -> None:
    model = build(small.prepared.spec, seed=0).to(CARD)
    with fake_card() as card:
        signals = workflow.predict(prepared=small.prepared, model=model, rows=np.arange(20))
    assert len(signals) == 20
    assert {film.dtype for film in card.films()} == {torch.uint16}

    # For the digest of the weights, and for the outputs
    assert card.waits <= 2


def test_the_first_that_are_expected_are_kept(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(3, small, monkeypatch)
    feed = Feed(small.prepared.records, CPU, Feeding())
    feed.expect(np.array([9, 7]))
    feed.expect(np.array([0, 1, 2, 7]))
    list(feed.batches([np.array([2, 1, 0]), np.array([7, 9])], threads=1))
    assert feed._films.loaded(np.arange(10)).nonzero()[0].tolist() == [0, 7, 9]


def test_a_gpu_without_a_number_is_the_present_one(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr("forgetmi.data.feed._copying_stream", lambda device: None)
    records = replace(small.prepared.records)
    assert records.feed("cuda") is records.feed(torch.device("cuda", 1))
    assert records.feed("cuda") is not records.feed("cuda:0")


def test_all_on_a_device_without_the_memory_is_refused(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(3, small, monkeypatch)
    feed = Feed(small.prepared.records, CPU, Feeding(store_on="device"))
    with pytest.raises(SpecError, match=r"films need .* GiB"):
        feed.expect(np.arange(10))


def test_noise_drawn_on_a_device_depends_on_the_row_alone() -> None:
    films = torch.full((2, 1, 40, 40), 0.5)
    noise = Perturbation(image_std=0.1, image_mean=0.05, seed=3)
    both = noise.films(films, np.array([4, 9]))
    assert torch.equal(both[1:], noise.films(films[:1], np.array([9])))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, replace(noise, draw=1).films(films, np.array([4, 9])))
    assert float(both.std()) == pytest.approx(0.1, rel=0.1)
    assert float(both.mean()) == pytest.approx(0.55, abs=0.02)

    # What is not drawn pixel by pixel is the processor's, to the bit
    moved = Perturbation(rotation=0.2, shift=0.1, seed=3)
    rows = np.array([4, 9])
    assert np.array_equal(moved.films(films, rows).numpy(), moved.images(films.numpy(), rows))
