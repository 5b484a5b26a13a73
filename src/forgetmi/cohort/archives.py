"""Reads members of zip and tar archives in place, bounded when inflated; nothing is written to disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import open_regular

# Most bytes of a tar archive of reports when inflated; the largest published one has 21 MB.
MOST_TAR = 2**28

# What damaged or hostile archives raise in the standard library.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)

_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": partial(gzip.GzipFile, None, "rb", 9),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_ENCRYPTED = 0x1


def is_zip(path: Path) -> bool:
    """Whether a file begins like a zip archive; False where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(4) in _ZIP
    except OSError:
        return False


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive for as long as the block lasts.

    Args:
        path: The archive.

    Raises:
        CohortError: It cannot be read, or is no sound zip archive.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
            archive = stack.enter_context(zipfile.ZipFile(file))
        except DAMAGE as error:
            raise unreadable(path.name, reason(error)) from None
        yield archive


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, limit: int) -> bytes:
    """The content of one member of a zip archive, inflated to `limit` bytes at most.

    Args:
        archive: The archive.
        info: The member.
        limit: Most bytes.

    Raises:
        OSError: It is encrypted, damaged, a link, packed in a way that is not supported, or larger (`strerror` says
            which, in words).
    """
    if info.flag_bits & _ENCRYPTED:
        raise OSError(0, "it is encrypted")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise OSError(0, "it is a link")

    try:
        with archive.open(info) as file:
            # One byte more than allowed, whatever size the archive states.
            content = file.read(limit + 1)
    except DAMAGE as error:
        raise OSError(0, reason(error)) from None
    if len(content) > limit:
        raise OSError(0, f"it has more than {limit:,} bytes when unpacked")
    return content


def tar_members(path: Path, *, limit: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a tar archive, plain or packed by gzip, bzip2 or xz.

    Args:
        path: The archive.
        limit: Most bytes of a member.

    Raises:
        CohortError: It cannot be read, is damaged, or has more than `MOST_TAR` bytes when inflated.
    """
    try:
        inflated = _inflated(path)
        with tarfile.open(fileobj=io.BytesIO(inflated), mode="r:") as archive:
            for member in archive:
                # A link stands for the member it names; folders and devices have no content.
                try:
                    file = archive.extractfile(member)
                except KeyError:
                    raise unreadable(path.name, "a link in it leads nowhere") from None
                if file is not None:
                    content = file.read(limit + 1)
                    if len(content) > limit:
                        raise unreadable(path.name, f"a file in it has more than {limit:,} bytes")
                    yield member.name, content
    except RecursionError:
        raise unreadable(path.name, "links in it lead in a circle") from None
    except DAMAGE as error:
        raise unreadable(path.name, reason(error)) from None


def reason(error: BaseException) -> str:
    """Why an archive or a member cannot be read, in words that quote none of it."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, zipfile.BadZipFile):
        return error.strerror
    if isinstance(error, NotImplementedError):
        return "it is packed in a way that is not supported"
    return "it is damaged, cut off, or no archive"


def unreadable(where: str, why: str) -> CohortError:
    """The error of an archive that cannot be read."""
    return CohortError(
        Fault(
            "the archive cannot be read",
            where=where,
            why=why,
            do="Download it again and compare its checksum, or unpack it and name the folder.",
        )
    )


def _inflated(path: Path) -> bytes:
    """The bytes of a tar archive, `MOST_TAR` at most."""
    with open_regular(path) as file:
        beginning = file.read(6)
        file.seek(0)

        # A tar archive that is not packed has no mark of its own at its beginning.
        source: Any = file
        for mark, opened in _PACKED.items():
            if beginning.startswith(mark):
                source = opened(file)
        content = source.read(MOST_TAR + 1)

    if len(content) > MOST_TAR:
        raise OSError(0, f"it has more than {MOST_TAR // 2**20} MiB when unpacked")
    return content
