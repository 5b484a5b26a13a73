"""The generated radiographs: laid out like a chest film, the same at every size, showing what they are told to show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.cohort.phantom.atlas import build
from forgetmi.cohort.phantom.image import Signs, render, signs_of
from forgetmi.cohort.phantom.patient import Patient, draw_patient
from forgetmi.cohort.phantom.vessels import REACH

PLAIN = (
    "congestion",
    "interstitial",
    "alveolar",
    "effusion",
    "consolidation",
    "haze",
    "pneumothorax",
)


def signs(n: int, side: float = 0.0, **strength: float) -> Signs:
    return Signs(**{name: np.full(n, strength.get(name, 0.0)) for name in PLAIN}, side=side)


def film(patient: Patient, size: int = 64, side: float = 0.0, **strength: float) -> np.ndarray:
    return render(patient, signs(len(patient.study), side, **strength), size=size, seed=1) / 255


def mean_film(count: int = 25, size: int = 64) -> np.ndarray:
    return np.mean(
        [film(draw_patient(2, "patient", k, ordinal=True), size)[0] for k in range(count)], axis=0
    )


def test_layout_of_a_chest_film() -> None:
    average = mean_film()
    lung = average[20:34, 10:20].mean(), average[20:34, 44:54].mean()
    spine, abdomen, shoulder = (
        average[20:34, 30:34].mean(),
        average[56:62, 14:50].mean(),
        average[12:20, 1:4].mean(),
    )
    assert max(lung) + 0.15 < min(spine, abdomen)
    assert max(lung) < shoulder
    assert average[:3, :4].mean() < 0.15  # air beside the neck
    below = average[36:46]
    assert (
        below[:, 38:46].mean() > below[:, 18:26].mean()
    )  # the heart lies to the patient's left, the film's right
    assert (
        average[12:16, 31:33].mean() < average[40:44, 31:33].mean()
    )  # the windpipe is darker than the heart


@pytest.mark.parametrize("size", [32, 128, 256])
def test_the_same_anatomy_at_every_size(size: int) -> None:
    patient = draw_patient(0, "patient", 1, ordinal=True)
    told = signs_of(patient, ordinal=True)
    small = render(patient, told, size=32, seed=3).astype(float)
    large = render(patient, told, size=size, seed=3).astype(float)
    assert large.shape == (len(patient.study), size, size)
    f = size // 32
    shrunk = large.reshape(-1, 32, f, 32, f).mean(axis=(2, 4))
    for a, b in zip(small, shrunk, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.96


def test_maps_are_single_precision_and_lungs_lie_inside_the_film() -> None:
    atlas = build(draw_patient(0, "patient", 0, ordinal=True).anatomy, 80)
    assert {value.dtype.name for value in vars(atlas).values()} == {"float32"}
    assert 0 <= atlas.lung.min() < 0.01
    assert 0.95 < atlas.lung.max() <= 1
    edge = np.abs(np.linspace(-REACH, REACH, 80)) > 0.98
    assert atlas.lung[:, edge].max() < 0.05


@pytest.mark.parametrize(
    ("sign", "window"),
    [
        ("congestion", (slice(16, 28), slice(14, 50))),
        ("interstitial", (slice(38, 46), slice(8, 20))),
        ("alveolar", (slice(24, 38), slice(16, 24))),
        ("effusion", (slice(42, 52), slice(8, 20))),
        ("haze", (slice(20, 38), slice(12, 22))),
        ("consolidation", (slice(10, 50), slice(6, 58))),
    ],
)
def test_each_sign_shows_where_it_belongs(sign: str, window: tuple[slice, slice]) -> None:
    patients = [draw_patient(4, "patient", k, ordinal=True) for k in range(8)]
    change = np.mean([film(p, **{sign: 1.0})[0] - film(p)[0] for p in patients], axis=0)
    assert change[window].mean() > 0.009
    assert abs(change[56:, :].mean()) < 0.02  # the abdomen is as it was


def test_one_sided_signs_stay_on_their_side() -> None:
    patients = [draw_patient(4, "patient", k, ordinal=False) for k in range(8)]
    air = np.mean([film(p, side=1.0, pneumothorax=1.0)[0] - film(p)[0] for p in patients], axis=0)
    fluid = np.mean([film(p, side=-1.0, effusion=1.0)[0] - film(p)[0] for p in patients], axis=0)
    assert air[12:30, 40:].min() < -0.02
    assert np.abs(air[:, :26]).max() < 0.02
    assert fluid[40:52, :24].mean() > 0.01
    assert np.abs(fluid[:, 38:]).max() < 0.02


def test_signs_follow_the_severity() -> None:
    patient = draw_patient(0, "patient", 0, ordinal=True)
    n = len(patient.study)
    ramp = [
        signs_of(replace(patient, image_severity=np.full((n, 1), z)), ordinal=True)
        for z in (-3, 0.1, 1.0, 3)
    ]
    assert ramp[0].congestion[0] == ramp[0].interstitial[0] == ramp[0].alveolar[0] == 0
    assert ramp[1].congestion[0] > 0.5 > ramp[1].interstitial[0] >= ramp[1].alveolar[0] == 0
    assert ramp[2].interstitial[0] > 0.9 > ramp[2].alveolar[0] > 0
    assert ramp[3].alveolar[0] > 1


@pytest.mark.parametrize(
    ("cause", "sign"),
    [(0, "congestion"), (1, "consolidation"), (2, "effusion"), (3, "pneumothorax")],
)
def test_each_cause_has_its_own_appearance(cause: int, sign: str) -> None:
    patient = draw_patient(0, "patient", 0, ordinal=False)
    severity = np.zeros_like(patient.image_severity)
    severity[:, cause] = 4
    told = signs_of(replace(patient, image_severity=severity), ordinal=False)
    strength = {
        name: getattr(told, name)[0]
        for name in ("congestion", "consolidation", "effusion", "pneumothorax")
    }
    assert max(strength, key=strength.__getitem__) == sign
    assert sorted(strength.values())[-2] == 0


def test_images_of_a_study_differ_and_a_bedside_film_has_a_larger_heart() -> None:
    patient = draw_patient(0, "patient", 0, ordinal=True)
    both = film(replace(patient, study=np.zeros(2, np.int64)))
    assert not np.array_equal(both[0], both[1])
    atlas = build(patient.anatomy, 64)
    assert atlas.portable.sum() > 0
