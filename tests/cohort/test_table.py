"""A table is read as it stands, or refused with every fault of every row at once."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError
from forgetmi.data.decode import read_image

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
KEY = b"0123456789abcdef"
HEADER = [
    "patient_id",
    "study_id",
    "image_id",
    "image",
    "report",
    "label",
    "split",
    "family",
    "sex",
]
ROWS = [
    ["p1", "s1", "i1", "a/1.png", "Clear lungs.", "0", "train", "f1", "F"],
    ["p1", "s1", "i2", "a/2.png", "Clear lungs.", "0", "train", "f1", "F"],
    ["p1", "s2", "i3", "b/3.png", 'Mild "edema",\nas before.', "1", "train", "f1", "F"],
    ["p2", "s3", "i4", "b/4.png", "No change \ufffd.", "2", "test", "f2", ""],
    ["p3", "s4", "i5", "5.npy#1", "New film.", "", "validation", "", "M"],
]


def text(rows: list[list[str]], header: list[str] = HEADER, **options: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, **{"lineterminator": "\n", **options}).writerows([header, *rows])
    return buffer.getvalue()


def changed(*cells: tuple[int, str, str], rows: list[list[str]] = ROWS) -> list[list[str]]:
    """The rows with some cells replaced: (row from 1, column, value)."""
    rows = [list(row) for row in rows]
    for row, column, value in cells:
        rows[row - 1][HEADER.index(column)] = value
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png"):
        Image.fromarray(np.full((2, 2), 7, np.uint8)).save(tmp_path / name)
    np.save(tmp_path / "5.npy", np.zeros((2, 3, 3), np.uint8))
    (tmp_path / "key").write_bytes(KEY)
    return tmp_path


def load(folder: Path, content: str | bytes | pd.DataFrame, **options: object) -> Cohort:
    path = folder / ("cohort.parquet" if isinstance(content, pd.DataFrame) else "cohort.csv")
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    settings = {
        "split": "split",
        "group": "family",
        "subgroups": ("sex",),
        "key_file": folder / "key",
        **options,
    }
    return replace(TableCohort(path), **settings).load()


def faults(folder: Path, content: str | bytes | pd.DataFrame, **options: object) -> list[str]:
    with pytest.raises(CohortError) as caught:
        load(folder, content, **options)
    found = [str(fault) for fault in caught.value.faults]
    for raw in ("p1", "p2", "p3", "s1", "i1", "1.png", "Clear", "f1"):
        assert not any(
            raw in one.replace("cohort.csv", "") for one in found if "The file has" not in one
        ), raw
    return found


def test_rows_as_they_stand(folder: Path) -> None:
    cohort = load(folder, text(ROWS), task="grades", show_images=True, name="ours")
    names = Pseudonyms(KEY)
    assert cohort.name == "ours"
    assert cohort.patient.tolist() == [names.digest("patient", row[0]) for row in ROWS]
    assert cohort.study.tolist() == [names.digest("study", row[1]) for row in ROWS]
    assert cohort.image_id.tolist() == [names.digest("image", row[2]) for row in ROWS]
    assert cohort.report.tolist() == [row[4] for row in ROWS]
    assert cohort.label.tolist() == [0, 0, 1, 2, -1]
    assert cohort.split.tolist() == ["train", "train", "train", "holdout", "validation"]
    assert cohort.group.tolist() == [
        *[names.digest("group", "f1")] * 3,
        names.digest("group", "f2"),
        names.digest("patient", "p3"),
    ]
    assert cohort.subgroups["sex"].tolist() == ["F", "F", "F", "", "M"]
    assert cohort.classes == ("0", "1", "2")
    assert (cohort.task, cohort.show_images, cohort.key_id) == ("grades", True, names.key_id)
    assert cohort.image.tolist() == [str(folder.resolve() / row[3]) for row in ROWS]
    assert all(read_image(locator).pixels.size for locator in cohort.image)
    assert cohort.notices == (
        "1 rows have no known label",
        "1 reports hold characters that were lost in an earlier conversion (U+FFFD)",
    )


def frame(rows: list[list[str]] = ROWS) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=HEADER)


SAME = {
    "byte order mark": lambda: b"\xef\xbb\xbf" + text(ROWS).encode(),
    "blank lines": lambda: text(ROWS).replace("\np2,", "\n\n\np2,") + "\n\n",
    "all quoted": lambda: text(ROWS, quoting=csv.QUOTE_ALL),
    "blanks around cells": lambda: text(
        changed((1, "patient_id", " p1 "), (1, "split", " Train"), (2, "label", "0 "))
    ),
    "other words for the splits": lambda: text(
        changed((4, "split", "HOLDOUT"), (5, "split", "val"))
    ),
    "whole numbers with a point": lambda: text(changed((1, "label", "0.0"), (3, "label", "1.0"))),
    "unknown as -1": lambda: text(changed((5, "label", "-1"))),
    "unknown as NaN": lambda: text(changed((5, "label", "NaN"))),
    "parquet": frame,
    "parquet with numbers and gaps": lambda: frame().assign(
        label=[0, 0, 1, 2, np.nan], family=[*frame().family[:4], None]
    ),
    "parquet with nullable integers": lambda: frame().assign(
        label=pd.array([0, 0, 1, 2, None], "Int64")
    ),
    "parquet with categories": lambda: frame().astype({"split": "category", "sex": "category"}),
    "marks that cannot be seen in the header": lambda: text(
        ROWS, ["\ufeff\u200bpatient_id", *HEADER[1:3], "image\u200b", *HEADER[4:]]
    ),
    "further columns": lambda: frame().assign(extra=[[1]] * 5),
}


@pytest.mark.parametrize("case", SAME)
def test_forms_of_the_same_table(case: str, folder: Path) -> None:
    expected, found = load(folder, text(ROWS)), load(folder, SAME[case]())
    for name in ("patient", "study", "image_id", "group", "image", "report", "label", "split"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
    assert found.digest == expected.digest


def test_line_ends_of_windows(folder: Path) -> None:
    found = load(folder, text(ROWS, lineterminator="\r\n"))
    assert found.digest == load(folder, text(ROWS)).digest


def test_identifiers_that_are_numbers_agree_between_formats(folder: Path) -> None:
    rows = [[str(10 + i), *row[1:]] for i, row in enumerate(ROWS)]
    rows = changed(
        (1, "study_id", "s0"), (5, "family", "f5"), rows=[[*row[:7], "", row[8]] for row in rows]
    )
    distinct = {"study_id": ""}
    expected = load(folder, text(rows), **distinct)
    whole = load(folder, frame(rows).assign(patient_id=[10, 11, 12, 13, 14]), **distinct)
    assert whole.patient.tolist() == expected.patient.tolist()

    # Floating-point numbers are no identifiers, until the user says that 10.0 is 10
    numbers = frame(rows).assign(patient_id=[10.0, 11.0, 12.0, 13.0, 14.0])
    found = faults(folder, numbers, **distinct)
    assert len(found) == 5
    assert all("column 'patient_id'" in one and "ends in .0" in one for one in found)
    said = load(folder, numbers, same_identifiers=("decimals",), **distinct)
    assert said.patient.tolist() == expected.patient.tolist()


WRONG = {
    "missing column": (
        text(ROWS).replace("report", "reprot", 1),
        ["column 'report' is missing", "'reprot'"],
    ),
    "column twice": (text(ROWS).replace("sex", "label", 1), ["column 'label' occurs 2 times"]),
    "semicolons": (text(ROWS, delimiter=";"), ["not separated by commas"]),
    "tabs": (text(ROWS, delimiter="\t"), ["not separated by commas"]),
    "no rows": (text([]), ["no rows"]),
    "empty file": ("", ["empty"]),
    "not UTF-8": (text(ROWS).encode().replace(b"as before", b"apr\xe8s"), ["line 5", "not UTF-8"]),
    "UTF-16": (text(ROWS).encode("utf-16"), ["not UTF-8"]),
    "NUL": (text(ROWS).replace("Clear", "\0"), ["NUL"]),
    "quotation mark not closed": (text(ROWS) + '"p4,', ["line 8", "quotation mark"]),
    "cells missing": (text([*ROWS, ["p4", "s5"]]), ["row 6 (line 8)", "2 cells, the header 9"]),
    "header repeated": (text([*ROWS, HEADER]), ["row 6 (line 8)", "repeats the header"]),
    "image twice": (
        text(changed((4, "image_id", "i1"))),
        ["row 4 (line 6), column 'image_id'", "occurs twice", "compare cohort.csv row 1 (line 2)"],
    ),
    "image blank": (text(changed((2, "image", " "))), ["row 2 (line 3), column 'image'", "blank"]),
    "image file absent": (
        text(changed((2, "image", "a/9.png"))),
        ["row 2", "column 'image'", "not found"],
    ),
    "image folder absent": (
        text(changed((2, "image", "c/1.png"))),
        ["row 2", "column 'image'", "not found"],
    ),
    "image is a folder": (text(changed((2, "image", "a"))), ["row 2", "not found"]),
    "stack absent": (text(changed((5, "image", "6.npy#1"))), ["row 5", "not found"]),
    "report empty": (text(changed((4, "report", " \n "))), ["row 4", "column 'report'", "empty"]),
    "report of the word nan": (
        text(changed((4, "report", "NaN"))),
        ["row 4", "column 'report'", "empty"],
    ),
    "label outside": (text(changed((4, "label", "7"))), ["without a gap"]),
    "label negative": (text(changed((4, "label", "-2"))), ["row 4", "column 'label'", "0, 1"]),
    "label a word": (text(changed((4, "label", "mild"))), ["row 4", "column 'label'", "0, 1"]),
    "patient blank": (
        text(changed((4, "patient_id", ""))),
        ["row 4 (line 6), column 'patient_id'", "blank"],
    ),
    "study blank": (text(changed((4, "study_id", ""))), ["row 4", "column 'study_id'", "blank"]),
    "image identifier blank": (
        text(changed((4, "image_id", ""))),
        ["row 4", "column 'image_id'", "blank"],
    ),
    "two splits": (
        text(changed((3, "split", "test"))),
        ["row 3", "the patient is in two splits", "compare cohort.csv row 1", '--cohort.split ""'],
    ),
    "two splits, one blank": (
        text(changed((3, "split", ""))),
        ["row 3", "the patient is in two splits"],
    ),
    "family in two splits": (
        text(changed((4, "family", "f1"))),
        ["row 4", "the group is in two splits"],
    ),
    "unknown split": (
        text(changed((4, "split", "testing"))),
        ["row 4 (line 6), column 'split'", "the split is not known", "accepted: blank, train"],
    ),
    "study of two patients": (
        text(changed((4, "study_id", "s1"))),
        ["row 4", "two patients", "compare cohort.csv row 1"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_fault_says_where_and_what(case: str, folder: Path) -> None:
    content, words = WRONG[case]
    found = faults(folder, content)
    assert len(found) == 1
    assert all(word in found[0] for word in words), found


def test_a_column_named_split_is_read_unless_the_option_says_no(folder: Path) -> None:
    assert load(folder, text(ROWS), split=None).digest == load(folder, text(ROWS)).digest
    assert set(load(folder, text(ROWS), split="").split) == {""}
    found = faults(
        folder, text(changed((4, "split", "fold 7"), (5, "split", "holdot"))), split=None
    )
    assert len(found) == 2
    for one, place in zip(found, ("row 4 (line 6)", "row 5 (line 7)"), strict=True):
        assert all(word in one for word in (place, "column 'split'", "the split is not known"))
        assert "fold 7" not in one
        assert "holdot" not in one
    assert (
        len(faults(folder, text(changed((4, "split", "fold 7"), (4, "sex", "F"))), split="splt"))
        == 1
    )
    bare = [row[:6] for row in ROWS]
    assert set(load(folder, text(bare, HEADER[:6]), split=None, group="", subgroups=()).split) == {
        ""
    }


def test_no_cell_is_shown_as_a_split(folder: Path) -> None:
    for column in ("patient_id", "image_id", "report"):
        assert "the split is not known" in faults(folder, text(ROWS), split=column)[0]
    for word in ("a word of more than twenty letters", "MRN 70213", "Smith"):
        assert word not in faults(folder, text(changed((4, "split", word))))[0]


def test_patient_is_named_by_digest(folder: Path) -> None:
    found = faults(folder, text(changed((2, "image", "a/9.png"))))
    assert f"patient {Pseudonyms(KEY).digest('patient', 'p1')}" in found[0]


def test_all_faults_at_once(folder: Path) -> None:
    rows = changed(
        (1, "label", "9"),
        (2, "image", "x.png"),
        (3, "report", ""),
        (4, "patient_id", ""),
        (5, "split", "?"),
        (5, "image_id", "i1"),
    )
    found = faults(folder, text([*rows, ["short"], HEADER]), classes=("none", "mild", "severe"))
    assert len(found) == 8


def test_long_lists_are_counted(folder: Path) -> None:
    rows = [
        [f"q{i}", f"t{i}", f"j{i}", f"gone/{i}.png", "x", str(i % 2), "", "", ""]
        for i in range(1000)
    ]
    found = faults(folder, text(rows))
    assert len(found) == 21
    assert "980 more" in found[-1]
    assert len(faults(folder, text([*rows[:-1], *[["ragged"]] * 30]))) == 21 + 21


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["severe", "none", "1", "", "mild"], [2, 0, 1, -1, 1]),
        (["0", "nan", "2", "-1", "2.0"], [0, -1, 2, -1, 2]),
    ],
)
def test_class_names_and_indices(folder: Path, labels: list[str], expected: list[int]) -> None:
    rows = changed(*((i, "label", label) for i, label in enumerate(labels, start=1)))
    cohort = load(folder, text(rows), classes=("none", "mild", "severe"))
    assert cohort.label.tolist() == expected
    assert cohort.classes == ("none", "mild", "severe")


@pytest.mark.parametrize("label", ["moderate", "3", "-2", "1.5", "Severe"])
def test_label_that_is_no_class(folder: Path, label: str) -> None:
    found = faults(folder, text(changed((4, "label", label))), classes=("none", "mild", "severe"))
    assert len(found) == 1
    assert "row 4 (line 6), column 'label'" in found[0]
    assert "none, mild, severe" in found[0]


@pytest.mark.parametrize("classes", [("none",), ("a", "a"), ("nan", "b"), ("1", "0"), ("", "b")])
def test_class_names_that_cannot_be(folder: Path, classes: tuple[str, ...]) -> None:
    assert any("option classes" in fault for fault in faults(folder, text(ROWS), classes=classes))


def test_one_class_is_no_task(folder: Path) -> None:
    assert "without a gap" in faults(folder, text([[*row[:5], "0", *row[6:]] for row in ROWS]))[0]


def test_columns_that_are_not_there(folder: Path) -> None:
    rows = [[row[0], *row[3:6]] for row in ROWS]
    bare = text(rows, ["patient_id", "image", "report", "label"])
    cohort = load(folder, bare, study_id="", image_id="", split="", group="", subgroups=())
    assert len(set(cohort.study)) == len(set(cohort.image_id)) == 5
    assert set(cohort.split) == {""}
    assert cohort.group.tolist() == cohort.patient.tolist()
    assert len(faults(folder, bare, split="", group="", subgroups=("view",))) == 3


def test_columns_that_must_be_named(folder: Path) -> None:
    assert "column '' is missing" in faults(folder, text(ROWS), report="")[0]


def test_notices_of_mixed_studies(folder: Path) -> None:
    rows = changed((2, "label", "2"), (2, "report", "Another."), (4, "image", "a/1.png"))
    assert load(folder, text(rows)).notices[1:4] == (
        "1 studies have images with different labels",
        "1 studies have images with different reports",
        "1 reports hold characters that were lost in an earlier conversion (U+FFFD)",
    )
    assert load(folder, text(rows)).notices[4] == "1 rows use an image file of another patient"


@pytest.mark.parametrize("column", ["patient_id", "image", "report"])
def test_identifying_columns_are_no_subgroups(folder: Path, column: str) -> None:
    found = faults(folder, text(ROWS), subgroups=("sex", column))
    assert len(found) == 1
    assert "cannot be a subgroup" in found[0]


def test_absent_file_and_broken_parquet(folder: Path) -> None:
    with pytest.raises(CohortError, match="cannot be read"):
        TableCohort(folder / "none.csv", key_file=folder / "key").load()
    (folder / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(CohortError, match="Parquet"):
        TableCohort(folder / "x.parquet", key_file=folder / "key").load()


def test_digest_depends_on_content_alone(folder: Path) -> None:
    base = load(folder, text(ROWS))
    (folder / "other").write_bytes(KEY[::-1])
    other = load(folder, text(ROWS), key_file=folder / "other")
    assert other.digest == base.digest
    assert other.key_id != base.key_id
    assert set(other.patient).isdisjoint(base.patient)
    assert load(folder, text(ROWS), image_root=folder / "a" / "..").digest == base.digest
    for column, value in (
        ("report", "x"),
        ("label", "2"),
        ("sex", "x"),
        ("image", "a/2.png"),
        ("study_id", "s9"),
    ):
        assert load(folder, text(changed((1, column, value)))).digest != base.digest, column
    assert load(folder, text(ROWS), task="grades").digest != base.digest
    assert load(folder, text(ROWS), classes=("a", "b", "c")).digest != base.digest
    assert load(folder, text(ROWS[::-1])).digest != base.digest


@pytest.mark.parametrize(
    ("count", "seconds"), [(20_000, 4), pytest.param(100_000, 15, marks=pytest.mark.slow)]
)
def test_many_rows_in_seconds(count: int, seconds: float, folder: Path) -> None:
    images = folder / "many"
    images.mkdir()
    for i in range(100):
        (images / f"{i}.png").write_bytes(b"")
    rows = [
        [
            f"p{i // 4}",
            f"s{i // 2}",
            f"i{i}",
            f"many/{i % 100}.png",
            f"report {i}",
            str(i % 3),
            "",
            "",
            "F",
        ]
        for i in range(count)
    ]
    content = text(rows)
    start = time.process_time()
    cohort = load(folder, content)
    assert time.process_time() - start < seconds
    assert len(cohort) == count


@pytest.mark.skipif(not (SHARED / "covid_cxr").is_dir(), reason="the covid_cxr cohort is not here")
def test_real_cohort_agrees_with_its_description(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    cohort = TableCohort(
        SHARED / "covid_cxr" / "cohort.csv",
        image="image_path",
        report="text",
        group="source_url",
        subgroups=("view", "sex"),
        key_file=tmp_path / "key",
        classes=("covid19", "bacterial_pneumonia", "other_non_covid"),
    ).load()
    table = pd.DataFrame({"patient": cohort.patient, "study": cohort.study, "label": cohort.label})
    assert (len(table), table.study.nunique(), table.patient.nunique()) == (192, 160, 96)
    counts = table.groupby("label").agg(
        rows=("study", "size"), studies=("study", "nunique"), patients=("patient", "nunique")
    )
    assert counts.to_numpy().tolist() == [[129, 114, 67], [30, 23, 11], [33, 23, 18]]
    views = pd.Series(cohort.subgroups["view"]).value_counts().to_dict()
    assert views == {"PA": 109, "AP": 35, "L": 25, "AP Supine": 23}
    assert pd.Series(cohort.subgroups["sex"]).value_counts().to_dict() == {
        "M": 117,
        "F": 62,
        "": 13,
    }
    people = (
        pd.DataFrame({"group": cohort.group, "patient": cohort.patient})
        .groupby("group")
        .patient.nunique()
    )
    assert (people > 1).sum() == 4
    assert cohort.notices == (
        "8 studies have images with different reports",
        "17 reports hold characters that were lost in an earlier conversion (U+FFFD)",
    )
    for locator in cohort.image[:5]:
        pixels = read_image(locator).pixels
        assert max(pixels.shape) <= 512
    assert (
        hashlib.sha256("".join(cohort.report).encode()).hexdigest()
        == hashlib.sha256(
            "".join(
                pd.read_csv(
                    SHARED / "covid_cxr" / "cohort.csv", dtype=str, keep_default_na=False
                ).text
            ).encode()
        ).hexdigest()
    )


def test_images_behind_links_are_read_and_broken_links_refused(folder: Path) -> None:
    expected = load(folder, text(ROWS))
    (folder / "a").rename(folder / "elsewhere")
    (folder / "a").symlink_to(folder / "elsewhere")
    (folder / "b" / "3.png").rename(folder / "film.png")
    (folder / "b" / "3.png").symlink_to(folder / "film.png")
    found = load(folder, text(ROWS))
    assert found.digest == expected.digest
    assert all(read_image(locator).pixels.size for locator in found.image)

    (folder / "film.png").unlink()
    assert "row 3" in faults(folder, text(ROWS))[0]
