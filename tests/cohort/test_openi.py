from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cohort.openi import OpeniCohort
from forgetmi.cohort.openi_reports import coded_grade, read_openi_reports
from forgetmi.core.errors import CohortError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "openi_reports" / "reports.tar.gz"


def report(
    number: int,
    findings: str,
    impression: str,
    codes: tuple[str, ...],
    images: tuple[str, ...] = (),
) -> str:
    return (
        f'<eCitation><uId id="CXR{number}"/><AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">{impression}</AbstractText><MeSH>'
        + "".join(f"<major>{code}</major>" for code in codes)
        + "</MeSH>"
        + "".join(f'<parentImage id="{image}"/>' for image in images)
        + "</eCitation>"
    )


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("k" * 32)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "xml"
    folder.mkdir()
    reports = {
        1: (
            "Lungs are clear.",
            "No acute disease.",
            ("normal",),
            ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"),
        ),
        2: (
            "Large heart.",
            "Mild interstitial edema.",
            ("Pulmonary Edema/interstitial/mild", "Cardiomegaly"),
            ("CXR2_IM-0652-1001",),
        ),
        3: ("", "", ("No Indexing",), ("CXR3_IM-1384-1001",)),
        10: ("", "Vascular congestion.", ("Pulmonary Congestion",), ()),
    }
    for number, parts in reports.items():
        (folder / f"{number}.xml").write_text(report(number, *parts))
    return folder


def test_reports_alone_give_one_row_a_report(folder: Path, key: Path) -> None:
    cohort = OpeniCohort(path=folder, key_file=key).load()
    assert cohort.report.tolist() == [
        "Lungs are clear.\n\nNo acute disease.",
        "Large heart.\n\nMild interstitial edema.",
        "Vascular congestion.",
    ]
    assert cohort.label.tolist() == [0, 1, 1]
    assert cohort.classes == ("normal", "abnormal")
    assert not cohort.ordinal
    assert cohort.image.tolist() == ["", "", ""]
    assert len(set(cohort.patient)) == len(set(cohort.study)) == 3
    assert cohort.notices == ("1 reports have neither findings nor impression and are left out",)


def test_archive_and_folder_give_the_same_cohort(folder: Path, key: Path, tmp_path: Path) -> None:
    archive = tmp_path / "reports.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "ecgen-radiology")
    one, two = (OpeniCohort(path=path, key_file=key).load() for path in (folder, archive))
    assert one.digest == two.digest
    assert one.patient.tolist() == two.patient.tolist()


@pytest.mark.parametrize("labels", ["coded_edema", "report_edema"])
def test_edema_grades(folder: Path, key: Path, labels: str) -> None:
    cohort = OpeniCohort(path=folder, key_file=key, labels=labels).load()  # type: ignore[arg-type]
    assert cohort.label.tolist() == [0, 2, 1]
    assert cohort.ordinal
    assert len(cohort.classes) == 4


def test_images_are_matched_by_report_and_image_number(
    folder: Path, key: Path, tmp_path: Path
) -> None:
    images = tmp_path / "png"
    (images / "deep").mkdir(parents=True)
    grey = Image.fromarray(np.zeros((4, 4), np.uint8))
    grey.save(images / "CXR1_1_IM-0001-3001.png")
    grey.save(images / "deep" / "1_IM-0001-4001.dcm.png")
    grey.save(images / "CXR99_IM-0652-1001.png")
    cohort = OpeniCohort(path=folder, images=images, key_file=key).load()
    assert [Path(image).name for image in cohort.image] == [
        "CXR1_1_IM-0001-3001.png",
        "1_IM-0001-4001.dcm.png",
    ]
    assert len(set(cohort.study)) == 1
    assert cohort.notices == (
        "1 reports have neither findings nor impression and are left out",
        "1 images that reports name are not in the image folder and are left out",
        "2 reports have no image in the image folder and are left out",
    )


def test_bad_input_is_refused_at_once(folder: Path, key: Path, tmp_path: Path) -> None:
    (folder / "a.xml").write_text("<eCitation>")
    (folder / "b.xml").write_text("<other/>")
    (folder / "c.xml").write_text(report(2, "again", "", ()))
    with pytest.raises(CohortError) as caught:
        OpeniCohort(path=folder, key_file=key).load()
    assert [fault.where for fault in caught.value.faults] == ["a.xml", "b.xml", "c.xml"]
    for path in (tmp_path / "absent.tar", tmp_path):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CohortError):
            read_openi_reports(tmp_path / "empty" if path == tmp_path else path)


def test_empty_image_folder_is_refused(folder: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(CohortError, match="holds no image of the collection"):
        OpeniCohort(path=folder, images=tmp_path / "none", key_file=key).load()


@pytest.mark.parametrize(
    ("codes", "grade"),
    [
        (("normal",), 0),
        (("Cardiomegaly/mild",), 0),
        (("Pulmonary Congestion/mild",), 1),
        (("Pulmonary Edema",), 2),
        (("Pulmonary Edema/interstitial", "Pulmonary Congestion"), 2),
        (("Pulmonary Edema/pulmonary alveoli",), 3),
        (("Pulmonary Edema/severe",), 3),
        (("No Indexing",), -1),
        ((), -1),
    ],
)
def test_coded_grade(codes: tuple[str, ...], grade: int) -> None:
    assert coded_grade(codes) == grade


@pytest.mark.skipif(not SHARED.exists(), reason="the Open-i reports are not beside the repository")
def test_whole_collection(key: Path) -> None:
    reports = read_openi_reports(SHARED)
    assert len(reports) == 3955
    assert sum(not one.text for one in reports) == 28
    assert sum(len(one.images) for one in reports) == 7470
    assert sum(one.codes == ("normal",) for one in reports) == 1391
    cohort = OpeniCohort(path=SHARED, key_file=key).load()
    assert len(cohort) == 3927
    assert cohort.notices[0] == "28 reports have neither findings nor impression and are left out"
    coded = np.array([coded_grade(one.codes) for one in reports])
    assert [int(np.sum(coded == grade)) for grade in (1, 2, 3)] == [54, 45, 1]
