"""Records and loaders: right samples, padding, and orders that depend on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import CohortError, SpecError
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import Loader, SampleStore, prefetch_workers_for
from forgetmi.data.noise import Perturbation
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL

VOCABULARY = (
    *SPECIAL,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
)
REPORTS = ["a b c", "d", "e f", "a b c", "", "g h i j k l m n", "x y", "d"]


@pytest.fixture
def records(make_cohort, pictures, tmp_path) -> SampleStore:
    cohort = make_cohort(pictures, REPORTS, studies=["s", "t", "u", "s", "v", "w", "x", "t"])
    images = build_image_store(cohort, ImagePreprocessing(size=16), cache=tmp_path / "cache")
    return SampleStore.of(cohort, images, Tokenizer(VOCABULARY))


@pytest.fixture
def loader(records: SampleStore) -> Loader:
    return Loader(records, np.array([1, 3, 5, 7, 0]), batch_size=2, seed=4)


def equal(one, two) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(two, name))
        for name in ("image", "tokens", "mask", "label", "study", "row")
    )


def test_a_batch_holds_its_rows_in_order(records: SampleStore) -> None:
    batch = records.batch(np.array([3, 1, 0]))
    assert batch.row.tolist() == [3, 1, 0]
    assert batch.label.tolist() == [0, 1, 0]
    assert batch.study[0] == batch.study[2] != batch.study[1]
    assert batch.tokens.tolist() == [[2, 5, 6, 7, 3], [2, 8, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert batch.mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0], [1] * 5]
    np.testing.assert_array_equal(batch.image.numpy(), records.images.images(np.array([3, 1, 0])))
    assert (
        batch.image.dtype,
        batch.tokens.dtype,
        batch.mask.dtype,
        batch.label.dtype,
        batch.study.dtype,
    ) == (torch.float32, *[torch.int64] * 4)


def test_padding_goes_to_the_longest_text_of_the_batch(records: SampleStore) -> None:
    assert records.batch(np.array([1, 4])).tokens.shape == (2, 3)
    assert records.batch(np.array([1, 5])).tokens.shape == (2, 10)


def test_padding_uses_the_vocabularys_own_id(make_cohort, tmp_path) -> None:
    cohort = make_cohort(["", ""], ["a", "a a"])
    images = build_image_store(cohort, ImagePreprocessing(size=16), cache=tmp_path / "cache")
    batch = SampleStore.of(cohort, images, Tokenizer(("a", *SPECIAL))).batch(np.array([0, 1]))
    assert batch.tokens.tolist() == [[3, 0, 4, 1], [3, 0, 0, 4]]


def test_an_empty_batch(records: SampleStore) -> None:
    assert len(records.batch(np.empty(0, np.int64))) == 0


def test_without_a_level_a_perturbation_changes_no_bit(records: SampleStore) -> None:
    rows = np.arange(8)
    assert equal(records.batch(rows, perturbation=Perturbation(seed=3)), records.batch(rows))


def test_perturbed_reports_are_tokenized_anew(records: SampleStore) -> None:
    rows, noise = np.arange(8), Perturbation(text_level=0.7, image_std=0.1, seed=1)
    batch = records.batch(rows, perturbation=noise)
    for at, text in enumerate(noise.texts(REPORTS, rows)):
        assert (
            batch.tokens[at][batch.mask[at] == 1].tolist()
            == records.tokenizer.encode([text])[0].tolist()
        )
    np.testing.assert_array_equal(
        batch.image.numpy(), noise.images(records.images.images(rows), rows)
    )
    assert not equal(batch, records.batch(rows))


@given(st.permutations(range(8)), st.integers(0, 8))
def test_a_samples_noise_does_not_depend_on_the_batch(order: list[int], cut: int) -> None:
    records, noise = (
        _plain_records(),
        Perturbation(text_level=0.5, image_std=0.3, shift=0.1, seed=1, draw=2),
    )
    whole = records.batch(np.arange(8), perturbation=noise)
    for rows in (order[:cut], order[cut:]):
        part = records.batch(np.array(rows, np.int64), perturbation=noise)
        assert torch.equal(part.image, whole.image[rows])
        for at, row in enumerate(rows):
            assert (
                part.tokens[at][part.mask[at] == 1].tolist()
                == whole.tokens[row][whole.mask[row] == 1].tolist()
            )


def _plain_records() -> SampleStore:
    from forgetmi.data.image_store import ImageStore
    from forgetmi.data.token_store import TokenStore

    pixels = np.random.default_rng(0).integers(0, 65536, (8, 12, 12), np.uint16)
    images = ImageStore(
        ImagePreprocessing(size=12),
        (pixels,),
        np.zeros(8, np.int64),
        np.arange(8),
        {},
        "0",
        np.zeros((8, 32), np.uint8),
        np.arange(8),
    )
    reports, tokenizer = np.array(REPORTS, object), Tokenizer(VOCABULARY)
    return SampleStore(
        images, TokenStore.build(reports, tokenizer), tokenizer, reports, np.arange(8), np.arange(8)
    )


def test_images_of_another_cohort_are_refused(records: SampleStore, make_cohort) -> None:
    with pytest.raises(CohortError, match="not of the same cohort"):
        SampleStore.of(make_cohort([""] * 3), records.images, records.tokenizer)


def test_no_report_is_shown(records: SampleStore, loader: Loader) -> None:
    assert "g h i" not in repr(records) + repr(loader)


@given(st.integers(0, 40), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 5))
def test_an_epoch_holds_every_row_once(
    n: int, size: int, shuffle: bool, avoid: bool, epoch: int
) -> None:
    loader = Loader(
        _plain_records(),
        np.arange(n) * 3,
        batch_size=size,
        seed=1,
        shuffle=shuffle,
        avoid_single=avoid,
    )
    plan = loader.plan(epoch)
    rows = np.concatenate([np.empty(0, np.int64), *plan])
    assert sorted(rows.tolist()) == (np.arange(n) * 3).tolist()
    assert len(plan) == len(loader)
    lengths = [len(batch) for batch in plan]
    assert all(length == size for length in lengths[:-1])
    if avoid and n > 1 and size > 1:
        assert 1 not in lengths
        assert max(lengths) <= size + 1
    else:
        assert max(lengths, default=0) <= max(size, 2 if avoid else 1)
    if not shuffle:
        assert rows.tolist() == (np.arange(n) * 3).tolist()


def test_the_order_is_a_function_of_seed_and_epoch(records: SampleStore) -> None:
    rows = np.arange(8)
    one, two = (Loader(records, rows, batch_size=3, seed=7) for _ in range(2))
    late = [batch.tolist() for batch in one.plan(5)]
    for epoch in range(5):
        list(two.epoch(epoch))
    assert [batch.row.tolist() for batch in two.epoch(5)] == late
    orders = {
        tuple(np.concatenate(loader.plan(epoch)))
        for loader in (one, Loader(records, rows, batch_size=3, seed=8))
        for epoch in range(3)
    }
    assert len(orders) == 6


def test_epochs_can_be_perturbed(loader: Loader) -> None:
    noise = Perturbation(image_std=0.1, seed=2)
    for rows, batch in zip(loader.plan(1), loader.epoch(1, perturbation=noise), strict=True):
        assert equal(batch, loader.records.batch(rows, perturbation=noise))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_windows_cover_every_row_before_one_comes_again(n: int, count: int, seed: int) -> None:
    loader = Loader(_plain_records(), np.arange(100, 100 + n), batch_size=4, seed=seed)
    stream = np.concatenate([loader.window(epoch, count) for epoch in range(-(-3 * n // count))])
    for start in range(0, 3 * n, n):
        assert sorted(stream[start : start + n].tolist()) == list(range(100, 100 + n))
    assert (
        loader.window(1, count).tolist() == stream[count : 2 * count].tolist()
        or len(stream) < 2 * count
    )


def test_a_window_is_shuffled(records: SampleStore) -> None:
    rows = np.arange(200)
    assert Loader(records, rows, batch_size=4, seed=0).window(0, 200).tolist() != rows.tolist()
    assert (
        Loader(records, rows, batch_size=4, seed=0).window(0, 9).tolist()
        != Loader(records, rows, batch_size=4, seed=1).window(0, 9).tolist()
    )


@given(st.integers(1, 30), st.integers(0, 60), st.integers(0, 5))
def test_random_rows_are_drawn_afresh_without_repeats(n: int, count: int, epoch: int) -> None:
    loader = Loader(_plain_records(), np.arange(n), batch_size=4, seed=3)
    rows = loader.random(epoch, count)
    assert len(rows) == count
    times = np.bincount(rows, minlength=n)
    assert times.max(initial=0) - times.min(initial=count) <= 1
    assert loader.random(epoch, count).tolist() == rows.tolist()


def test_random_rows_are_uniform_over_epochs(records: SampleStore) -> None:
    loader = Loader(records, np.arange(8), batch_size=4, seed=3)
    times = np.bincount(
        np.concatenate([loader.random(epoch, 2) for epoch in range(2000)]), minlength=8
    )
    assert abs(times - 500).max() < 5 * np.sqrt(500 * 0.75)


def test_no_rows_give_no_batches(records: SampleStore) -> None:
    loader = Loader(records, np.empty(0, np.int64), batch_size=2, seed=0, avoid_single=True)
    assert (len(loader), list(loader.epoch(0)), loader.window(3, 0).tolist()) == (0, [], [])


def test_batches_follow_the_rows_given(loader: Loader) -> None:
    batches = list(loader.batches(np.array([6, 2, 4]), perturbation=Perturbation(text_level=0.5)))
    assert [batch.row.tolist() for batch in batches] == [[6, 2], [4]]


def test_the_rows_cannot_be_changed(loader: Loader) -> None:
    with pytest.raises(ValueError, match="read-only"):
        loader.rows[0] = 3


def test_a_batch_size_of_zero_is_refused(records: SampleStore) -> None:
    with pytest.raises(SpecError):
        Loader(records, np.arange(3), batch_size=0, seed=0)


def test_noise_can_be_shared_over_processes(loader: Loader) -> None:
    noise = Perturbation(image_std=0.2, text_level=0.5, seed=1)
    for rows in loader.plan(0):
        whole = loader.records.batch(rows, perturbation=noise)
        shares = [
            loader.records.batch(share, perturbation=noise) for share in np.array_split(rows, 2)
        ]
        assert torch.equal(torch.cat([share.image for share in shares]), whole.image)
        assert torch.cat([share.row for share in shares]).tolist() == whole.row.tolist()


def test_batches_read_ahead_are_the_same_in_the_same_order(records: SampleStore) -> None:
    noisy = Perturbation(image_std=0.1, text_level=0.5, seed=2)
    plain, ahead = (
        Loader(records, np.arange(8), batch_size=3, seed=4, prefetch_workers=prefetch_workers)
        for prefetch_workers in (0, 3)
    )
    for one, other in zip(
        plain.epoch(1, perturbation=noisy), ahead.epoch(1, perturbation=noisy), strict=True
    ):
        assert torch.equal(one.row, other.row)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.tokens, other.tokens)
    assert [len(batch) for batch in ahead.batches(np.arange(8))] == [3, 3, 2]
    first = next(ahead.epoch(0))  # the rest is never asked for
    assert torch.equal(first.row, next(plain.epoch(0)).row)


def test_only_an_accelerator_is_read_ahead_for() -> None:
    assert prefetch_workers_for("cpu") == prefetch_workers_for(torch.device("cpu")) == 0
    assert prefetch_workers_for(torch.device("cuda", 1)) >= 1
