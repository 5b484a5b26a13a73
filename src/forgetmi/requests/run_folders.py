"""Where a ledger's runs lie: those below the ledger's own folder are found again when it is moved with them."""

from __future__ import annotations

from pathlib import Path


def home_of(ledger: Path) -> Path:
    """The folder that a ledger lies in, whatever the working directory becomes."""
    return ledger.absolute().parent.resolve()


def stored_folder(run: Path, home: Path) -> str:
    """A run's folder as a ledger stores it: relative where it lies below the ledger's folder, else absolute.

    Args:
        run: The run's folder.
        home: The ledger's.
    """
    run = run.resolve()
    return run.relative_to(home).as_posix() if run.is_relative_to(home) else str(run)


def found_folder(stored: str, home: Path) -> str:
    """The folder that a ledger stored, as an absolute one."""
    return str(home / stored)
