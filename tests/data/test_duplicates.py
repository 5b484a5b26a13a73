"""Copies of forgotten images and reports."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.data.duplicates import find_duplicates
from forgetmi.data.image_copies import same_images
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.report_copies import SHINGLE, same_reports

UNIQUE = (
    "There is a seven millimetre nodule beside the left fourth rib which was not visible on the film of last "
    "spring although the patient stood more upright then and held her breath for longer than she could today"
)


@pytest.fixture(scope="module")
def films(_own_cache: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Partition]:
    cohort = SyntheticCohort(patients=40, seed=5).load()
    return cohort, partition(cohort, forget=15.0, seed=1)


def film(cohort: Cohort, row: int) -> Image.Image:
    path, _, number = str(cohort.image[row]).partition("#")
    return Image.fromarray(np.load(path, mmap_mode="r")[int(number)])


def with_copy(cohort: Cohort, row: int, image: Image.Image, folder: Path) -> Cohort:
    """The cohort with another image in a row."""
    image.save(folder / "copy.png")
    locators = cohort.image.copy()
    locators[row] = str(folder / "copy.png")
    return replace(cohort, image=locators)


def changed(
    image: Image.Image, *, size: float = 1.0, contrast: float = 1.0, quality: int = 0
) -> Image.Image:
    image = image.resize(
        (round(image.width * size), round(image.height * size)), Image.Resampling.BICUBIC
    )
    image = ImageEnhance.Contrast(image).enhance(contrast)
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer)
    return image


def test_a_clean_cohort_has_no_copies(films: tuple[Cohort, Partition], tmp_path: Path) -> None:
    found = find_duplicates(*films, cache=tmp_path)
    assert found.pairs == ()
    assert found.images == (len(films[1].forget), len(films[0]) - len(films[1].forget))


@pytest.mark.parametrize(
    "change",
    [
        {"quality": 70},
        {"size": 0.5},
        {"size": 2.0},
        {"contrast": 0.8},
        {"contrast": 1.2},
        {"size": 0.5, "contrast": 0.8, "quality": 70},
    ],
    ids=str,
)
@pytest.mark.parametrize("side", ["retain", "holdout"])
def test_a_changed_copy_is_found(
    films: tuple[Cohort, Partition],
    tmp_path: Path,
    change: dict[str, float],
    side: str,
) -> None:
    cohort, sets = films
    original, place = int(sets.forget[3]), int(sets.rows(side)[5])  # pyright: ignore[reportArgumentType]
    made = with_copy(cohort, place, changed(film(cohort, original), **change), tmp_path)
    found = find_duplicates(made, sets, cache=tmp_path / "cache")
    assert [
        (copy.kind, copy.item, copy.other_item, copy.other_patient, copy.other_set)
        for copy in found.pairs
    ] == [
        (
            "same image",
            cohort.image_id[original],
            cohort.image_id[place],
            cohort.patient[place],
            side,
        )
    ]
    assert found.pairs[0].stays_in_training == (side == "retain")


def test_an_equal_file_is_told_from_a_changed_one(
    films: tuple[Cohort, Partition], tmp_path: Path
) -> None:
    cohort, sets = films
    original, place = int(sets.forget[0]), int(sets.retain[0])
    locators = cohort.image.copy()
    locators[place] = locators[original]
    found = find_duplicates(replace(cohort, image=locators), sets, cache=tmp_path)
    assert [(copy.kind, copy.similarity, copy.other_item) for copy in found.pairs] == [
        ("same file", 1.0, cohort.image_id[place])
    ]


def test_blank_images_are_like_nothing_but_the_same_file(
    films: tuple[Cohort, Partition], tmp_path: Path
) -> None:
    cohort, sets = films
    locators = cohort.image.copy()
    for at, row in enumerate((sets.forget[0], sets.retain[0], sets.retain[1])):
        np.save(tmp_path / f"{at}.npy", np.full((40 + at, 40), 7, np.uint8))
        locators[row] = str(tmp_path / f"{at}.npy")
    locators[sets.forget[1]] = ""
    assert (
        find_duplicates(replace(cohort, image=locators), sets, cache=tmp_path / "cache").pairs == ()
    )


def test_the_search_agrees_with_comparing_every_pair(
    films: tuple[Cohort, Partition], tmp_path: Path
) -> None:
    """Against a slow oracle: correlation of every pair, without the hash."""
    cohort, sets = films
    locators = cohort.image.copy()
    for number, (original, place) in enumerate(zip(sets.forget[:6], sets.retain[:6], strict=True)):
        changed(film(cohort, int(original)), size=0.5 + number / 4).save(tmp_path / f"{number}.png")
        locators[place] = str(tmp_path / f"{number}.png")
    store = build_image_store(
        replace(cohort, image=locators),
        ImagePreprocessing(size=64, fit="stretch"),
        cache=tmp_path / "cache",
    )
    flat = store.images(np.arange(len(store))).reshape(len(store), -1)
    flat = flat - flat.mean(axis=0)
    flat = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True) / 64
    alike = flat[sets.forget] @ flat[sets.retain].T
    oracle = {
        (int(sets.forget[a]), int(sets.retain[b]))
        for a, b in zip(*np.nonzero(alike > 0.9), strict=True)
    }
    assert {(a, b) for a, b, _, _ in same_images(store, sets.forget, sets.retain)} == oracle
    assert len(oracle) == 6


def test_only_distinctive_reports_count() -> None:
    stock = "The heart is normal in size. The lungs are clear without effusion or pneumothorax. No acute disease."
    edited = UNIQUE.replace("left", "right")
    reports = [UNIQUE, stock, edited, stock, *[stock] * 20, "short"]
    patient = np.arange(len(reports))
    found = list(same_reports(reports, patient, np.array([0, 1]), np.arange(2, len(reports))))
    assert [(a, b) for a, b, _ in found] == [(0, 2)]
    words = len(UNIQUE.split())
    same, distinct = (
        words - SHINGLE + 1 - SHINGLE,
        words - SHINGLE + 1 + SHINGLE,
    )  # one word is in five shingles
    assert found[0][2] == pytest.approx(same / distinct)


def test_a_text_that_many_patients_have_is_stock() -> None:
    reports, few = [UNIQUE] * 12, [UNIQUE] * 3
    assert list(same_reports(reports, np.arange(12), np.array([0]), np.arange(1, 12))) == []
    assert len(list(same_reports(few, np.arange(3), np.array([0]), np.arange(1, 3)))) == 2


def test_reports_without_words_are_compared_with_nothing() -> None:
    assert list(same_reports(["", "one two"], np.arange(2), np.array([0]), np.array([1]))) == []


def test_a_copied_report_is_listed_by_study(
    films: tuple[Cohort, Partition], tmp_path: Path
) -> None:
    cohort, sets = films
    a, b = int(sets.forget[0]), int(sets.retain[0])
    reports = cohort.report.copy()
    for row in (a, b):
        reports[codes(cohort.study)[0] == codes(cohort.study)[0][row]] = UNIQUE
    found = find_duplicates(replace(cohort, report=reports), sets, cache=tmp_path)
    assert [(copy.kind, copy.item, copy.other_item) for copy in found.pairs] == [
        ("same report", cohort.study[a], cohort.study[b])
    ]
    assert UNIQUE not in str(found)


def test_films_are_compared_by_the_models_window(films, tmp_path, monkeypatch) -> None:
    """A window that no film can be shown through hinders the search no more than the models."""
    seen: list[str] = []

    def recorded(cohort, preprocessing, **options):
        seen.append(preprocessing.window)
        return build_image_store(cohort, preprocessing, **options)

    monkeypatch.setattr("forgetmi.data.duplicates.build_image_store", recorded)
    for images in (
        None,
        ImagePreprocessing(size=32, window="none"),
        ImagePreprocessing(invert=False),
    ):
        find_duplicates(*films, cache=tmp_path, images=images)
    assert seen == ["first", "none", "released"]
