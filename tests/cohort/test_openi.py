from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cohort.openi import OpeniCohort
from forgetmi.cohort.openi_reports import coded_grade, read_openi, read_openi_reports
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
    assert cohort.task == "classes"
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
    assert cohort.task == "grades"
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
        "1 images in the image folder belong to no report and are not used",
    )


def test_bad_input_is_refused_at_once(folder: Path, key: Path, tmp_path: Path) -> None:
    (folder / "a.xml").write_text("<eCitation>")
    (folder / "b.xml").write_text("<other/>")
    (folder / "c.xml").write_text(report(2, "again", "", ()))
    with pytest.raises(CohortError) as caught:
        OpeniCohort(path=folder, key_file=key).load()
    assert [fault.where for fault in caught.value.faults] == [
        f"{folder.name}, XML file {number}" for number in (5, 6, 7)
    ]
    for path in (tmp_path / "absent.tar", tmp_path):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CohortError):
            read_openi_reports(tmp_path / "empty" if path == tmp_path else path)


def test_empty_image_folder_is_refused(folder: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(CohortError, match="holds no image of the collection"):
        OpeniCohort(path=folder, images=tmp_path / "none", key_file=key).load()


def test_half_of_a_folder_behind_a_link_is_read(folder: Path, key: Path, tmp_path: Path) -> None:
    # Reports and images, the second half of each elsewhere.
    for name in ("reports", "images"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
    (folder / "2.xml").rename(tmp_path / "elsewhere" / "reports" / "2.xml")
    (folder / "more").symlink_to(tmp_path / "elsewhere" / "reports", target_is_directory=True)
    (folder / "in_a_circle").symlink_to(folder, target_is_directory=True)
    images = tmp_path / "png"
    images.mkdir()
    (images / "CXR1_1_IM-0001-3001.png").touch()
    (tmp_path / "elsewhere" / "images" / "CXR2_IM-0652-1001.png").touch()
    (images / "more").symlink_to(tmp_path / "elsewhere" / "images", target_is_directory=True)
    (images / "CXR1_1_IM-0001-4001.png").symlink_to(tmp_path / "nowhere.png")
    (images / "itself").symlink_to(images / "itself")

    cohort = OpeniCohort(path=folder, images=images, key_file=key).load()
    assert [Path(image).name[:4] for image in cohort.image] == ["CXR1", "CXR2"]
    assert "2 links lead nowhere and are passed over" in cohort.notices
    assert len(read_openi_reports(folder)) == 4


def test_what_lies_beside_reports_is_passed_over_and_counted(folder: Path, tmp_path: Path) -> None:
    before = read_openi_reports(folder)
    (folder / "1.xml").rename(folder / "1.XML")
    (folder / "._2.xml").write_bytes(b"\0\5\x16\7")
    (folder / "readme.txt").write_text("read me")
    (folder / "__MACOSX" / "deep").mkdir(parents=True)
    (folder / "__MACOSX" / "deep" / "._3.xml").write_bytes(b"\0\5\x16\7")
    found = read_openi(folder)
    assert found.reports == before
    assert found.notices == (
        "2 files of macOS (._*, .DS_Store, __MACOSX) are passed over",
        "1 files beside the reports are no XML and are not read",
    )

    # The same in both kinds of archive.
    archives = (tmp_path / "reports.zip", tmp_path / "reports.tar")
    with zipfile.ZipFile(archives[0], "w") as packed, tarfile.open(archives[1], "w") as tape:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
                tape.add(path, str(path.relative_to(folder)))
    for archive in archives:
        assert read_openi(archive) == found


def test_images_beside_the_collection_are_counted(folder: Path, key: Path, tmp_path: Path) -> None:
    images = tmp_path / "png"
    (images / "again").mkdir(parents=True)
    for name in ("CXR2_IM-0652-1001.png", "again/CXR2_IM-0652-1001.PNG", "other.png", "._x.png"):
        (images / name).touch()
    cohort = OpeniCohort(path=folder, images=images, key_file=key).load()
    assert cohort.image.tolist() == [str(images / "CXR2_IM-0652-1001.png")]
    assert set(cohort.notices) >= {
        "1 files of macOS (._*, .DS_Store, __MACOSX) are passed over",
        "1 files in the image folder are not named as images and are not used",
        "1 images are in the image folder again; the first file of each is used",
    }


def test_markup_inside_text_and_repeated_sections_are_kept(tmp_path: Path) -> None:
    text = report(1, "Heart is <b>very</b> large.<br/>H<sub>2</sub>O &amp; <p>edema</p>.", "", ())
    again = '</MeSH><AbstractText Label="Findings:"><i>More.</i></AbstractText>'
    other = '<AbstractText Label="ADDENDUM">Lost?</AbstractText>'
    (tmp_path / "1.xml").write_text(text.replace("</MeSH>", again + other, 1))
    found = read_openi(tmp_path)
    assert found.reports[0].findings == "Heart is very large. H2O & edema . More."
    assert found.notices == ("1 sections of reports have other names and are not read",)


_LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 9))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f'<!DOCTYPE x [<!ENTITY a0 "ha">{_LAUGHS}]><x>&a8;</x>', "declares entities"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "declares entities"),
        ('<!DOCTYPE x SYSTEM "x.dtd"><eCitation><uId id="CXR1"/>&a;</eCitation>', "entities"),
        ("<x>" * 1000 + "</x>" * 1000, "more than 64 deep"),
        ("<x>" + " " * 2**20 + "</x>", "more than 1 MiB"),
        ("", "the file is empty"),
        ("<x>", "not well-formed"),
        ("<?xml version='1.0' encoding='shift_jis'?><x/>", "not well-formed"),
        ("<?xml version='1.0' encoding='nothing'?><x/>", "not well-formed"),
        (f'<eCitation><uId id="CXR{"1" * 5000}"/></eCitation>', "no uId"),
        ("<other/>", "no uId"),
    ],
)
def test_hostile_xml_is_refused_in_one_line(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(CohortError, match=why) as caught:
        read_openi(tmp_path)
    assert len(caught.value.faults) == 1


def _tape(path: Path, name: str, **of_member: object) -> Path:
    """A tar archive with one member that has no content."""
    with tarfile.open(path, "w") as tape:
        member = tarfile.TarInfo(name)
        for key, value in of_member.items():
            setattr(member, key, value)
        tape.addfile(member)
    return path


def test_damaged_and_hostile_archives_are_refused(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "good.tar.gz", "w:gz") as tape:
        tape.add(folder, "reports")
    good = (tmp_path / "good.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(good[: len(good) // 2])
    (tmp_path / "flipped.tar.gz").write_bytes(good[:40] + bytes([good[40] ^ 255]) + good[41:])
    (tmp_path / "empty.tar").write_bytes(b"")
    _tape(tmp_path / "away.tar", "1.xml", type=tarfile.SYMTYPE, linkname="../../etc/passwd")
    _tape(tmp_path / "round.tar", "1.xml", type=tarfile.SYMTYPE, linkname="1.xml")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("1.xml", " " * 2**24)
    whole = (tmp_path / "bomb.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    for path in sorted(tmp_path.glob("*.*")):
        if path.name != "good.tar.gz":
            with pytest.raises(CohortError) as caught:
                read_openi(path)
            assert len(caught.value.faults) == 1, path.name
    assert len(read_openi_reports(tmp_path / "good.tar.gz")) == 4


def test_an_archive_that_inflates_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetmi.cohort.archives.MOST_TAR", 2**20)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tape:
        member = tarfile.TarInfo("readme.txt")
        member.size = 2**21
        tape.addfile(member, io.BytesIO(bytes(2**21)))
    with pytest.raises(CohortError, match="more than 1 MiB when unpacked"):
        read_openi(tmp_path / "bomb.tar.gz")


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
