"""The output that a command was given: whether it can be written, found before the work, and one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

_DO = "Choose another --out."

# Longest name, bytes: files that belong to an output lie beside it and bear longer ones
_LONGEST = 200


def check_output(out: Path, *, folder: bool) -> None:
    """Refuse an output that cannot be written; nothing is written.

    Use it before hours of work.

    Args:
        out: The file or folder; it need not exist.
        folder: Whether it will be a folder.

    Raises:
        SpecError: A file is where a folder should be or the reverse, a folder above is a file, or it cannot be written.
    """
    name = out.absolute().name
    if folder and out.exists() and not out.is_dir():
        raise SpecError(Fault("the output is a file", where=name, do=_DO))
    if not folder and out.is_dir():
        raise SpecError(Fault("the output is a folder", where=name, do=_DO))
    if len(os.fsencode(out.name)) > _LONGEST:
        why = f"it has more than {_LONGEST} bytes"
        raise SpecError(
            Fault("the output's name is too long", where=out.name[:40], why=why, do=_DO)
        )

    # The nearest folder that is there already is the one that must be written to
    above = out.absolute()
    if not folder or not above.exists():
        above = above.parent
    while not os.path.lexists(above):
        above = above.parent

    if not above.is_dir():
        why = f"{above.name} is no folder"
        raise SpecError(Fault("the output cannot be written", where=out.name, why=why, do=_DO))
    if not os.access(above, os.W_OK | os.X_OK):
        why = f"the folder {above.name} cannot be written"
        raise SpecError(Fault("the output cannot be written", where=out.name, why=why, do=_DO))


@contextmanager
def output_lock(out: Path, *, folder: bool) -> Iterator[None]:
    """Hold an output, so that a second process gets a clear error instead of writing the same files.

    The lock lies beside it, as ``.NAME.lock``, and goes with the block; that of a killed process holds nobody up.

    Args:
        out, folder: See `check_output`. The folders above are made; empty ones go again.

    Raises:
        SpecError: Another process holds it, or it cannot be written.
    """
    check_output(out, folder=folder)
    made = [above for above in out.absolute().parents if not above.exists()]
    with full_disk_explained(out.name):
        out.parent.mkdir(parents=True, exist_ok=True)

    try:
        with held(out.with_name(f".{out.name}.lock"), where=out.name, kept=False):
            yield
    finally:
        # From the inside; one with a result in it stays
        for above in made:
            with suppress(OSError):
                above.rmdir()


@contextmanager
def held(lock: Path, *, where: str, kept: bool) -> Iterator[None]:
    """Hold a lock file, which the system gives back when this process ends, however it ends.

    Args:
        lock: A file for this alone; it is made.
        where: The output's name, for the message.
        kept: Whether the file stays.

    Raises:
        SpecError: Another process holds it.
    """
    with full_disk_explained(where):
        handle = _locked(lock, where)
    try:
        yield
    finally:
        # Removed while it is held: whoever has it open finds that its name is gone, and tries again
        if not kept:
            with suppress(OSError):
                lock.unlink()
        os.close(handle)


def _locked(lock: Path, where: str) -> int:
    """A lock file, open and locked; where the system has no such locks, only open."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise SpecError(
                Fault(
                    "another process is working in this output",
                    where=where,
                    do="Wait for it, or choose another --out.",
                )
            ) from None
        except OSError:
            # A file system without locks
            return handle

        # The one who held it before may have removed it meanwhile
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        os.close(handle)
