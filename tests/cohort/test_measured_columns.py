"""Columns beside film and report are read as numbers or codes; what a row lacks is refused, or said."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cohort.row_order import rows_digest
from forgetmi.cohort.table import TableCohort
from forgetmi.commands.cohort.wording import describe
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import SampleStore
from forgetmi.data.noise import Perturbation
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL

HEADER = [
    "patient_id",
    "study_id",
    "image_id",
    "image",
    "report",
    "label",
    "age",
    "lactate",
    "ward",
]
ROWS = [
    ["p1", "s1", "i1", "1.png", "a clear lung", "0", "61", "1.5", "north"],
    ["p2", "s2", "i2", "1.png", "a b", "1", "47.0", "", "south"],
    ["p3", "s3", "i3", "", "b", "1", "nan", "3", "north"],
    ["p4", "s4", "i4", "1.png", "", "0", "30", "2", ""],
    ["p5", "s5", "i5", "1.png", "c", "0", "", "", ""],
]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = (*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS))
MEASURED = {"numeric": ("age", "lactate"), "categorical": ("ward",)}


def load(folder: Path, rows: list[list[str]] = ROWS, **options: object) -> Cohort:
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(folder / "1.png")
    (folder / "key").write_bytes(b"0123456789abcdef")
    with (folder / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return replace(TableCohort(folder / "cohort.csv", key_file=folder / "key"), **options).load()


def faults(folder: Path, rows: list[list[str]] = ROWS, **options: object) -> list[str]:
    with pytest.raises(CohortError) as caught:
        load(folder, rows, **options)
    return [str(fault) for fault in caught.value.faults]


def store(cohort: Cohort, folder: Path) -> SampleStore:
    images = build_image_store(cohort, ImagePreprocessing(size=8), cache=folder / "cache")
    return SampleStore.of(cohort, images, Tokenizer(TOKENS))


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return load(tmp_path, missing="allow", **MEASURED)


def test_numbers_and_codes_and_what_is_there(cohort: Cohort) -> None:
    nan = np.nan
    values = [[61, 1.5, 0], [47, nan, 1], [nan, 3, 0], [30, 2, nan], [nan, nan, nan]]
    np.testing.assert_array_equal(cohort.table, np.array(values, np.float32))
    assert cohort.table_columns == ("age", "lactate", "ward")
    assert (cohort.categorical, cohort.modalities) == (("ward",), ("image", "text", "table"))
    there = {name: rows.tolist() for name, rows in cohort.present.items()}
    assert there == {
        "image": [True, True, False, True, True],
        "text": [True, True, True, False, True],
        "table": [True, True, True, True, False],
    }


def test_a_check_names_columns_and_counts_but_no_category(cohort: Cohort) -> None:
    said = describe(cohort)
    assert "age (a number, missing in 2 rows), lactate (a number, missing in 2 rows)" in said
    assert "ward (2 categories, missing in 2 rows)" in said
    for what in ("film", "report", "measured value"):
        assert f"1 rows have no {what}" in said
    assert "north" not in said


def test_missing_is_refused_unless_allowed(tmp_path: Path) -> None:
    said = faults(tmp_path, **MEASURED)
    assert ["the image is blank" in one for one in said].count(True) == 1
    assert ["the report is empty" in one for one in said].count(True) == 1
    assert ["no measured column has a value" in one for one in said].count(True) == 1
    assert all("--cohort.missing allow" in one for one in said)


def test_a_row_that_has_nothing_is_refused_all_the_same(tmp_path: Path) -> None:
    rows = [*ROWS, ["p6", "s6", "i6", "", "", "0", "", "", ""]]
    assert "neither a film nor a report" in "".join(
        faults(tmp_path, rows, missing="allow", **MEASURED)
    )


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"numeric": ("age", "age")}, "is named twice"),
        ({"numeric": ("age",), "categorical": ("age",)}, "is named twice"),
        ({"numeric": ("label",)}, "it is what the model predicts"),
        ({"categorical": ("patient_id",)}, "it is the column of the patient"),
        ({"numeric": ("weight",)}, "column 'weight' is missing"),
        ({"numeric": ("ward",)}, "the value is not a number"),
    ],
)
def test_columns_that_cannot_be_read(tmp_path: Path, options: dict, what: str) -> None:
    said = "".join(faults(tmp_path, ROWS[:2], **options))
    assert what in said
    assert "north" not in said


def test_a_column_without_any_value(tmp_path: Path) -> None:
    rows = [[*row[:6], "", *row[7:]] for row in ROWS[:2]]
    assert "the column has no value" in "".join(faults(tmp_path, rows, numeric=("age", "lactate")))


def test_digests_follow_the_values(tmp_path: Path) -> None:
    plain, one = load(tmp_path, ROWS[:2]), load(tmp_path, ROWS[:2], **MEASURED)
    other = load(tmp_path, [[*ROWS[0][:6], "62", *ROWS[0][7:]], ROWS[1]], **MEASURED)
    assert len({plain.digest, one.digest, other.digest}) == 3
    assert len({rows_digest(plain), rows_digest(one), rows_digest(other)}) == 3


def test_a_batch_carries_values_and_who_lacks_what(cohort: Cohort, tmp_path: Path) -> None:
    batch = store(cohort, tmp_path).batch(np.array([4, 2, 3]))
    np.testing.assert_array_equal(batch.inputs["table"].numpy(), cohort.table[[4, 2, 3]])
    assert batch.there("image").tolist() == [True, False, True]
    assert batch.there("image", "text", "table").tolist() == [False, False, False]
    assert batch.image[1].eq(0).all()
    assert int(batch.mask[2].sum()) == 2


def test_a_cohort_that_lacks_nothing_has_todays_batches(tmp_path: Path) -> None:
    batch = store(load(tmp_path, ROWS[:2]), tmp_path).batch(np.arange(2))
    assert (list(batch.inputs), dict(batch.present)) == (["image", "text"], {})
    assert batch.there("image").all()


def test_noise_of_a_table_is_of_numbers_alone_and_a_row_at_a_time(
    cohort: Cohort, tmp_path: Path
) -> None:
    samples, noise = store(cohort, tmp_path), Perturbation(image_std=0.5, seed=2)
    plain = cohort.table
    noisy = samples.batch(np.arange(5), perturbation=noise).inputs["table"].numpy()
    np.testing.assert_array_equal(np.isnan(noisy), np.isnan(plain))
    np.testing.assert_array_equal(noisy[:, 2], plain[:, 2])
    moved = np.abs(noisy - plain)[:, :2]
    assert (moved[~np.isnan(moved)] > 0).all()
    alone = samples.batch(np.array([3]), perturbation=noise)
    np.testing.assert_array_equal(alone.inputs["table"].numpy(), noisy[[3]])

    # A film that is not there stays black
    assert samples.batch(np.array([2]), perturbation=noise).image.eq(0).all()
