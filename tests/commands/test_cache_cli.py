"""``forgetmi cache``: what is remembered of the patients of a list goes, and what stays is said."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cli import main

PATIENTS = 6


@dataclass
class Hospital:
    """A table of six patients with two films each, and a cache of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def films(self, patient: int) -> list[Path]:
        return [self.folder / f"films/p{patient}-{view}.png" for view in range(2)]

    def write_table(self) -> None:
        lines = ["patient_id,study_id,image_id,image,report,label"]
        for patient in range(PATIENTS):
            for number, film in enumerate(self.films(patient)):
                grade = patient % 2
                lines.append(
                    f"MRN{patient:05d},S{patient}-{number},I{patient}-{number},{film},clear lungs.,{grade}"
                )
        (self.folder / "table.csv").write_text("\n".join(lines) + "\n")

    def run(self, *words: str, cohort: bool = True) -> tuple[int, str, str]:
        options = ["--cohort", "table", "--cohort.path", str(self.folder / "table.csv")]
        code = main([*words, *(options if cohort else [])])
        out, err = self.capture.readouterr()
        return code, out, err

    def list_of(self, *patients: int) -> str:
        path = self.folder / "list.csv"
        names = [f"MRN{patient:05d}" for patient in patients]
        path.write_text("\n".join(["patient_id", *names]) + "\n")
        return str(path)

    def held(self) -> list[bool]:
        """Whether any film of each patient is in the cache; films are stored as they are."""
        content = b"".join(path.read_bytes() for path in self.cache.rglob("*") if path.is_file())
        return [
            any(self.pixels(patient, view) in content for view in range(2))
            for patient in range(PATIENTS)
        ]

    def pixels(self, patient: int, view: int) -> bytes:
        draw = np.random.default_rng(10 * patient + view)
        return (draw.integers(0, 256, (64, 64), np.uint8).astype(np.uint16) * 257).tobytes()


@pytest.fixture
def hospital(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hospital:
    made = Hospital(tmp_path, capsys)
    monkeypatch.setenv("FORGETMI_CACHE", str(made.cache))
    (tmp_path / "films").mkdir()
    for patient in range(PATIENTS):
        for view, film in enumerate(made.films(patient)):
            values = np.frombuffer(made.pixels(patient, view), np.uint16) // 257
            Image.fromarray(values.astype(np.uint8).reshape(64, 64)).save(film)
    made.write_table()
    return made


def test_listed_patients_leave_the_cache(hospital: Hospital) -> None:
    assert hospital.run("cohort", "check")[0] == 0
    assert hospital.held() == [True] * PATIENTS

    code, out, err = hospital.run("cache", "forget", "--forget-list", hospital.list_of(1, 4))
    assert (code, err) == (0, "")
    assert hospital.held() == [True, False, True, True, False, True]
    assert out.count("2 images, 2 decoded films removed") == 2
    assert "Removed: 4 decoded films" in out
    assert "4 entries of the index" in out
    assert "folders of runs" in out

    # Nothing that identifies.
    assert "MRN" not in out
    assert str(hospital.folder) not in out

    # Again, there is nothing left to remove.
    _, out, _ = hospital.run("cache", "forget", "--forget-list", hospital.list_of(1, 4))
    assert "Removed: 0 decoded films" in out


def test_patients_whose_films_are_deleted_leave_the_cache(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    for film in hospital.films(2):
        film.unlink()
    code, out, _ = hospital.run("cache", "forget", "--forget-list", hospital.list_of(2))
    assert code == 0
    assert "Removed: 2 decoded films" in out
    assert hospital.held()[2] is False

    # Nothing is known of them now: it is said that they may have been read under other paths.
    _, out, _ = hospital.run("cache", "forget", "--forget-list", hospital.list_of(2))
    assert "2 image files are gone" in out
    assert "--all" in out


def test_single_studies_leave_the_cache(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    (hospital.folder / "list.csv").write_text("study_id\nS3-1\n")
    code, out, _ = hospital.run(
        "cache", "forget", "--forget-list", str(hospital.folder / "list.csv")
    )
    assert code == 0
    assert "study " in out
    assert "Removed: 1 decoded films" in out


def test_unknown_patients_are_a_fault_and_nothing_is_removed(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    (hospital.folder / "list.csv").write_text("patient_id\nMRN00001\nMRN77777\n")
    code, _, err = hospital.run(
        "cache", "forget", "--forget-list", str(hospital.folder / "list.csv")
    )
    assert code == 2
    assert "not in the cohort" in err
    assert "MRN" not in err
    assert hospital.held() == [True] * PATIENTS


def test_everything_goes_and_the_next_check_makes_it_again(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    code, out, _ = hospital.run("cache", "forget", "--all", cohort=False)
    assert code == 0
    assert "3 files of decoded-films" in out
    assert [path for path in hospital.cache.rglob("*") if path.is_file()] == []
    assert hospital.run("cohort", "check")[0] == 0
    assert hospital.held() == [True] * PATIENTS


@pytest.mark.parametrize("words", [[], ["--all", "--forget-list", "list.csv"]])
def test_what_to_remove_must_be_clear(hospital: Hospital, words: list[str]) -> None:
    hospital.run("cohort", "check")
    code, _, err = hospital.run("cache", "forget", *words)
    assert code == 2
    assert "either --forget-list" in err
    assert hospital.held() == [True] * PATIENTS


def test_show_counts_and_names_no_film(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    code, out, _ = hospital.run("cache", "show", cohort=False)
    assert code == 0
    assert "decoded-films" in out
    assert "     3 files" in out
    assert "images " not in out
    assert "MRN" not in out


def test_an_earlier_version_is_told_about_and_removed_with_any_list(hospital: Hospital) -> None:
    former = hospital.cache / "images" / ("ab" * 8)
    former.mkdir(parents=True)
    for name in ("a.u16", "a.json"):
        (former / name).write_bytes(b"{}")
    code, out, _ = hospital.run("cohort", "check")
    assert code == 0
    assert "earlier version" in out
    assert "earlier version" in hospital.run("cache", "show", cohort=False)[1]

    _, out, _ = hospital.run("cache", "forget", "--forget-list", hospital.list_of(0))
    assert "2 files of an earlier version" in out
    assert not former.exists()
    assert "earlier version" not in hospital.run("cohort", "check")[1]


def test_damage_is_told_by_the_check(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    (shard,) = hospital.cache.rglob("*.u16")
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    assert "1 images or files of the cache were damaged" in hospital.run("cohort", "check")[1]
    assert "damaged" not in hospital.run("cohort", "check")[1]


def test_a_generated_cohort_goes_with_its_patients(hospital: Hospital) -> None:
    options = ("--cohort", "synthetic", "--cohort.patients", "6", "--cohort.size", "32")
    assert hospital.run("cohort", "check", *options, cohort=False)[0] == 0
    (hospital.folder / "list.csv").write_text("patient_id\nP000002\n")
    words = ("--forget-list", str(hospital.folder / "list.csv"), *options)
    code, out, _ = hospital.run("cache", "forget", *words, cohort=False)
    assert code == 0
    assert "files of the generated cohort" in out
    assert not list(hospital.cache.glob("synthetic/*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_one_error(hospital: Hospital) -> None:
    hospital.run("cohort", "check")
    (folder,) = (path for path in (hospital.cache / "decoded-films").iterdir() if path.is_dir())
    folder.chmod(0o500)
    try:
        code, _, err = hospital.run("cache", "forget", "--forget-list", hospital.list_of(0))
    finally:
        folder.chmod(0o700)
    assert code == 2
    assert err.count("error:") == 1
