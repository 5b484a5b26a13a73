"""The embedded cohort with measured values, and with patients who have no film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forgetmi.cohort.phantom.findings import draw_findings, edema_severity
from forgetmi.cohort.phantom.measurements import (
    MEASUREMENTS,
    NUMERIC,
    draw_measurements,
    has_no_film,
)
from forgetmi.cohort.phantom.patient import draw_patient, hidden_severity
from forgetmi.cohort.synthetic import synthetic_table
from forgetmi.cohort.synthetic_making import COLUMNS, STACK, TABLE, make_synthetic
from forgetmi.core.errors import CohortError


def read(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    return pd.read_csv(folder / TABLE, keep_default_na=False, dtype=str), np.load(folder / STACK)


@pytest.mark.parametrize("ordinal", [True, False])
def test_values_follow_the_hidden_severity_and_some_are_missing(ordinal: bool) -> None:
    rows, labels = [], []
    for number in range(400):
        patient = draw_patient(3, "patient", number, ordinal=ordinal)
        studies = len(patient.label)
        severity = hidden_severity(3, "patient", number, studies, ordinal=ordinal)
        noise = patient.text_severity[:, 0] * np.sqrt(1 + 0.35**2) - severity
        rows += draw_measurements(patient.age, severity, 3, "patient", number)
        labels += [*zip(severity, noise, strict=True)]
    values = pd.DataFrame(rows, columns=list(NUMERIC)).replace("", np.nan).astype(float)
    severity, noise = np.array(labels).T

    # The report sees the same severity through noise of its own
    assert noise.std() == pytest.approx(0.35, abs=0.03)
    together = values.corrwith(pd.Series(severity))
    assert together["bnp"] > 0.3
    assert together["oxygen_saturation"] < -0.5
    assert together["respiratory_rate"] > 0.4
    assert abs(together["age_years"]) < 0.15
    assert abs(values["bnp"].corr(pd.Series(noise))) < 0.1
    for name, measured in MEASUREMENTS.items():
        assert values[name].isna().mean() == pytest.approx(measured.missing, abs=0.04)
        known = values[name].dropna()
        assert known.between(measured.low, measured.high).all()


def test_values_of_the_fourteen_findings_follow_the_edema() -> None:
    severity, label = [], []
    for number in range(150):
        found = draw_findings(3, "patient", number)
        severity += [*edema_severity(3, "patient", number, len(found.label))]
        label += [study["Edema"] == "1" for study in found.label]
    has_edema = np.array(label)
    assert np.mean(np.array(severity)[has_edema]) > 1 + np.mean(np.array(severity)[~has_edema])


def test_nothing_else_depends_on_the_options(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "plain", patients=12, size=16)
    make_synthetic(tmp_path / "both", patients=12, size=16, measured=True, films_missing=0.4)
    (plain, films), (both, left) = read(tmp_path / "plain"), read(tmp_path / "both")
    assert tuple(both.columns) == (*COLUMNS, *NUMERIC)
    rest = [name for name in COLUMNS if name != "image"]
    pd.testing.assert_frame_equal(plain[rest], both[rest])

    # Whole patients have none; the films of the others are the same
    has_film = (both["image"] != "").to_numpy()
    assert 0 < has_film.sum() < len(both)
    assert (
        both.groupby("patient_id")["image"].agg(lambda cells: (cells == "").nunique()) == 1
    ).all()
    np.testing.assert_array_equal(left, films[has_film])
    assert list(both["image"][has_film]) == [f"{STACK}#{i}" for i in range(len(left))]
    readme = (tmp_path / "both" / "README.md").read_text()
    assert "40% of the patients" in readme
    assert "bnp" in readme


def test_it_is_read_with_its_columns_and_who_lacks_a_film(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "made", patients=8, size=16, measured=True, films_missing=0.4)
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    options = {"measured": True, "films_missing": 0.4, "key_file": key}
    cohort = synthetic_table(tmp_path / "made", **options).load()
    assert cohort.table_columns == (*NUMERIC, "sex")
    assert cohort.modalities == ("image", "text", "table")
    assert list(cohort.present) == ["image"]
    np.testing.assert_array_equal(cohort.present["image"], cohort.image != "")
    assert any("rows have no film" in notice for notice in cohort.notices)


def test_about_the_share_lacks_films_and_more_lack_them_at_a_larger_share() -> None:
    few = {n for n in range(1000) if has_no_film(0.3, 0, "patient", n)}
    many = {n for n in range(1000) if has_no_film(0.5, 0, "patient", n)}
    assert len(few) == pytest.approx(300, abs=45)
    assert few < many
    assert not any(has_no_film(0.0, 0, "patient", n) for n in range(10))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be(tmp_path: Path, share: float) -> None:
    with pytest.raises(CohortError, match="films_missing"):
        make_synthetic(tmp_path / "made", patients=2, films_missing=share)
