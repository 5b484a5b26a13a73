"""Tables as they are published (.csv.gz, one in a .zip), the true reason where one is not read, and bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from forgetmi.cohort import csv_table, parquet_table, table_bytes
from forgetmi.cohort.files import read_strings, stem
from forgetmi.core.errors import CohortError

TEXT = b"patient_id,report\np1,Clear.\np2,Mild edema.\n"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("cohort.csv")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pd.read_csv(io.BytesIO(TEXT)).to_parquet(buffer)
    return buffer.getvalue()


def read(folder: Path, content: bytes, name: str = "cohort.csv") -> dict[str, list[str]]:
    path = folder / name
    path.write_bytes(content)
    table = read_strings(path)
    return {column: cells.tolist() for column, cells in table.columns.items()}


def refused(folder: Path, content: bytes, name: str = "cohort.csv") -> str:
    with pytest.raises(CohortError) as caught:
        read(folder, content, name)
    return str(caught.value)


READ = {
    "as it is": lambda: TEXT,
    "gzip": lambda: gzip.compress(TEXT),
    "gzip in two parts": lambda: gzip.compress(TEXT[:20]) + gzip.compress(TEXT[20:]),
    "gzip with zeros at the end": lambda: gzip.compress(TEXT) + bytes(512),
    "zip": lambda: zipped(**{"physionet/cohort.csv": TEXT, "LICENSE": b"text"}),
    "zip of macOS": lambda: zipped(**{"cohort.csv": TEXT, "__MACOSX/._cohort.csv": b"\0\5"}),
    "parquet under another name": parquet,
    "packed parquet": lambda: gzip.compress(parquet()),
}


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.csv.gz", "cohort"])
@pytest.mark.parametrize("case", READ)
def test_packed_or_not_the_table_is_the_same(case: str, name: str, tmp_path: Path) -> None:
    found = read(tmp_path, READ[case](), name)
    assert found == {"patient_id": ["p1", "p2"], "report": ["Clear.", "Mild edema."]}


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.csv.gz", "cohort.parquet", "cohort.zip"])
def test_the_name_without_endings(name: str) -> None:
    assert stem(Path("folder.v2") / name) == "cohort"


REASONS: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut gzip": (lambda: gzip.compress(TEXT * 9)[:-12], "damaged or cut"),
    "broken gzip": (lambda: b"\x1f\x8b" + TEXT, "damaged or cut"),
    "cut zip": (lambda: zipped(**{"a.csv": TEXT})[:-30], "damaged or cut"),
    "two tables": (lambda: zipped(**{"a.csv": TEXT, "b.csv": TEXT}), "holds 2 tables"),
    "no table": (lambda: zipped(**{"a.xml": TEXT}), "holds 0 tables"),
    "workbook": (lambda: zipped(**{"xl/workbook.xml": b""}), "Office document"),
    "old workbook": (lambda: b"\xd0\xcf\x11\xe0" + bytes(600), "Excel workbook"),
    "bzip2": (lambda: bz2.compress(TEXT), "bzip2"),
    "xz": (lambda: lzma.compress(TEXT), "xz"),
    "tar": (tarred, "tar archive"),
    "tar.gz": (lambda: gzip.compress(tarred()), "tar archive"),
    "gzip twice": (lambda: gzip.compress(gzip.compress(TEXT)), "packed twice"),
    "pdf": (lambda: b"%PDF-1.7 ...", "PDF"),
    "UTF-16": (lambda: TEXT.decode().encode("utf-16"), "UTF-16"),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_true_reason_is_given(case: str, tmp_path: Path) -> None:
    content, reason = REASONS[case]
    said = refused(tmp_path, content())
    assert reason in said
    assert case == "UTF-16" or "not UTF-8" not in said


def test_an_archive_packed_by_an_unknown_method(tmp_path: Path) -> None:
    content = bytearray(zipped(**{"a.csv": TEXT}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9
    assert "packed by a method" in refused(tmp_path, bytes(content))


def test_an_encrypted_archive(tmp_path: Path) -> None:
    # The flag that says so, in the member's own header and in the directory
    content = bytearray(zipped(**{"a.csv": TEXT}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(tmp_path, bytes(content))


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped(**{"a.csv": content})])
def test_what_grows_without_bound_is_refused(
    pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_bytes, "_FREE_BYTES", 1000)
    bomb = pack(TEXT + b"p3,\n" * 1_000_000)
    assert "too large" in refused(tmp_path, bomb)
    assert len(read(tmp_path, pack(TEXT * 20))["report"]) > 0


def test_a_file_larger_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_bytes, "MOST_BYTES", 30)
    assert "30 bytes" in refused(tmp_path, TEXT)


@pytest.mark.parametrize("make", [lambda: TEXT, parquet])
def test_more_cells_than_allowed(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (csv_table, parquet_table):
        monkeypatch.setattr(module, "MOST_CELLS", 3)
    assert "cells" in refused(tmp_path, make())


def test_more_columns_than_allowed(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(10_001))
    assert "more than 10000 columns" in refused(tmp_path, f"{header}\n".encode())


def test_few_bytes_of_parquet_that_stand_for_much_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_table, "MOST_BYTES", 2**20)
    frame = pd.DataFrame({"patient_id": ["p"] * 5000, "report": ["x" * 10_000] * 5000})
    frame.to_parquet(tmp_path / "cohort.parquet")
    content = (tmp_path / "cohort.parquet").read_bytes()
    assert len(content) < 100_000
    assert "too large" in refused(tmp_path, content, "cohort.parquet")


def test_only_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, reason in (("pipe.csv", "a pipe"), ("", "a folder"), ("absent.csv", "No such file")):
        with pytest.raises(CohortError, match=reason):
            read_strings(tmp_path / name)


def test_a_folders_name_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        read_strings(tmp_path / "Surname_Given" / "cohort.csv")
    assert "Surname" not in str(caught.value)
