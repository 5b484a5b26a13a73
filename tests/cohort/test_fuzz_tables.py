"""Whatever stands in tables, lists and mapping files: cohorts and requests, or clear errors that quote nothing."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.mimic_cxr import MimicCxrCohort
from forgetmi.cohort.table import TableCohort
from forgetmi.core.errors import CohortError, EvidenceError, Fault
from forgetmi.requests.subjects import read_subjects
from tests.contract.canary_files import (
    CLASSES,
    HEADER,
    LISTS,
    MAPPINGS,
    TABLES,
    rows,
    text,
    write_films,
)
from tests.fuzzing import damaged, fuzz

pytestmark = pytest.mark.slow

SOUND = text(rows()).encode()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cohort.csv", content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_films(folder)
    return folder


def reader(path: Path, films: Path, **options: Any) -> TableCohort:
    return TableCohort(path, image_root=films, classes=CLASSES, group="family", **options)


def read_or_refused(read: Callable[[], object]) -> None:
    """A reader returns, or raises an error of this package that quotes no cell."""
    faults: tuple[Fault, ...] = ()
    try:
        read()
    except (CohortError, EvidenceError) as error:
        faults = error.faults
    for fault in faults:
        assert "\n" not in str(fault)
        assert "qzxk" not in str(fault).lower()


PACKED: dict[str, bytes] = {
    "csv": SOUND,
    "parquet": bytes(TABLES["parquet"]()),  # type: ignore[arg-type]
    "gzip": gzip.compress(SOUND),
    "zip": zipped(SOUND),
}


@pytest.mark.parametrize("kind", PACKED)
def test_fuzz_tables(kind: str, films: Path, tmp_path: Path) -> None:
    path = tmp_path / "cohort"

    @given(damaged(PACKED[kind]))
    def tables_are_read_or_refused(content: bytes) -> None:
        path.write_bytes(content)
        read_or_refused(reader(path, films).load)

    fuzz(tables_are_read_or_refused)


ODD_CELLS = [
    *("", "nan", "-", "0", "007", "7.0", "1e+16", "9" * 400, "\u200b", "e\u0301", "7" + "0" * 18),
    *("a.npy#-1", "a.npy#" + "9" * 30, "/", "..", "\ud800", "\0", "train", "TEST", "1" * 5000),
]
CELLS = st.one_of(st.text(max_size=12), st.sampled_from(ODD_CELLS))


def test_fuzz_cells(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"

    @given(
        st.lists(
            st.tuples(st.integers(0, 7), st.integers(0, len(HEADER) - 1), CELLS),
            min_size=1,
            max_size=6,
        ),
        st.sampled_from([(), ("never",), ("leading-zeros", "case"), ("decimals", "unicode")]),
    )
    def cells_are_read_or_refused(changes: list[tuple[int, int, str]], same: Any) -> None:
        table = rows()
        for row, column, value in changes:
            table[row][column] = value
        path.write_bytes(text(table).encode("utf-8", "surrogatepass"))
        read_or_refused(reader(path, films, same_identifiers=same).load)

    fuzz(cells_are_read_or_refused)


def test_fuzz_lists(films: Path, tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_bytes(SOUND)
    cohort = reader(tmp_path / "cohort.csv", films).load()
    key = load_key()
    path = tmp_path / "list.csv"
    lists = st.sampled_from([LISTS[name]() for name in ("sound", "studies", "no digests")])

    @given(lists.flatmap(lambda content: damaged(str(content).encode())))
    def lists_are_read_or_refused(content: bytes) -> None:
        path.write_bytes(content)
        read_or_refused(lambda: read_forget_list(path, cohort=cohort, key=key))
        read_or_refused(lambda: read_subjects(path, Pseudonyms(key), words=("asked",)))

    fuzz(lists_are_read_or_refused)


def test_fuzz_mapping_files(films: Path, tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_bytes(SOUND)
    path = tmp_path / "map.csv"

    @given(damaged(MAPPINGS["sound"].encode()))
    def mappings_are_read_or_refused(content: bytes) -> None:
        path.write_bytes(content)
        read_or_refused(reader(tmp_path / "cohort.csv", films, identifier_map=path).load)

    fuzz(mappings_are_read_or_refused)


MIMIC = {
    "split.csv": "subject_id,study_id,dicom_id,edema_severity,fold\r\n"
    "90000001,95000001,aaaa-01,0,1\r\n90000002,95000002,bbbb-01,3,TEST\r\n",
    "all_data.tsv": "0\t0\t95000001\ta\tQzxk edema .\n1\t3\t95000002\ta\tQzxk .\n",
    "metadata.csv": "dicom_id,ViewPosition\naaaa-01,PA\nbbbb-01,AP\n",
    "patients.csv": "subject_id,gender\n90000001,F\n90000002,M\n",
}


@pytest.mark.parametrize("name", MIMIC)
def test_fuzz_mimic_tables(name: str, tmp_path: Path) -> None:
    for file, content in MIMIC.items():
        (tmp_path / file).write_text(content)
    cohort = MimicCxrCohort(
        split=tmp_path / "split.csv",
        reports=tmp_path / "all_data.tsv",
        images="none",
        metadata=tmp_path / "metadata.csv",
        patients=tmp_path / "patients.csv",
    )

    @given(damaged(MIMIC[name].encode()))
    def tables_are_read_or_refused(content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        read_or_refused(cohort.load)

    fuzz(tables_are_read_or_refused)
