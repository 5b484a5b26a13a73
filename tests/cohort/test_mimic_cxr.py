from __future__ import annotations

import csv
import gzip
import io
import re
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.mimic_cxr import MimicCxrCohort
from forgetmi.cohort.mimic_files import read_all_data
from forgetmi.cohort.partition import partition
from forgetmi.core.arrays import codes
from forgetmi.core.errors import CohortError

SPLITS = Path(__file__).parents[2] / ".." / "shared" / "data" / "mimic_splits"
PUBLISHED = SPLITS / "mimic-cxr-sub-img-edema-split-manualtest.csv"
HEADER = "subject_id,study_id,dicom_id,edeme_severity,fold"
ROWS = [
    "90000001,95000001,aaaa-01,0,1",
    "90000001,95000002,aaaa-02,2,1",
    "90000001,95000002,aaaa-03,2,1",
    "90000002,95000003,bbbb-01,3,TEST",
    "90000003,95000004,cccc-01,1,5",
]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("k" * 32)
    return path


def write_split(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_bytes("\r\n".join([header, *rows, ""]).encode())
    return path


def make_tree(root: Path, rows: list[str], ending: str = "dcm") -> Path:
    for row in rows:
        subject, study, dicom = row.split(",")[:3]
        folder = root / f"p{subject[:2]}" / f"p{subject}"
        (folder / f"s{study}").mkdir(parents=True, exist_ok=True)
        (folder / f"s{study}" / f"{dicom}.{ending}").touch()
        (folder / f"s{study}.txt").write_text(
            f" FINDINGS: Study {study[-1]}.\n IMPRESSION: No edema in 2 views.\n"
        )
    return root


def write_tsv(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


TSV = [
    "0\t0\t95000001\ta\tfirst .",
    "1\t2\t95000002\ta\tsecond .",
    "2\t3\t95000003\ta\tthird .",
    "3\t1\t95000004\ta\tfourth .",
]


@pytest.mark.parametrize(
    ("layout", "ending", "images"),
    [
        ("files", "dcm", "dicom"),
        ("physionet.org/files/mimic-cxr/2.1.0/files", "dcm", "dicom"),
        ("2.0.0/files", "jpg", "jpg"),
        (".", "dcm", "dicom"),
    ],
)
def test_trees_as_physionet_ships_them(
    tmp_path: Path, key: Path, layout: str, ending: str, images: str
) -> None:
    make_tree(tmp_path / "mimic" / layout, ROWS, ending)
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS),
        root=tmp_path / "mimic",
        images=images,
        key_file=key,
    ).load()  # type: ignore[arg-type]
    assert cohort.label.tolist() == [0, 2, 2, 3, 1]
    assert cohort.split.tolist() == ["train", "train", "train", "holdout", "train"]
    assert cohort.report[0] == "Study 1. No edema in 2 views."
    assert cohort.image[2].endswith(f"p90/p90000001/s95000002/aaaa-03.{ending}")
    assert codes(cohort.study)[0].tolist() == [0, 1, 1, 2, 3]
    assert cohort.task == "grades"
    assert cohort.classes == (
        "no edema",
        "vascular congestion",
        "interstitial edema",
        "alveolar edema",
    )
    assert cohort.notices == ()


def test_both_spellings_and_number_normalisation(tmp_path: Path, key: Path) -> None:
    make_tree(tmp_path / "files", ROWS)
    split = write_split(tmp_path / "split.csv", ROWS, HEADER.replace("edeme", "edema"))
    cohort = MimicCxrCohort(split=split, root=tmp_path, normalise=True, key_file=key).load()
    assert cohort.report[0] == "Study NUMBER . No edema in NUMBER views ."


def test_reports_from_the_authors_table(tmp_path: Path, key: Path) -> None:
    tsv = write_tsv(tmp_path / "all_data.tsv", [*TSV, "4\t-1\t99999999\ta\tof nobody ."])
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS), reports=tsv, images="none", key_file=key
    ).load()
    assert cohort.report.tolist() == ["first .", "second .", "second .", "third .", "fourth ."]
    assert cohort.image.tolist() == [""] * 5
    assert cohort.notices == (
        "5 of 5 rows were found in all_data.tsv (by study_id)",
        "1 reports of all_data.tsv belong to no study of split.csv and are not used",
    )


