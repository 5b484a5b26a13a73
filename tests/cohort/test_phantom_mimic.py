from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from forgetmi.cohort.edema_labels import edema_grade
from forgetmi.cohort.files import read_strings
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.mimic_cxr import MimicCxrCohort
from forgetmi.cohort.partition import partition
from forgetmi.cohort.phantom.mimic import MimicPhantom, make_mimic_phantom
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError
from forgetmi.data.decode import read_image


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> MimicPhantom:
    return make_mimic_phantom(tmp_path_factory.mktemp("mimic") / "tree", patients=12, size=(72, 88))


def read(phantom: MimicPhantom, tmp_path: Path, **options: object) -> Cohort:
    (tmp_path / "key").write_text("k" * 32)
    return MimicCxrCohort(
        split=phantom.split, **{"root": phantom.root, "key_file": tmp_path / "key", **options}
    ).load()


def digest(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content.update(
            str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b"")
        )
    return content.hexdigest()


def test_tree_is_read_like_the_real_one(phantom: MimicPhantom, tmp_path: Path) -> None:
    cohort = read(phantom, tmp_path, metadata=phantom.metadata, patients=phantom.patients)
    rows = read_strings(phantom.split)
    assert len(cohort) == len(rows)
    assert cohort.label.tolist() == [int(grade) for grade in rows.columns["edeme_severity"]]
    assert len(set(cohort.patient)) == 12
    assert set(cohort.split) == {"train", "holdout"}
    assert set(cohort.subgroups["sex"]) <= {"F", "M"}
    assert set(cohort.subgroups["view"]) <= {"AP", "PA"}
    image = read_image(cohort.image[0])
    assert image.pixels.shape == (72, 88)
    assert image.pixels.std() > 0.05


def test_identifiers_cannot_be_those_of_mimic(phantom: MimicPhantom) -> None:
    rows = read_strings(phantom.split).columns
    assert all(
        len(one) == 8 and one.startswith("9")
        for name in ("subject_id", "study_id")
        for one in rows[name]
    )
    assert all(len(one) == 44 and one.count("-") == 4 for one in rows["dicom_id"])


def test_both_forms_of_reports_agree(phantom: MimicPhantom, tmp_path: Path) -> None:
    one = read(phantom, tmp_path, normalise=True)
    two = read(phantom, tmp_path, reports=phantom.all_data)
    assert one.report.tolist() == two.report.tolist()


def test_reports_tell_the_grade_but_not_always(phantom: MimicPhantom, tmp_path: Path) -> None:
    cohort = read(phantom, tmp_path, images="none")
    told = np.array([edema_grade(text, heart_failure=True) for text in cohort.report])
    known = told >= 0
    assert known.mean() > 0.6
    assert np.mean(told[known] == cohort.label[known]) > 0.7


def test_dicom_is_16_bit_monochrome_and_uncompressed(phantom: MimicPhantom) -> None:
    image = pydicom.dcmread(next(phantom.root.rglob("*.dcm")))
    assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (image.PhotometricInterpretation, image.BitsAllocated, image.BitsStored) == (
        "MONOCHROME2",
        16,
        16,
    )
    assert image.pixel_array.dtype == np.uint16
    assert image.pixel_array.max() > 2**15


def test_forget_lists_hold_whole_patients_and_are_nested(
    phantom: MimicPhantom, tmp_path: Path
) -> None:
    cohort = read(phantom, tmp_path, images="none")
    rows = read_strings(phantom.split).columns
    chosen = {
        percent: set(read_strings(path).columns["subject_id"])
        for percent, path in phantom.forget.items()
    }
    assert chosen[3] <= chosen[6] <= chosen[10]
    for percent, path in phantom.forget.items():
        listed = read_strings(path).columns
        assert "edema_severity" in listed
        assert sorted(listed["dicom_id"]) == sorted(
            dicom
            for subject, dicom in zip(rows["subject_id"], rows["dicom_id"], strict=True)
            if subject in chosen[percent]
        )
        request = read_forget_list(path, cohort=cohort, key=b"k" * 32)
        assert len(partition(cohort, forget=request, validation=0.2).forget) == len(
            listed["dicom_id"]
        )


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    paths = [
        make_mimic_phantom(tmp_path / name, patients=6, size=(64, 64), seed=seed).root
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    one, two, other = (digest(path) for path in paths)
    assert one == two
    assert one != other


def test_compressed_and_fewer_bits_and_jpeg(tmp_path: Path) -> None:
    plain, rle = (
        make_mimic_phantom(
            tmp_path / f"{compressed}", patients=6, size=(64, 64), bits=12, compressed=compressed
        )
        for compressed in (False, True)
    )
    for path in plain.root.rglob("*.dcm"):
        image = pydicom.dcmread(rle.root / path.relative_to(plain.root))
        assert image.file_meta.TransferSyntaxUID == RLELossless
        assert image.BitsStored == 12
        assert np.array_equal(image.pixel_array, pydicom.dcmread(path).pixel_array)
        assert image.pixel_array.max() < 2**12
    jpeg = make_mimic_phantom(tmp_path / "jpeg", patients=6, size=(64, 64), bits=12, images="jpg")
    cohort = read(jpeg, tmp_path, images="jpg")
    first = (
        pydicom.dcmread(next(plain.root.rglob(f"{Path(cohort.image[0]).stem}.dcm"))).pixel_array
        / 2**12
    )
    assert np.abs(read_image(cohort.image[0]).pixels - first).mean() < 0.02


def test_given_split_list_is_followed(tmp_path: Path) -> None:
    split = tmp_path / "given.csv"
    split.write_text(
        "subject_id,study_id,dicom_id,edema_severity,fold\n90000077,95000001,ab-1,3,1\n"
        "90000077,95000001,ab-2,3,1\n90000077,95000002,ab-3,0,1\n90000078,95000003,cd-1,0,TEST\n"
    )
    phantom = make_mimic_phantom(tmp_path / "tree", split=split, size=(64, 64))
    assert phantom.split.read_bytes() == split.read_bytes()
    cohort = read(phantom, tmp_path)
    assert cohort.label.tolist() == [3, 3, 0, 0]
    assert cohort.report[0] == cohort.report[1] != cohort.report[2]


def test_bad_options_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        make_mimic_phantom(tmp_path / "tree", patients=1, bits=17, size=(8, 64))
    assert len(caught.value.faults) == 3
    split = tmp_path / "given.csv"
    split.write_text(
        "subject_id,study_id,dicom_id,edema_severity,fold\n90000077,95000001,ab-1,9,1\n"
    )
    with pytest.raises(CohortError, match="form of a split list"):
        make_mimic_phantom(tmp_path / "tree", split=split)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.csv"]
    (tmp_path / "tree").mkdir()
    with pytest.raises(CohortError, match="exists already"):
        make_mimic_phantom(tmp_path / "tree")
