"""The bytes of a table's file, unpacked where it is packed (.gz, a .zip of one table), and never more than allowed."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import read_regular

# Most bytes of a table, packed or not; and by how much a packed one may grow beyond the first 64 MiB
MOST_BYTES = 2**30
MOST_GROWTH = 100
_FREE_BYTES = 64 * 2**20

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"

# What other files begin with, and what they are
_OTHERS = {
    b"PK\x05\x06": "it is an empty zip archive",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook",
    b"BZh": "it is packed with bzip2",
    b"\xfd7zXZ\x00": "it is packed with xz",
    b"\x28\xb5\x2f\xfd": "it is packed with zstandard",
    b"7z\xbc\xaf": "it is a 7-Zip archive",
    b"Rar!": "it is a RAR archive",
    b"%PDF": "it is a PDF document",
    b"{\\rtf": "it is a text document with formats",
    b"SQLite format 3": "it is a database",
}
_TAR_MARK = slice(257, 262)  # where a tar archive says "ustar"


def table_bytes(path: Path) -> bytes:
    """The content of a table's file, unpacked.

    Packed files are told by how they begin, whatever their name. A zip archive must hold one table (.csv, .tsv, .txt or
    .parquet); what macOS adds to archives does not count.

    Args:
        path: The file; links are followed.

    Raises:
        CohortError: It cannot be read, is too large, damaged, or packed in a way that is not read; the reason is given.
    """
    try:
        data = read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise CohortError(
            Fault(
                "the file cannot be read",
                where=path.name,
                why=error.strerror or type(error).__name__,
                do="Check the path.",
            )
        ) from None

    # PhysioNet's files as they come
    limit = min(MOST_BYTES, max(_FREE_BYTES, MOST_GROWTH * len(data)))
    if data.startswith(_GZIP):
        data = _gunzipped(path.name, data, limit)
    elif data.startswith(_ZIP):
        data = _unzipped(path.name, data, limit)

    if reason := _why_no_table(data):
        raise CohortError(
            Fault(
                "the file is no table",
                where=path.name,
                why=reason,
                do="Unpack it, or save the table as CSV in UTF-8.",
            )
        )
    return data


def _gunzipped(file: str, data: bytes, limit: int) -> bytes:
    """The content of a gzip file, which may have several parts."""
    parts: list[bytes] = []
    size = 0
    rest = data
    while rest.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(rest, limit + 1 - size)
        except zlib.error:
            raise _damaged(file, "gzip file") from None

        # One byte too many shows that there are more
        size += len(part)
        if size > limit:
            raise _too_large(file, limit)
        if not unpacker.eof:
            raise _damaged(file, "gzip file")
        parts.append(part)
        rest = unpacker.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _unzipped(file: str, data: bytes, limit: int) -> bytes:
    """The content of the one table in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            member = _only_table(file, names)
            with archive.open(member) as packed:
                content = packed.read(limit + 1)
    except NotImplementedError:
        raise _unread(file, "it is packed by a method that is not read") from None
    except RuntimeError:
        raise _unread(file, "the archive is encrypted") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError):
        raise _damaged(file, "zip archive") from None

    if len(content) > limit:
        raise _too_large(file, limit)
    return content


def _only_table(file: str, names: list[str]) -> str:
    """The name of the one table in an archive."""
    if any(name.startswith(("xl/", "word/")) for name in names):
        raise _unread(file, "it is an Office document")

    tables = []
    for name in names:
        last = name.rpartition("/")[2]
        from_mac = name.startswith("__MACOSX/") or last.startswith("._")
        if not from_mac and last.lower().endswith((".csv", ".tsv", ".txt", ".parquet", ".pq")):
            tables.append(name)
    if len(tables) != 1:
        raise _unread(file, f"the archive holds {len(tables)} tables, and one is expected")
    return tables[0]


def _why_no_table(data: bytes) -> str:
    """Why these bytes are no table, in words; "" = they may be one."""
    for beginning, reason in _OTHERS.items():
        if data.startswith(beginning):
            return reason
    if data.startswith((_GZIP, _ZIP)):
        return "it is packed twice"
    return "it is a tar archive" if data[_TAR_MARK] == b"ustar" else ""


def _unread(file: str, reason: str) -> CohortError:
    do = "Unpack it, or save the table as CSV in UTF-8."
    return CohortError(Fault("the table cannot be read", where=file, why=reason, do=do))


def _damaged(file: str, kind: str) -> CohortError:
    do = "Copy or download it again."
    return CohortError(
        Fault(f"the {kind} cannot be unpacked", where=file, why="it is damaged or cut", do=do)
    )


def _too_large(file: str, limit: int) -> CohortError:
    return CohortError(
        Fault(
            "the table is too large",
            where=file,
            why=f"unpacked, it has more than {limit // 2**20} MiB, the most that is read of a file of this size",
            do="Unpack it yourself, if it is what it should be; leave out columns and rows that are not needed.",
        )
    )