def test_tab_within_a_text_is_kept_as_a_blank(tmp_path: Path) -> None:
    texts, notices = read_all_data(
        write_tsv(tmp_path / "all_data.tsv", ['0\t0\t95000001\ta\tone\t"two .', *TSV[1:]])
    )
    assert texts["95000001"] == 'one "two .'
    assert notices == ("1 reports hold tabs, which became blanks (all_data.tsv)",)


def test_faults_of_the_authors_table_are_all_told(tmp_path: Path) -> None:
    path = write_tsv(
        tmp_path / "all_data.tsv", [*TSV, "short\tline", "9\t0\t95000001\ta\tanother text ."]
    )
    with pytest.raises(CohortError) as caught:
        read_all_data(path)
    assert [fault.where for fault in caught.value.faults] == [
        "all_data.tsv line 5",
        "all_data.tsv line 6",
    ]
    assert "another text" not in str(caught.value).replace("the study has another text", "")


def test_rows_without_grade_or_report_are_left_out_and_listed(tmp_path: Path, key: Path) -> None:
    rows = [
        *ROWS,
        "90000004,95000005,dddd-01,moderate,2",
        "90000004,95000006,dddd-02,7,2",
        "90000005,95000007,eeee-01,1,3",
    ]
    tsv = write_tsv(
        tmp_path / "all_data.tsv",
        [*TSV, "4\t1\t95000005\ta\tfifth .", "5\t1\t95000006\ta\tsixth ."],
    )
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", rows), reports=tsv, images="none", key_file=key
    ).load()
    assert len(cohort) == 5
    assert cohort.notices == (
        "7 of 8 rows were found in all_data.tsv (by study_id)",
        "2 rows of split.csv have a severity that is no grade (edeme_severity is not 0 to 3) and are left out "
        "(rows 6-7)",
        "1 rows of split.csv have no report and are left out (rows 8)",
    )


def test_unknown_severity_is_kept_as_unknown(tmp_path: Path, key: Path) -> None:
    rows = [ROWS[0].replace(",0,1", ",-1,1"), ROWS[3].replace(",3,TEST", ",,TEST"), ROWS[4]]
    tsv = write_tsv(tmp_path / "all_data.tsv", TSV)
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", rows), reports=tsv, images="none", key_file=key
    ).load()
    assert cohort.label.tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (HEADER, "the row repeats the header"),
        ("90000009,95000009,aaaa-01,0,1", "the image identifier occurs twice"),
        ("90000002,95000003,bbbb-02,3,1", "the patient is in two splits"),
        ("90000009,95000001,ffff-01,0,1", "the study belongs to two patients"),
        ("p9000001,95000001,ffff-01,0,1", "the identifier is malformed"),
        ("90000009,../../etc,ffff-01,0,1", "the identifier is malformed"),
        ("90000009,95000003,ffff-01,0,6", "the split is not known"),
    ],
)
def test_bad_split_lists_are_refused_without_identifiers(
    tmp_path: Path,
    key: Path,
    extra: str,
    message: str,
) -> None:
    tsv = write_tsv(tmp_path / "all_data.tsv", [*TSV, "4\t1\t95000009\ta\tninth ."])
    with pytest.raises(CohortError, match=message) as caught:
        MimicCxrCohort(
            split=write_split(tmp_path / "split.csv", [*ROWS, extra]),
            reports=tsv,
            images="none",
            key_file=key,
        ).load()
    assert "row 6" in str(caught.value)
    assert not any(
        identifier in str(caught.value) for identifier in ("9000000", "9500000", "aaaa", "ffff")
    )


def test_missing_images_are_told_by_row_and_digest(tmp_path: Path, key: Path) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    (root / "p90" / "p90000001" / "s95000002" / "aaaa-03.dcm").unlink()
    (root / "p90" / "p90000002" / "s95000003" / "bbbb-01.dcm").unlink()
    with pytest.raises(CohortError) as caught:
        MimicCxrCohort(
            split=write_split(tmp_path / "split.csv", ROWS), root=tmp_path, key_file=key
        ).load()
    assert [fault.where.split(" (")[0] for fault in caught.value.faults] == [
        "split.csv row 3",
        "split.csv row 4",
    ]
    assert "95000002" not in str(caught.value)


