"""CheXpert's tables as they are published: people from paths, findings, views, reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cohort.chexpert import ChexpertCohort
from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.partition import partition
from forgetmi.core.errors import CohortError

HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(reversed(CHEXPERT))
SET = "CheXpert-v1.0-small"
FILMS = [
    f"{SET}/train/patient{p:05d}/study{s}/view{v}_{side}.jpg"
    for p in range(1, 9)
    for s in (1, 2)
    for v, side in ((1, "frontal"), (2, "lateral"))
]


@pytest.fixture
def published(tmp_path: Path) -> ChexpertCohort:
    lines = [HEADER]
    for number, film in enumerate(FILMS):
        side = "Lateral" if "lateral" in film else "Frontal"
        value = ("1.0", "0.0", "-1.0", "")[number // 2 % 4]
        lines.append(f"{film},Female,61,{side},AP," + ",".join([value] * 14))
        (tmp_path / film).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / film).touch()
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "key").write_bytes(bytes(32))
    return ChexpertCohort(
        path=tmp_path / "train.csv", root=tmp_path, key_file=tmp_path / "key", views="all"
    )


def test_a_person_is_the_patient_of_the_path(published: ChexpertCohort) -> None:
    cohort = published.load()
    assert len(cohort) == len(FILMS)
    assert len(set(cohort.patient)) == 8
    assert len(set(cohort.study)) == 16
    assert len(set(cohort.image_id)) == len(FILMS)

    # No person is on two sides, however the sets are drawn
    sets = partition(cohort, forget=20.0, seed=0)
    sides = [set(cohort.patient[sets.rows(name)]) for name in ("forget", "retain", "holdout")]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_findings_come_by_name_and_views_are_counted(published: ChexpertCohort) -> None:
    cohort = published.load()
    assert (cohort.task, cohort.classes) == ("findings", CHEXPERT)
    edema = cohort.label[:, CHEXPERT.index("Edema")]
    expected = np.repeat([1, 0, np.nan, np.nan], 2)
    assert np.array_equal(edema[:8], expected.astype(np.float32), equal_nan=True)
    assert cohort.subgroups["view"].tolist() == ["AP"] * len(FILMS)

    frontal = replace(published, views="frontal", uncertain="one", only_findings=("Edema",)).load()
    assert len(frontal) == len(FILMS) // 2
    assert "16 films that are not frontal are left out" in frontal.notices
    assert frontal.label[:3, 0].tolist() == [1, 0, 1]


def test_films_alone_or_with_the_reports_of_chexpert_plus(
    published: ChexpertCohort, tmp_path: Path
) -> None:
    assert not published.load().present["text"].any()
    lines = ["path_to_image,section_findings,section_impression"]
    for number, film in enumerate(FILMS[:8]):
        lines.append(f"{film.removeprefix(SET + '/')},Clear {number}.,{'Normal.' * (number % 2)}")
    (tmp_path / "plus.csv").write_text("\n".join(lines) + "\n")
    cohort = replace(published, reports=tmp_path / "plus.csv").load()
    assert cohort.report[0] == "FINDINGS: Clear 0."
    assert cohort.report[1] == "FINDINGS: Clear 1. IMPRESSION: Normal."
    assert cohort.present["text"].tolist() == [True] * 8 + [False] * 24
    assert "8 of 32 rows were found in plus.csv (by path_to_image)" in cohort.notices


def test_the_data_sets_own_folder_may_be_named(published: ChexpertCohort, tmp_path: Path) -> None:
    assert replace(published, root=tmp_path / SET).load().digest == published.load().digest


def test_paths_that_name_nobody_are_told_by_row(published: ChexpertCohort, tmp_path: Path) -> None:
    text = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(text.replace("patient00003/", "Smith/"))
    with pytest.raises(CohortError) as error:
        published.load()
    message = str(error.value)
    assert "row 9" in message
    assert "column 'Path'" in message
    assert "Smith" not in message
    with pytest.raises(CohortError, match="Odema"):
        replace(published, only_findings=("Odema",)).load()
