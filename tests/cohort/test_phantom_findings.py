"""Generated patients with fourteen findings: shares, what goes together, and that films and reports show them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.phantom.finding_phrases import PHRASES
from forgetmi.cohort.phantom.findings import (
    DRAWN,
    LASTING,
    LUNG_OPACITY,
    NO_FINDING,
    OPAQUE,
    PREVALENCE,
    Findings,
    draw_findings,
)
from forgetmi.cohort.phantom.image import render
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import Cohort


@pytest.fixture(scope="module")
def people() -> list[Findings]:
    return [draw_findings(0, "patient", number) for number in range(250)]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return SyntheticCohort(patients=40, seed=3, size=32, task="findings").load()


def test_shares_are_those_stated(people: list[Findings]) -> None:
    studies = [study for one in people for study in one.label]
    for name, expected in PREVALENCE.items():
        cells = [study[name] for study in studies]
        # Half of the uncertain ones lie above the threshold
        share = (cells.count("1") + cells.count("-1") / 2) / len(cells)
        assert share == pytest.approx(expected, abs=0.05), name
        absent = cells.count("0") + cells.count("")
        assert cells.count("") / absent == pytest.approx(0.5, abs=0.06)
        assert 0.01 < cells.count("-1") / len(cells) < 0.15


def test_what_follows_from_other_findings(people: list[Findings]) -> None:
    for one in people:
        for study in one.label:
            assert set(study) == set(CHEXPERT) == {*DRAWN, LUNG_OPACITY, NO_FINDING}
            opaque = [study[name] for name in OPAQUE]
            assert (study[LUNG_OPACITY] == "1") == ("1" in opaque)
            others = {study[name] for name in CHEXPERT if name != NO_FINDING}
            assert study[NO_FINDING] == ("" if {"1", "-1"} & others else "1")


def test_effusion_comes_with_edema_and_the_lasting_stay(people: list[Findings]) -> None:
    studies = [study for one in people for study in one.label]
    with_edema = [s["Pleural Effusion"] == "1" for s in studies if s["Edema"] == "1"]
    without = [s["Pleural Effusion"] == "1" for s in studies if s["Edema"] in ("0", "")]
    assert np.mean(with_edema) > 1.5 * np.mean(without)

    # What lasts changes less often from visit to visit than what comes and goes
    def changes(name: str) -> float:
        pairs = []
        for one in people:
            cells = [study[name] == "1" for study in one.label]
            pairs += [a != b for a, b in itertools.pairwise(cells)]
        return float(np.mean(pairs)) / PREVALENCE[name]

    lasting = np.mean([changes(name) for name in LASTING])
    passing = np.mean([changes(name) for name in DRAWN if name not in LASTING])
    assert lasting < 0.75 * passing


def test_a_patient_is_a_pure_function_of_seed_and_number() -> None:
    one, again = draw_findings(5, "patient", 7), draw_findings(5, "patient", 7)
    assert one.reports == again.reports
    assert one.label == again.label
    assert draw_findings(6, "patient", 7).reports != one.reports
    films = [render(each.patient, each.signs, size=16, seed=1) for each in (one, again)]
    assert np.array_equal(*films)


def test_reports_say_what_is_there(people: list[Findings]) -> None:
    for name in DRAWN:
        present, absent = PHRASES[name].present, PHRASES[name].absent
        said = {"1": [], "0": []}
        for one in people:
            for study, text in zip(one.label, one.reports, strict=True):
                if study[name] in said:
                    affirmed = any(phrase in text for phrase in present)
                    denied = any(phrase in text for phrase in absent)
                    said[study[name]].append(affirmed - denied)
        assert np.mean(said["1"]) > 0.2, name
        assert np.mean(said["0"]) < -0.1, name


SIGNS = {
    "Consolidation": "consolidation",
    "Pleural Effusion": "effusion",
    "Pneumothorax": "pneumothorax",
    "Atelectasis": "atelectasis",
    "Pleural Other": "thickening",
    "Fracture": "fracture",
}


@pytest.mark.parametrize("name", SIGNS)
def test_films_show_each_sign_as_strongly_as_it_is_there(people: list[Findings], name: str) -> None:
    for one in people[:20]:
        strength = getattr(one.signs, SIGNS[name])
        without = replace(one.signs, **{SIGNS[name]: np.zeros(len(strength))})
        shown = render(one.patient, one.signs, size=32, seed=0).astype(int)
        bare = render(one.patient, without, size=32, seed=0).astype(int)
        change = np.abs(shown - bare).reshape(len(shown), -1).max(1)
        assert (change[strength > 0.5] > 3).all()
        assert (change[strength == 0] == 0).all()

    # Those who have the finding show it more strongly
    strength = np.concatenate([getattr(one.signs, SIGNS[name]) for one in people])
    has = np.array([one.label[study][name] for one in people for study in one.patient.study])
    there, absent = strength[has == "1"], strength[has == "0"]
    larger = there[:, None] > absent[None, :]
    equal = there[:, None] == absent[None, :]
    assert (larger + 0.5 * equal).mean() > 0.75


def test_bodies_show_what_lasts(people: list[Findings]) -> None:
    def apart(name: str, of_body: str) -> float:
        """How often somebody with the finding has the larger value."""
        value = np.array([float(getattr(one.patient.anatomy, of_body)) for one in people])
        has = np.array([one.label[0][name] for one in people])
        there, absent = value[has == "1"], value[(has == "0") | (has == "")]
        larger = there[:, None] > absent[None, :]
        return float((larger + 0.5 * (there[:, None] == absent[None, :])).mean())

    assert apart("Cardiomegaly", "heart") > 0.75
    assert apart("Enlarged Cardiomediastinum", "waist") > 0.75
    assert apart("Lung Lesion", "nodule") > 0.75
    assert apart("Support Devices", "pacemaker") > 0.75


def test_the_cohort_is_read_with_its_findings(cohort: Cohort) -> None:
    assert cohort.task == "findings"
    assert cohort.classes == CHEXPERT
    assert cohort.label.shape == (len(cohort), 14)
    assert set(np.unique(cohort.label[~np.isnan(cohort.label)])) == {0.0, 1.0}
    assert any("uncertain findings (-1) count as unknown" in one for one in cohort.notices)
    policies = {
        one: SyntheticCohort(patients=40, seed=3, size=32, task="findings", uncertain=one).load()
        for one in ("zero", "one")
    }
    ignored = np.isnan(cohort.label)
    assert ignored.any()
    assert not policies["zero"].label[ignored].any()
    assert policies["one"].label[ignored].all()


def test_it_is_made_and_checked_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--patients", "40", "--seed", "3", "--size", "32", "--task", "findings"]
    assert main(["cohort", "make", *options, "--out", str(tmp_path / "made")]) == 0
    spec = str(tmp_path / "made" / "spec.yaml")
    assert main(["cohort", "check", "--spec", spec]) == 0
    printed = capsys.readouterr().out
    assert "uncertain findings (-1) count as unknown" in printed
