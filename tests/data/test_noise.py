"""Noise: the right amounts, the right kinds, and the same for a sample in whatever batch it comes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from forgetmi.core.errors import SpecError
from forgetmi.data.noise import Perturbation, augmentation

ROWS = np.arange(400)
DIGITS = " ".join(
    f"{number:04d}" for number in range(1000, 1050)
)  # 50 words without letters: any change shows
REPORT = "70 year old man. The lungs are clear. No effusion. Heart size is normal. Mild edema."


def within(count: int, n: int, share: float) -> bool:
    """Whether a binomial count is plausible (two-sided, 1 in 10,000)."""
    return bool(stats.binomtest(count, n, share).pvalue > 1e-4)


def chi_square(counts: Counter, kinds: int) -> float:
    assert len(counts) == kinds
    return float(stats.chisquare(list(counts.values())).pvalue)


def random_images(n: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(3).random((n, 1, size, size), np.float32)


def test_nothing_asked_changes_nothing() -> None:
    images, texts = random_images(5), ["a  b\n c.", "", REPORT, "x", "y"]
    assert Perturbation(seed=1, draw=2).images(images, ROWS[:5]) is images
    assert Perturbation(seed=1, draw=2).texts(texts, ROWS[:5]) == texts


def test_one_modality_alone() -> None:
    images, texts = random_images(4), [REPORT] * 4
    image_only, text_only = Perturbation(image_std=0.2), Perturbation(text_level=0.9)
    assert image_only.texts(texts, ROWS[:4]) == texts
    assert not np.array_equal(image_only.images(images, ROWS[:4]), images)
    assert text_only.images(images, ROWS[:4]) is images
    assert text_only.texts(texts, ROWS[:4]) != texts


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.05), (0.1, 0.02), (-0.2, 0.01), (0.1, 0.0)])
def test_pixel_noise_has_the_mean_and_deviation_asked_for(mean: float, std: float) -> None:
    images = np.full(
        (40, 1, 32, 32), 0.5, np.float32
    )  # far enough from 0 and 1 that nothing is clipped
    noise = Perturbation(image_mean=mean, image_std=std, seed=5).images(images, ROWS[:40]) - 0.5
    n = noise.size
    assert abs(noise.mean() - mean) < 4 * std / np.sqrt(n) + 1e-6
    assert abs(noise.std() - std) < 4 * std / np.sqrt(2 * n) + 1e-6
    if std:
        assert stats.kstest((noise.ravel() - mean) / std, "norm").pvalue > 1e-4


def test_pixel_noise_is_clipped_and_the_input_is_kept() -> None:
    images = random_images(6)
    kept = images.copy()
    out = Perturbation(image_std=1.0).images(images, ROWS[:6])
    assert out.min() == 0.0
    assert out.max() == 1.0
    assert out.dtype == np.float32
    np.testing.assert_array_equal(images, kept)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_a_sample_is_the_same_in_every_batch(order: list[int], cut: int) -> None:
    images, texts, noise = (
        random_images(12, 20),
        [REPORT] * 12,
        Perturbation(
            image_std=0.1,
            text_level=0.5,
            rotation=0.1,
            scale=0.1,
            shift=0.1,
            shuffle=True,
            drop=0.5,
            seed=9,
            draw=1,
        ),
    )
    rows = np.arange(100, 112)
    whole, whole_texts = noise.images(images, rows), noise.texts(texts, rows)
    for chosen in (order[:cut], order[cut:]):
        np.testing.assert_array_equal(noise.images(images[chosen], rows[chosen]), whole[chosen])
        assert noise.texts([texts[at] for at in chosen], rows[chosen]) == [
            whole_texts[at] for at in chosen
        ]


def test_seed_draw_and_row_all_count() -> None:
    images, rows = np.full((2, 1, 16, 16), 0.5, np.float32), np.array([0, 1])
    seen = [
        Perturbation(image_std=0.1, text_level=0.5, seed=seed, draw=draw)
        for seed in (0, 1)
        for draw in (0, 1)
    ]
    pictures = [image.tobytes() for noise in seen for image in noise.images(images, rows)]
    assert len(set(pictures)) == 8
    texts = [text for noise in seen for text in noise.texts([DIGITS] * 2, rows)]
    assert len(set(texts)) == 8


def test_another_process_makes_the_same_noise() -> None:
    code = (
        "import numpy as np; from forgetmi.data.noise import augmentation; "
        "x = np.random.default_rng(3).random((3, 1, 16, 16), np.float32); r = np.arange(3); "
        "noise = augmentation(seed=3); "
        "print(noise.images(x, r).tobytes().hex(), *noise.texts(['A b. C d. E f.'] * 3, r), sep='|')"
    )
    other = (
        subprocess.run(
            [sys.executable, "-c", code],
            text=True,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        .stdout.strip()
        .split("|")
    )
    images, texts = random_images(3, 16), ["A b. C d. E f."] * 3
    assert other == [
        augmentation(seed=3).images(images, ROWS[:3]).tobytes().hex(),
        *augmentation(seed=3).texts(texts, ROWS[:3]),
    ]


def noisy_words(level: float) -> tuple[list[list[str]], list[list[str]]]:
    """Reports of 50 digit words under noise, split by the kind of noise (only character noise touches spelling)."""
    known = set(DIGITS.split())
    texts = [
        text.split()
        for text in Perturbation(text_level=level, seed=2).texts([DIGITS] * len(ROWS), ROWS)
    ]
    spelled = [known.issuperset(words) for words in texts]
    return (
        [words for words, same in zip(texts, spelled, strict=True) if not same],
        [words for words, same in zip(texts, spelled, strict=True) if same],
    )


def test_character_and_word_noise_are_equally_likely() -> None:
    characters, _ = noisy_words(0.5)
    assert within(len(characters), len(ROWS), 0.5)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8])
def test_character_noise_changes_the_share_of_words_asked_for(level: float) -> None:
    characters, _ = noisy_words(level)
    original = DIGITS.split()
    assert all(len(words) == 50 for words in characters)
    changed = sum(
        new != old for words in characters for new, old in zip(words, original, strict=True)
    )
    # A swap of two equal neighbouring digits does not show; count it out.
    equal = np.mean([word[at] == word[at + 1] for word in original for at in range(3)])
    assert within(changed, 50 * len(characters), level * (1 - equal / 4))


def test_the_four_character_changes_are_equally_likely() -> None:
    kinds: Counter[str] = Counter()
    texts = Perturbation(text_level=1.0, seed=4).texts([" ".join(["0123"] * 50)] * 200, ROWS[:200])
    for word in (
        word
        for text in texts
        for word in text.split()
        if word != "0123" or len(set(text.split())) > 1
    ):
        letters = sum(letter.isalpha() for letter in word)
        kinds[
            {(5, 1): "insert", (3, 0): "delete", (4, 1): "substitute", (4, 0): "swap"}[
                len(word), letters
            ]
        ] += 1
    assert chi_square(kinds, 4) > 1e-4


def test_places_and_letters_are_uniform() -> None:
    places: Counter[int] = Counter()
    letters: Counter[str] = Counter()
    texts = Perturbation(text_level=1.0, seed=6).texts([" ".join(["0123"] * 50)] * 400, ROWS)
    for word in (word for text in texts for word in text.split() if len(word) == 5):
        at = next(at for at, letter in enumerate(word) if letter.isalpha())
        places[at] += 1
        letters[word[at]] += 1
    assert chi_square(places, 5) > 1e-4
    assert chi_square(letters, 26) > 1e-4


def test_one_letter_words_survive_character_noise() -> None:
    texts = Perturbation(text_level=1.0, seed=7).texts([" ".join("7" * 30)] * 200, ROWS[:200])
    kept = changed = 0
    for words in (text.split() for text in texts):
        if any(word != "7" for word in words):
            assert len(words) == 30
            kept += sum(word == "7" for word in words)
            changed += sum(word != "7" for word in words)
            assert all(len(word) == 2 or word == "7" or word.isalpha() for word in words)
    assert within(
        kept, kept + changed, 0.5
    )  # delete and swap spare them, insert and substitute do not


def test_word_noise_deletes_repeats_and_swaps_with_the_level_asked_for() -> None:
    level = 0.3
    _, word_noise = noisy_words(level)
    n = 50 * len(word_noise)
    times = [Counter(words) for words in word_noise]
    deleted = sum(50 - len(count) for count in times)
    repeated = sum(value == 2 for count in times for value in count.values())
    assert max(value for count in times for value in count.values()) == 2
    assert within(deleted, n, level / 3)
    assert within(repeated, n, level / 3)


def test_word_swaps_happen_with_the_level_asked_for() -> None:
    # Of two words, each is swapped with the other with probability level / 3: the order changes if exactly one is.
    texts = Perturbation(text_level=0.6, seed=8).texts(["11 22"] * 6000, np.arange(6000))
    words = [text.split() for text in texts if set(text.split()) == {"11", "22"}]
    single = [pair for pair in words if len(pair) == 2]
    assert set(map(tuple, single)) == {("11", "22"), ("22", "11")}
    swapped = sum(pair == ["22", "11"] for pair in single)
    character_unchanged = 3000 * (1 - 0.6 * 3 / 4) ** 2  # a swap within "11" does not show
    p, q = 0.2, 0.4  # swapped, untouched
    expected = 3000 * 2 * p * q
    assert abs(swapped - expected) < 4 * np.sqrt(expected)
    assert abs(len(single) - (character_unchanged + 3000 * (p + q) ** 2)) < 5 * np.sqrt(len(single))


def test_level_one_changes_every_word_but_not_more() -> None:
    assert Perturbation(text_level=1.0).texts(["", "   "], ROWS[:2]) == ["", ""]
    lengths = {
        len(text.split()) for text in Perturbation(text_level=1.0).texts(["word"] * 100, ROWS[:100])
    }
    assert lengths == {0, 1, 2}


def test_sentences_are_shuffled_around_the_header() -> None:
    sentences = [
        "70 year old man.",
        "The lungs are clear.",
        "No effusion.",
        "Heart size is normal.",
        "Mild edema.",
    ]
    texts = Perturbation(shuffle=True, seed=1).texts([REPORT] * 3000, np.arange(3000))
    orders: Counter[tuple[int, ...]] = Counter()
    first = 0
    for text in texts:
        order = tuple(sorted(range(5), key=lambda at, text=text: text.index(sentences[at])))
        assert len(text) == len(REPORT)
        assert 0 in (order[0], order[-1])
        first += order[0] == 0
        orders[order] += 1
    assert within(first, 3000, 0.5)
    assert chi_square(orders, 48) > 1e-4  # 4! orders of the others, the header on either side


@pytest.mark.parametrize(
    ("text", "left"), [("A b. C d. E f.", "A b. C d."), ("A b. C d.", "A b. C d.")]
)
def test_only_one_of_more_than_two_sentences_is_dropped(text: str, left: str) -> None:
    assert set(Perturbation(drop=1.0).texts([text] * 20, ROWS[:20])) == {left}
    dropped = sum(out != text for out in Perturbation(drop=0.3).texts([text] * 400, ROWS))
    assert within(dropped, 400, 0.3) if text != left else dropped == 0


def test_a_decimal_point_does_not_end_a_sentence() -> None:
    assert Perturbation(drop=1.0).texts(["A 1.5 cm nodule. Clear."], ROWS[:1]) == [
        "A 1.5 cm nodule. Clear."
    ]


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_the_affine_change_is_that_of_scipy(shape: tuple[int, int]) -> None:
    images = ndimage.gaussian_filter(
        np.random.default_rng(0).random((6, 1, *shape)), (0, 0, 2, 2)
    ).astype(np.float32)
    noise = Perturbation(rotation=0.3, scale=0.2, shift=0.1, seed=3)
    out = noise.images(images, ROWS[:6])
    centre = (np.array(shape) - 1) / 2
    for row in range(6):
        cos, sin, across, down = noise._placement(row)
        matrix = np.array([[cos, -sin], [sin, cos]])
        shift = np.array([down * shape[0], across * shape[1]]) / 2
        expected = ndimage.affine_transform(
            images[row, 0].astype(float),
            matrix,
            centre - matrix @ (centre + shift),
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(out[row, 0], expected, atol=2e-5)


def test_placement_has_the_spread_asked_for() -> None:
    noise = Perturbation(rotation=0.08, scale=0.06, shift=3 / 64, seed=2)
    cos, sin, across, down = np.array([noise._placement(row) for row in range(4000)]).T
    size = 1 / np.hypot(cos, sin)
    assert stats.kstest(np.arctan2(sin, cos) / 0.08, "norm").pvalue > 1e-4
    assert stats.kstest((size - 1) / 0.06, "norm").pvalue > 1e-4
    for shift in (across, down):
        assert stats.kstest(shift * 32, stats.uniform(-3, 6).cdf).pvalue > 1e-4  # pixels of 64


def test_border_values_go_on_outside() -> None:
    images = np.full((4, 1, 16, 16), 0.3, np.float32)
    np.testing.assert_allclose(augmentation(seed=1).images(images, ROWS[:4]), 0.3, atol=1e-6)


def test_the_augmentation_is_what_it_says() -> None:
    assert augmentation(seed=4, draw=2) == Perturbation(
        rotation=0.08, scale=0.06, shift=3 / 64, text_level=0.1, seed=4, draw=2
    )
    assert augmentation(text_level=0.2, sentences=True) == Perturbation(
        rotation=0.08, scale=0.06, shift=3 / 64, shuffle=True, drop=0.3, text_level=0.2
    )


def test_impossible_levels_are_all_reported() -> None:
    with pytest.raises(SpecError) as caught:
        Perturbation(
            image_mean=float("nan"),
            image_std=-1,
            text_level=1.5,
            rotation=-1,
            scale=float("inf"),
            shift=2,
            drop=-0.1,
        )
    assert len(caught.value.faults) == 7
