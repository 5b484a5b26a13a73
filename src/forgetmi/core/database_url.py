"""Addresses of SQLite files, for libraries that take a database by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

# Characters of a file's name that mean something in an address, or in Optuna's templates of addresses.
_SPECIAL = "?#%{}"


def sqlite_url(path: Path) -> str:
    """The address of an SQLite file.

    Args:
        path: The file.

    Returns:
        The address, in which characters of the path that have a meaning there are escaped.
    """
    escaped = "".join(quote(c, safe="") if c in _SPECIAL else c for c in str(path))
    return f"sqlite:///{escaped}"
