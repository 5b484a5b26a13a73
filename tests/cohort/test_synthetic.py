"""The generated cohort: reproducible, of the stated statistics, streamed, and complete or absent."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from forgetmi.cohort.phantom.patient import (
    CAUSES,
    GRADES,
    SHARES,
    Patient,
    draw_patient,
    image_count,
)
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.cohort.synthetic_making import COLUMNS, STACK, TABLE, make_synthetic
from forgetmi.core.errors import CohortError
from forgetmi.core.files import default_cache
from forgetmi.core.partial_files import is_partial
from tests.processes import started


def read(directory: Path) -> tuple[pd.DataFrame, np.ndarray]:
    return pd.read_csv(directory / TABLE, dtype=str, keep_default_na=False), np.load(
        directory / STACK
    )


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    directory = tmp_path_factory.mktemp("cohort") / "default"
    make_synthetic(directory, size=32)
    return read(directory)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"0123456789abcdef0123456789abcdef")
    return path


def test_same_seed_is_bit_identical_and_another_is_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_synthetic(tmp_path / name, patients=6, size=24, seed=seed)
    for file in (TABLE, STACK):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()


@pytest.mark.parametrize("task", ["grades", "classes"])
def test_a_patient_depends_on_neither_the_others_nor_the_references(
    tmp_path: Path, task: Literal["grades", "classes"]
) -> None:
    make_synthetic(tmp_path / "few", patients=5, size=24, task=task)
    make_synthetic(tmp_path / "many", patients=9, size=24, task=task, reference_patients=4)
    few, few_images = read(tmp_path / "few")
    many, many_images = read(tmp_path / "many")
    pd.testing.assert_frame_equal(few, many.iloc[: len(few)])
    np.testing.assert_array_equal(few_images, many_images[: len(few)])
    reference = many[many["split"] == "reference"]
    assert reference["patient_id"].nunique() == 4
    assert set(reference["patient_id"]).isdisjoint(many[many["split"] == ""]["patient_id"])
    assert set(reference["report"]).isdisjoint(many[many["split"] == ""]["report"])
    assert list(reference.index) == list(range(len(many) - len(reference), len(many)))


def test_image_size_changes_neither_labels_nor_words(tmp_path: Path) -> None:
    for size in (16, 48):
        make_synthetic(tmp_path / str(size), patients=4, size=size)
    (small, _), (large, images) = read(tmp_path / "16"), read(tmp_path / "48")
    pd.testing.assert_frame_equal(small, large)
    assert images.shape == (len(large), 48, 48)
    assert images.dtype == np.uint8


def test_table_form(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, images = default
    assert tuple(table.columns) == COLUMNS
    assert list(table["image"]) == [f"{STACK}#{i}" for i in range(len(images))]
    assert table["image_id"].is_unique
    assert (
        table.groupby("study_id")[["patient_id", "report", "label", "view"]].nunique() == 1
    ).all(axis=None)
    assert (table.groupby("patient_id")[["sex", "age"]].nunique() == 1).all(axis=None)
    assert set(table["sex"]) == {"F", "M"}
    assert set(table["view"]) == {"PA", "AP"}
    assert 2 <= table["age"].nunique() <= 4


def test_size_of_the_default_cohort(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, _ = default
    counts = table.groupby("patient_id").size()
    assert len(counts) == 270
    assert 1100 <= len(table) <= 1300
    assert counts.max() <= 15
    assert list(counts) == [image_count(0, "patient", k) for k in range(270)]


@functools.cache
def many(*, ordinal: bool) -> list[Patient]:
    """As many patients as the tolerances below need."""
    return [draw_patient(5, "patient", k, ordinal=ordinal) for k in range(2500)]


@pytest.mark.parametrize("ordinal", [True, False])
def test_statistics_of_many_patients(ordinal: bool) -> None:
    people = many(ordinal=ordinal)
    images = np.array([len(p.study) for p in people])
    label = np.concatenate([p.label[p.study] for p in people])
    shared = sum(len(p.study) - len(p.label) for p in people) / len(label)
    np.testing.assert_allclose(np.bincount(label, minlength=4) / len(label), SHARES, atol=0.02)
    assert images.mean() == pytest.approx(
        (1 - 0.78**15) / 0.22, rel=0.05
    )  # mean of the capped geometric
    assert images.max() == 15
    assert shared == pytest.approx(0.10, abs=0.015)


def test_severity_is_half_the_patients_and_seen_through_independent_noise() -> None:
    people = many(ordinal=True)
    one = [p for p in people if len(p.label) >= 2]
    image = np.array([[p.image_severity[p.study == j][0, 0] for j in (0, 1)] for p in one])
    text = np.array([[p.text_severity[j, 0] for j in (0, 1)] for p in one])
    covariance = np.cov(np.concatenate([image, text], axis=1).T)
    text_scale = np.sqrt(1 + 0.35**2)
    assert covariance[0, 0] == pytest.approx(1.25, abs=0.1)  # severity and image noise
    assert covariance[0, 1] == pytest.approx(
        0.5, abs=0.08
    )  # only the patient's half is shared between studies
    assert covariance[0, 2] * text_scale == pytest.approx(
        1.0, abs=0.08
    )  # image and text share all but their noise
    assert covariance[2, 2] == pytest.approx(1.0, abs=0.08)


def auc(features: np.ndarray, table: pd.DataFrame, penalty: float) -> float:
    """Macro one-against-rest AUC on the last 90 patients of a logistic regression fitted to the first 180."""
    label = table["label"].map(GRADES.index).to_numpy()
    late = table["patient_id"].to_numpy() >= "P000180"
    scaled = StandardScaler().fit(features[~late]).transform(features)
    model = LogisticRegression(C=penalty, max_iter=2000).fit(scaled[~late], label[~late])
    return float(
        roc_auc_score(
            label[late], model.predict_proba(scaled[late]), multi_class="ovr", average="macro"
        )
    )


def test_images_tell_the_grade_weakly(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, images = default
    coarse = images.reshape(len(images), 16, 2, 16, 2).mean(axis=(2, 4)).reshape(len(images), -1)
    assert 0.58 < auc(coarse, table, 1e-3) < 0.88


def test_reports_tell_the_grade_but_not_fully(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, _ = default
    words = CountVectorizer(min_df=5).fit_transform(table["report"]).toarray().astype(float)
    assert 0.7 < auc(words, table, 1e-2) < 0.93


def test_anatomy_is_the_patients_own(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, images = default
    flat = images.reshape(len(images), -1)[:400].astype(float)
    residual = flat - flat.mean(axis=0)
    residual -= residual.mean(axis=1, keepdims=True)
    residual /= np.linalg.norm(residual, axis=1, keepdims=True)
    correlation = residual @ residual.T
    person = table["patient_id"].to_numpy()[:400]
    same = person[:, None] == person[None, :]
    np.fill_diagonal(correlation, np.nan)
    assert np.nanmean(correlation[same]) > np.nanmean(correlation[~same]) + 0.15


def test_reports_differ_and_hold_no_identifier(default: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, _ = default
    studies = table.drop_duplicates("study_id")
    assert studies["report"].nunique() > 0.98 * len(studies)
    for column in ("patient_id", "study_id", "image_id"):
        assert not any(
            raw in report for raw, report in zip(table[column], table["report"], strict=True)
        )
    assert not table["report"].str.contains(r"\d{3,}|\d[/-]\d", regex=True).any()


def test_memory_does_not_grow_with_the_number_of_patients(tmp_path: Path) -> None:
    peaks = []
    make_synthetic(tmp_path / "warm", patients=1, size=32)
    for patients in (8, 40):
        tracemalloc.start()
        make_synthetic(tmp_path / str(patients), patients=patients, size=32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


@pytest.mark.slow
def test_memory_of_two_thousand_patients(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "warm", patients=1, size=32)
    tracemalloc.start()
    make_synthetic(tmp_path / "many", patients=2000, size=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    images = np.load(tmp_path / "many" / STACK, mmap_mode="r")
    assert len(images) > 8000
    assert peak < 3_000_000 < images.nbytes


def test_an_interrupted_generation_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 5
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_synthetic(
            tmp_path / "cohort", patients=4, reference_patients=1, size=16, progress=stop
        )
    assert list(tmp_path.iterdir()) == []


def test_a_killed_generation_is_never_read(tmp_path: Path, key: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from forgetmi.cohort import synthetic, synthetic_making;"
        "synthetic_making.draw_patient = lambda *a, **k: os._exit(9);"
        "synthetic.SyntheticCohort(patients=3, size=16, cache=Path(sys.argv[1])).load()"
    )
    cache = tmp_path / "cache"
    assert subprocess.run([sys.executable, "-c", code, str(cache)], check=False).returncode == 9
    assert [is_partial(path.name) for path in (cache / "synthetic").iterdir()] == [True]
    assert len(SyntheticCohort(patients=3, size=16, cache=cache, key_file=key).load()) > 0

    # What the killed process left is gone
    assert not any(is_partial(path.name) for path in (cache / "synthetic").iterdir())


def keep_digest(cache: Path, key: Path, answer: Path) -> None:
    """What a racer does: generate or read the cohort, and say which it is."""
    answer.write_text(
        SyntheticCohort(patients=20, size=32, cache=cache, key_file=key).load().digest
    )


def test_two_processes_at_once_give_one_cohort(tmp_path: Path, key: Path) -> None:
    cache, answers = tmp_path / "cache", [tmp_path / "one", tmp_path / "other"]
    racers = [started(keep_digest, cache, key, answer) for answer in answers]
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0]
    one, other = (answer.read_text() for answer in answers)
    assert one == other != ""
    assert len(list((cache / "synthetic").iterdir())) == 1


@pytest.mark.parametrize("task", ["grades", "classes"])
def test_load_generates_once_and_reads(
    tmp_path: Path, key: Path, task: Literal["grades", "classes"]
) -> None:
    options = SyntheticCohort(
        patients=5, size=16, task=task, reference_patients=2, cache=tmp_path, key_file=key
    )
    first = options.load()
    (made,) = (tmp_path / "synthetic").iterdir()
    stamp = (made / STACK).stat().st_mtime_ns
    second = options.load()
    assert (made / STACK).stat().st_mtime_ns == stamp
    assert first.digest == second.digest
    assert first.classes == (GRADES if task == "grades" else CAUSES)
    assert first.task == task
    assert first.show_images
    assert set(first.split) == {"", "reference"}
    assert set(first.subgroups) == {"sex", "age", "view"}
    assert first.image[3].endswith(f"{STACK}#3")
    assert len(np.unique(first.patient)) == 7
    assert "no real patient" in (made / "README.md").read_text().replace("\n", " ")


def test_options_have_their_own_place_in_the_cache(tmp_path: Path, key: Path) -> None:
    for seed in (0, 1):
        SyntheticCohort(patients=2, seed=seed, size=16, cache=tmp_path, key_file=key).load()
    assert len(list((tmp_path / "synthetic").iterdir())) == 2


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FORGETMI_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "forgetmi"
    monkeypatch.setenv("FORGETMI_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"


def test_all_options_out_of_range_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        make_synthetic(tmp_path / "cohort", patients=0, size=8, reference_patients=-1)
    assert len(caught.value.faults) == 3
    assert re.search("size is 8", str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(CohortError, match="not empty"):
        make_synthetic(tmp_path, patients=1, size=16)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


@pytest.mark.parametrize("name", [TABLE, STACK])
def test_a_cached_cohort_in_which_a_bit_flipped_is_made_again(
    tmp_path: Path, key: Path, name: str
) -> None:
    options = SyntheticCohort(patients=4, seed=1, size=16, cache=tmp_path, key_file=key)
    first = options.load()
    (made,) = (tmp_path / "synthetic").iterdir()
    whole = (made / name).read_bytes()
    status = (made / name).stat()

    # The size and the time of change stay, as on a failing disk.
    (made / name).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    os.utime(made / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = options.load()
    assert (made / name).read_bytes() == whole
    assert again.digest == first.digest
