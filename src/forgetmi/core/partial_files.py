"""Files and folders that appear whole: how their unfinished forms are named, and how those of killed processes go.

An unfinished file lies beside the one it will be, as ``.NAME.TOKEN.forgetmi.partial``; an unfinished folder as
``.NAME.forgetmi.partial``, and the one that it is about to replace as ``.NAME.forgetmi.old``. Whoever may write to an
output removes what bears such a name there and no living process holds. Nothing else is ever removed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from forgetmi.core.file_locks import is_taken, take, taken_folder

_PARTIAL, _OLD = ".forgetmi.partial", ".forgetmi.old"

# The token is what `tempfile` draws
_FILE = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.forgetmi\.partial", re.DOTALL)
_FOLDER = re.compile(r"\.(?P<name>.+)\.forgetmi\.(partial|old)", re.DOTALL)


@contextmanager
def whole_file(path: Path, *, synced: bool = False, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write that takes its name when the block ends without an error; until then the old one stays.

    Use it for every result, so that a kill or a full disk leaves the old content or the new, never a part.

    Args:
        path: The file; its folder exists.
        synced: Whether it is on the disk, too, when the block has ended.
        mode: Its rights, before the user's mask.

    Yields:
        The unfinished file, open for writing.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    with _new_file(path) as file:
        try:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())

            # Temporary files are private; the finished one has the rights of any new file
            os.chmod(file.name, mode_of_new(mode))
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


@contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """An empty file beside one that is to be made, for the block alone.

    Use it where a library writes the file, and a link or a rename in the block gives it its name.

    Args:
        path: The file that is to be made; its folder exists.

    Yields:
        The unfinished one's path, readable by its owner alone.
    """
    with _new_file(path) as file:
        try:
            yield Path(file.name)
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def unfinished_folder(directory: Path) -> Iterator[Path]:
    """A new folder beside one that is to be made, for the block alone; earlier ones of killed processes are removed.

    Use it where a rename in the block gives the folder, or one in it, its name; several processes may make the same.

    Args:
        directory: The folder that is to be made; the one above exists.

    Yields:
        The unfinished one, for its owner alone.
    """
    # Of a killed process: nobody holds it
    for found in directory.parent.iterdir():
        match = _FILE.fullmatch(found.name)
        if match and match["name"] == directory.name and found.is_dir() and not found.is_symlink():
            with suppress(OSError):
                if not is_taken(found):
                    shutil.rmtree(found)

    partial = Path(
        tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}.", suffix=_PARTIAL)
    )
    try:
        with taken_folder(partial):
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _new_file(path: Path) -> IO[bytes]:
    """A new file in the folder of another, which nobody takes for a leftover as long as this process lives."""
    # In the same folder: a file can be renamed in place within one file system only
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - the caller closes it
        dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL, delete=False
    )
    take(cast(IO[bytes], file))
    return cast(IO[bytes], file)


def mode_of_new(wanted: int) -> int:
    """The rights that the system gives to a new file or folder: those wanted, less what the user's mask takes.

    Args:
        wanted: 0o666 for a file, 0o777 for a folder.
    """
    # The mask can only be read by setting it; meanwhile others get no rights
    mask = os.umask(0o077)
    os.umask(mask)
    return wanted & ~mask


def replace_folder(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write a whole folder of files and put it in place of an earlier one.

    A kill leaves the earlier one or the new one; between two renames under its name for the time, from which `recover`
    brings it back.

    Args:
        directory: The folder; the one above exists. One process at a time replaces it.
        contents: Its files; names may have folders of their own.

    Raises:
        OSError: It cannot be written; the earlier one stays.
    """
    partial, old = _unfinished(directory), _replaced(directory)
    recover(directory)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)

    partial.mkdir()
    try:
        # The new folder is complete before the old one moves away
        for name, content in contents.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        _exchange(partial, directory, old)
    finally:
        recover(directory)
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _exchange(partial: Path, directory: Path, old: Path) -> None:
    """Move a folder away and the new one into its place."""
    while True:
        if directory.exists():
            os.replace(directory, old)
        try:
            os.replace(partial, directory)
            return
        except OSError:
            # A reader took it for a killed process's work and brought the earlier one back
            if not directory.exists() or old.exists():
                raise


def recover(directory: Path) -> None:
    """Give a folder its name back that was about to be replaced when its process was killed.

    Use it before a folder that `replace_folder` writes is looked for.

    Args:
        directory: The folder.
    """
    old = _replaced(directory)
    if old.is_dir() and not directory.exists():
        with suppress(OSError):
            os.rename(old, directory)


def is_partial(name: str) -> bool:
    """Whether a file or folder of this name is one that was not finished."""
    return bool(_FILE.fullmatch(name) or _FOLDER.fullmatch(name))


def remove_partials(folder: Path) -> int:
    """Remove what killed processes left unfinished anywhere below a folder, and bring back what they had moved away.

    Args:
        folder: An output whose lock this process holds.

    Returns:
        How many files and folders were removed.
    """
    removed = 0
    for place, folders, files in os.walk(folder):
        removed += sum(_removed_file(Path(place, name)) for name in files)

        # A folder that is removed is not walked through
        for name in list(folders):
            if _FOLDER.fullmatch(name) and not Path(place, name).is_symlink():
                removed += _removed_folder(Path(place, name))
                folders.remove(name)
    return removed


def remove_partials_of(path: Path) -> int:
    """Remove what killed processes left unfinished of one file or folder, and bring back what they had moved away.

    Args:
        path: The file or folder; whatever else lies beside it stays.

    Returns:
        How many files and folders were removed.
    """
    removed = 0
    if not path.parent.is_dir():
        return removed

    recover(path)
    for found in list(path.parent.iterdir()):
        match = _FILE.fullmatch(found.name)
        if match and match["name"] == path.name:
            removed += _removed_file(found)
    for found in (_unfinished(path), _replaced(path)):
        if found.is_dir() and not found.is_symlink():
            removed += _removed_folder(found)
    return removed


def _removed_file(path: Path) -> bool:
    """Remove an unfinished file that no living process holds; whether it was one."""
    if not _FILE.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False

    # Another process may remove it first, and a disk may be read-only
    with suppress(OSError):
        if not is_taken(path):
            path.unlink()
            return True
    return False


def _removed_folder(path: Path) -> bool:
    """Remove an unfinished folder, or give one that was moved away its name back; whether it was removed."""
    match = _FOLDER.fullmatch(path.name)
    assert match is not None
    if path.name.endswith(_OLD):
        recover(path.with_name(match["name"]))
    if not path.exists():
        return False

    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _unfinished(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}{_PARTIAL}")


def _replaced(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}{_OLD}")