def test_unreadable_report_names_nobody(tmp_path: Path, key: Path) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    report = root / "p90" / "p90000003" / "s95000004.txt"
    report.unlink()
    report.mkdir()
    with pytest.raises(CohortError, match="a report file cannot be read") as caught:
        MimicCxrCohort(
            split=write_split(tmp_path / "split.csv", ROWS), root=tmp_path, key_file=key
        ).load()
    assert "9500000" not in str(caught.value)
    assert caught.value.__suppress_context__


def zip_tree(path: Path, root: Path, inside: str = "files") -> Path:
    """The reports of a tree as PhysioNet packs them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for report in sorted(root.rglob("*.txt")):
            archive.write(report, f"{inside}/{report.relative_to(root)}".lstrip("/"))
    return path


@pytest.mark.parametrize("inside", ["files", "mimic-cxr/2.1.0/files", "../..", ""])
def test_reports_are_read_from_the_archive_in_place(tmp_path: Path, key: Path, inside: str) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    archive = zip_tree(tmp_path / "mimic-cxr-reports.zip", root, inside)
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("../../escaped.txt", "no report")
        packed.writestr("__MACOSX/files/p90/p90000001/._s95000001.txt", b"\0\5\x16\7")
        packed.writestr(f"{inside}/p99/p99000001/s99000001.txt".lstrip("/"), "of nobody")
    split = write_split(tmp_path / "split.csv", ROWS)
    tree, zipped = (
        MimicCxrCohort(split=split, reports=reports, images="none", key_file=key).load()
        for reports in (root, archive)
    )
    assert zipped.report.tolist() == tree.report.tolist()
    assert zipped.digest == tree.digest
    assert zipped.notices == (
        "1 files of macOS (._*, .DS_Store, __MACOSX) are passed over",
        "1 other files of mimic-cxr-reports.zip are no reports and are not read",
        "1 reports of mimic-cxr-reports.zip belong to no study of the split list and are not used",
    )
    assert not list(tmp_path.rglob("escaped.txt"))


def _zip_cases(root: Path, path: Path) -> dict[str, tuple[bytes, str]]:
    """Archives that cannot be read, and the words that say why."""
    good = zip_tree(path, root).read_bytes()
    name = "files/p90/p90000001/s95000001.txt"

    def changed(change: Callable[[zipfile.ZipFile], object]) -> bytes:
        path.write_bytes(good)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")  # a name twice
            change(archive)
        return path.read_bytes()

    def writes(name: str, content: str) -> Callable[[zipfile.ZipFile], object]:
        return lambda archive: archive.writestr(name, content)

    encrypted = bytearray(good)
    encrypted[good.index(b"PK\1\2") + 8] |= 1
    damaged = bytearray(good)
    damaged[good.index(name.encode()) + len(name) + 3] ^= 0xFF
    link = zipfile.ZipInfo(name.replace("95000001", "95000009"))
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {
        "cut": (good[: len(good) // 2], "cut off"),
        "encrypted": (bytes(encrypted), "it is encrypted"),
        "damaged": (bytes(damaged), "damaged"),
        "twice": (changed(writes(name, "again")), "1 reports are in it twice"),
        "two trees": (changed(writes(f"old/{name}", "again")), "2 folders in it hold p10"),
        "large": (
            changed(writes(name.replace("95000001", "95000009"), "x" * 2**21)),
            "more than 1,048,576 bytes",
        ),
        "link": (changed(lambda archive: archive.writestr(link, "/etc/passwd")), "it is a link"),
        "other": (_zip_of("readme.txt"), "the archive holds no report"),
    }


def _zip_of(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "text")
    return content.getvalue()


def test_archives_that_cannot_be_read_say_why_and_name_nobody(tmp_path: Path, key: Path) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    split = write_split(tmp_path / "split.csv", [*ROWS, "90000001,95000009,eeee-01,1,3"])
    for case, (content, why) in _zip_cases(root, tmp_path / "good.zip").items():
        archive = tmp_path / "reports.zip"
        archive.write_bytes(content)
        with pytest.raises(CohortError, match=re.escape(why)) as caught:
            MimicCxrCohort(split=split, reports=archive, images="none", key_file=key).load()
        assert len(caught.value.faults) == 1, case
        assert "9500000" not in str(caught.value), case
        assert "9000000" not in str(caught.value), case


def test_reports_of_other_encodings_are_counted(tmp_path: Path, key: Path) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    folder = root / "p90" / "p90000001"
    (folder / "s95000001.txt").write_bytes("FINDINGS: œdème.".encode("utf-16"))
    (folder / "s95000002.txt").write_bytes("FINDINGS: œdème.".encode("cp1252"))
    (root / "p90" / "p90000003" / "s95000004.txt").write_bytes("\ufeffFINDINGS: œdème.".encode())
    split = write_split(tmp_path / "split.csv", ROWS)
    cohort = MimicCxrCohort(split=split, root=root, key_file=key).load()
    assert cohort.report[0] == cohort.report[4] == "œdème."
    assert cohort.report[1] == "\ufffdd\ufffdme."
    assert cohort.notices[:2] == (
        "1 report files are not UTF-8; what cannot be read became U+FFFD",
        "1 report files are UTF-16 and were read as such",
    )

    # All that cannot be read at once, by row.
    (folder / "s95000001.txt").write_bytes(b"FIND\0INGS")
    (folder / "s95000002.txt").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(CohortError) as caught:
        MimicCxrCohort(split=split, root=root, key_file=key).load()
    assert [fault.why for fault in caught.value.faults] == [
        "it is no text: it holds NUL characters",
        "it has more than 1 MiB, the most that is read",
    ]
    assert [fault.where.split(" (")[0] for fault in caught.value.faults] == [
        "split.csv row 1",
        "split.csv row 2",
    ]


def test_folders_of_macos_are_no_second_tree(tmp_path: Path, key: Path) -> None:
    make_tree(tmp_path / "mimic" / "files", ROWS)
    make_tree(tmp_path / "mimic" / "__MACOSX", ROWS)
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS), root=tmp_path / "mimic", key_file=key
    ).load()
    assert "__MACOSX" not in "".join(cohort.image)


def test_half_of_the_tree_behind_a_link_is_read(tmp_path: Path, key: Path) -> None:
    root = make_tree(tmp_path / "files", ROWS)
    (root / "p90" / "p90000003").rename(tmp_path / "elsewhere")
    (root / "p90" / "p90000003").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS), root=root, key_file=key
    ).load()
    assert len(cohort) == 5


def test_folder_faults(tmp_path: Path, key: Path) -> None:
    split = write_split(tmp_path / "split.csv", ROWS)
    with pytest.raises(CohortError, match="no image folder is given"):
        MimicCxrCohort(split=split, key_file=key).load()
    with pytest.raises(CohortError, match="no reports are given"):
        MimicCxrCohort(split=split, images="none", key_file=key).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match="no folder p10"):
        MimicCxrCohort(split=split, root=tmp_path / "empty", key_file=key).load()
    for version in ("2.0.0", "2.1.0"):
        make_tree(tmp_path / "both" / version / "files", ROWS)
    with pytest.raises(CohortError, match="2 folders hold p10"):
        MimicCxrCohort(split=split, root=tmp_path / "both", key_file=key).load()
    with pytest.raises(CohortError, match="column 'fold' is missing"):
        MimicCxrCohort(
            split=write_split(tmp_path / "a.csv", ["1"], "subject_id"), images="none", key_file=key
        ).load()
    empty = write_tsv(tmp_path / "all_data.tsv", ["0\t0\t95000077\ta\tof nobody ."])
    with pytest.raises(CohortError, match="none of 5 rows is in the table"):
        MimicCxrCohort(split=split, reports=empty, images="none", key_file=key).load()
    for report in (tmp_path / "both" / "2.0.0").rglob("*.txt"):
        report.unlink()
    with pytest.raises(CohortError, match="no row of the split list has a grade and a report"):
        MimicCxrCohort(split=split, root=tmp_path / "both" / "2.0.0", key_file=key).load()


def test_grades_from_reports(tmp_path: Path, key: Path) -> None:
    tsv = write_tsv(
        tmp_path / "all_data.tsv",
        [
            "0\t0\t95000001\ta\tNo pulmonary edema .",
            "1\t2\t95000002\ta\tInterstitial opacities .",
            "2\t3\t95000003\ta\tMild congestion .",
            "3\t1\t95000004\ta\tPneumonia .",
        ],
    )
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS),
        reports=tsv,
        images="none",
        labels="report",
        key_file=key,
    ).load()
    assert cohort.label.tolist() == [0, 2, 2, 1, -1]
    assert (
        cohort.notices[1]
        == "grades were read from the reports: 2 of 4 studies have the split list's, 1 have none"
    )


@pytest.mark.parametrize("name", ["chexpert.csv", "negbio.csv.gz"])
def test_findings_as_mimic_cxr_jpg_publishes_them(tmp_path: Path, key: Path, name: str) -> None:
    values = {"95000001": "1.0", "95000002": "0.0", "95000003": "-1.0", "95999999": "1.0"}
    lines = [",".join(("subject_id", "study_id", *CHEXPERT))]
    for study, value in values.items():
        cells = [value] * 14
        cells[CHEXPERT.index("No Finding")] = "" if study == "95000003" else value
        lines.append(",".join(("90000001", study, *cells)))
    content = ("\n".join(lines) + "\n").encode()
    path = tmp_path / f"mimic-cxr-2.0.0-{name}"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    base = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", [*ROWS[:-1], ROWS[-1].replace(",1,5", ",x,5")]),
        reports=write_tsv(tmp_path / "all_data.tsv", TSV),
        images="none",
        findings=path,
        key_file=key,
    )
    cohort = base.load()
    assert (cohort.task, cohort.classes) == ("findings", CHEXPERT)
    edema, none = CHEXPERT.index("Edema"), CHEXPERT.index("No Finding")
    expected = np.array([1, 0, 0, np.nan, np.nan], np.float32)
    assert np.array_equal(cohort.label[:, edema], expected, equal_nan=True)
    # A blank is no "No Finding"; of a study that the table does not have, nothing is known
    expected = np.array([1, 0, 0, 0, np.nan], np.float32)
    assert np.array_equal(cohort.label[:, none], expected, equal_nan=True)
    assert f"4 of 5 rows were found in {path.name} (by study_id)" in cohort.notices
    assert any("No Finding 1" in one and "absent" in one for one in cohort.notices)

    one = replace(base, uncertain="one", only_findings=("Edema",)).load()
    assert one.label[:, 0].tolist()[:4] == [1, 0, 0, 1]
    assert one.classes == ("Edema",)
    with pytest.raises(CohortError, match="Odema"):
        replace(base, only_findings=("Odema",)).load()


def test_subgroups_from_metadata(tmp_path: Path, key: Path) -> None:
    (tmp_path / "metadata.csv").write_text(
        "dicom_id,ViewPosition\naaaa-01,PA\nbbbb-01,AP\nzzzz,LL\n"
    )
    (tmp_path / "patients.csv").write_text("subject_id,gender\n90000001,F\n")
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS),
        reports=write_tsv(tmp_path / "all_data.tsv", TSV),
        images="none",
        metadata=tmp_path / "metadata.csv",
        patients=tmp_path / "patients.csv",
        key_file=key,
    ).load()
    assert cohort.subgroups["view"].tolist() == ["PA", "", "", "AP", ""]
    assert cohort.subgroups["sex"].tolist() == ["F", "F", "F", "", ""]
    assert cohort.notices[-2:] == (
        "2 of 5 rows were found in metadata.csv (by dicom_id)",
        "3 of 5 rows were found in patients.csv (by subject_id)",
    )


@pytest.fixture
def published(tmp_path: Path, key: Path) -> MimicCxrCohort:
    if not PUBLISHED.exists():
        pytest.skip("the published split list is not beside the repository")
    with PUBLISHED.open(newline="") as file:
        studies = {row["study_id"]: row["edeme_severity"] for row in csv.DictReader(file)}
    tsv = write_tsv(
        tmp_path / "all_data.tsv",
        [
            f"{i}\t{grade}\t{study}\ta\tText {i} ."
            for i, (study, grade) in enumerate(studies.items())
        ],
    )
    return MimicCxrCohort(split=PUBLISHED, reports=tsv, images="none", key_file=key)


def test_published_split_list_has_its_documented_counts(
    published: MimicCxrCohort, key: Path
) -> None:
    cohort = published.load()
    assert len(cohort) == 6742
    assert len(set(cohort.patient)) == 1663
    assert len(set(cohort.study)) == 6084
    assert Counter(cohort.label.tolist()) == {0: 2883, 1: 1511, 2: 1709, 3: 639}
    test = cohort.split == "holdout"
    assert int(test.sum()) == 531
    assert len(set(cohort.patient[test])) == 156
    assert Counter(cohort.label[test].tolist()) == {0: 236, 1: 109, 2: 117, 3: 69}
    assert set(cohort.split[~test]) == {"train"}
    assert cohort.notices == ("6742 of 6742 rows were found in all_data.tsv (by study_id)",)
    one_row_a_study = np.unique(cohort.study.astype(str), return_index=True)[1]
    studies = Counter(Counter(cohort.patient[one_row_a_study].tolist()).values())
    assert (studies[1], studies[2], studies[33]) == (489, 325, 1)


@pytest.mark.parametrize(
    ("percent", "images", "patients"), [(3, 201, 16), (6, 401, 32), (10, 674, 60)]
)
def test_published_forget_lists(
    published: MimicCxrCohort, key: Path, percent: int, images: int, patients: int
) -> None:
    cohort = published.load()
    request = read_forget_list(
        SPLITS / f"forget_set_{percent}per.csv", cohort=cohort, key=b"k" * 32
    )
    sets = partition(cohort, forget=request, validation=0.1)
    assert len(sets.forget) == images
    assert len(request.patients) == patients
    assert len(sets.holdout) == 531
    assert len(sets.retain) + len(sets.validation) == 6211 - images
    share = len(np.unique(sets.patient[sets.validation])) / (1507 - patients)
    assert share == pytest.approx(0.1, abs=0.01)


def test_tables_packed_as_physionet_has_them(tmp_path: Path, key: Path) -> None:
    tables = {
        "split.csv": "\n".join([HEADER, *ROWS]),
        "all_data.tsv": "\n".join(TSV),
        "metadata.csv": "dicom_id,ViewPosition\naaaa-01,PA\n",
        "patients.csv": "subject_id,gender\n90000001,F\n",
    }
    for name, content in tables.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    cohort = MimicCxrCohort(
        split=tmp_path / "split.csv.gz",
        reports=tmp_path / "all_data.tsv.gz",
        images="none",
        metadata=tmp_path / "metadata.csv.gz",
        patients=tmp_path / "patients.csv.gz",
        key_file=key,
    ).load()
    assert cohort.report[0] == "first ."
    assert cohort.subgroups["view"].tolist() == ["PA", "", "", "", ""]
    assert cohort.subgroups["sex"].tolist() == ["F", "F", "F", "", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dicom_id,ViewPosition\nzzzz,PA\n", "none of 5 rows is in the table"),
        ("dicom_id,ViewPosition\naaaa-01,PA\naaaa-01,AP\n", "another value in an earlier row"),
        ("aaaa-01,PA\nbbbb-01,AP\n", "the first line looks like data"),
        ("dicom_id,view\naaaa-01,PA\n", "column 'ViewPosition' is missing"),
    ],
)
def test_joins_refused(tmp_path: Path, key: Path, content: str, message: str) -> None:
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(CohortError, match=message) as caught:
        MimicCxrCohort(
            split=write_split(tmp_path / "split.csv", ROWS),
            reports=write_tsv(tmp_path / "all_data.tsv", TSV),
            images="none",
            metadata=tmp_path / "metadata.csv",
            key_file=key,
        ).load()
    assert "aaaa" not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "message"),
    [("nan", "is blank"), ("90000009.0", "ends in .0"), ("９０００００09", "malformed")],
)
def test_identifiers_that_are_none(tmp_path: Path, key: Path, cell: str, message: str) -> None:
    split = write_split(tmp_path / "split.csv", [*ROWS, f"{cell},95000009,ffff-01,0,1"])
    with pytest.raises(CohortError, match=message) as caught:
        MimicCxrCohort(split=split, images="none", reports=tmp_path, key_file=key).load()
    assert "row 6" in str(caught.value)
    assert "90000009" not in str(caught.value)


def test_folders_behind_links_are_followed(tmp_path: Path, key: Path) -> None:
    make_tree(tmp_path / "disk" / "files", ROWS)
    (tmp_path / "mimic").mkdir()
    (tmp_path / "mimic" / "files").symlink_to(tmp_path / "disk" / "files")
    patient = tmp_path / "disk" / "files" / "p90" / "p90000001"
    patient.rename(tmp_path / "moved")
    patient.symlink_to(tmp_path / "moved")
    cohort = MimicCxrCohort(
        split=write_split(tmp_path / "split.csv", ROWS), root=tmp_path / "mimic", key_file=key
    ).load()
    assert len(cohort) == 5
