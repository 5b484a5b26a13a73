"""Keyed digests in place of patient identifiers: raw identifiers never leave the cohort room."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.core.arrays import Strings, codes
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.partial_files import remove_partials_of, unfinished_file
from forgetmi.core.private_file import ExposedFile, read_private

# What an identifier is of; each kind has a domain of its own
Kind = Literal["patient", "study", "image", "group", "patient alike", "study alike"]
KEY_VARIABLE = "FORGETMI_KEY_FILE"
MINIMUM_BYTES, MOST_BYTES = 16, 2**16


class Pseudonyms:
    """Turns raw identifiers into keyed digests (HMAC-SHA256, 16 hex digits).

    The same identifier gives the same digest under the same key, and nobody without the key can test a guess. Patients,
    studies, images and groups have separate domains, so equal identifiers of different kinds have different digests.

    Args:
        key: The secret, at least 16 bytes; see `load_key`.

    Raises:
        CohortError: The key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MINIMUM_BYTES:
            raise CohortError(_too_short(len(key)))
        self._key = key
        self.key_id = self._hmac("key", "")

    def _hmac(self, domain: str, raw: str) -> str:
        return hmac.digest(self._key, f"{domain}\x1f{raw}".encode(), hashlib.sha256).hex()[:16]

    def __repr__(self) -> str:
        return f"Pseudonyms(key_id={self.key_id!r})"

    def digest(self, kind: Kind, raw: str) -> str:
        """The digest of one identifier, 16 hex digits."""
        return self._hmac(kind, raw)

    def digests(self, kind: Kind, raw: Strings | Iterable[str]) -> Strings:
        """The digests of n identifiers; each distinct one is computed once."""
        known = raw if isinstance(raw, np.ndarray) else np.array(list(raw), dtype=object)
        code, distinct = codes(known)
        digests = [self._hmac(kind, identifier) for identifier in distinct]
        return np.array(digests, dtype=object)[code]


def load_key(path: Path | None = None) -> bytes:
    """The secret key of the identifier digests.

    Taken from `path`, else from the file the environment variable FORGETMI_KEY_FILE names, else from a file in the
    user's configuration folder that is made once, readable by the user alone. A key never lies inside a run.

    Args:
        path: A file of at least 16 bytes; line ends at its end do not count.

    Raises:
        CohortError: A named file is absent, unreadable, open to others than its owner or too short, or the user-level
            file cannot be made.
    """
    # Which file: the one given, the environment's, or the user's own
    if path is None and os.environ.get(KEY_VARIABLE):
        path = Path(os.environ[KEY_VARIABLE])
    if path is None:
        path = user_key_file()
        if not path.exists():
            _make_key(path)

    try:
        key = read_private(path, limit=MOST_BYTES).rstrip(b"\r\n")
    except ExposedFile as error:
        raise CohortError(
            Fault(
                "the identifier key file is open to others",
                where=path.name,
                why=error.strerror or "",
                do=error.do,
            )
        ) from None
    except OSError as error:
        raise CohortError(
            Fault(
                "the identifier key file cannot be read",
                where=path.name,
                why=error.strerror or type(error).__name__,
                do="Give the file the cohort was first read with, or leave the option out to use your own.",
            )
        ) from None

    if len(key) < MINIMUM_BYTES:
        raise CohortError(_too_short(len(key), where=path.name))
    return key


def user_key_file() -> Path:
    """Where the user's own key lies: the platform's configuration folder, then forgetmi/identifiers.key."""
    # Windows has its own folder; elsewhere the XDG rules hold
    variable, below = "XDG_CONFIG_HOME", Path(".config")
    if sys.platform == "win32":
        variable, below = "APPDATA", Path("AppData") / "Roaming"

    try:
        folder = Path(os.environ.get(variable) or Path.home() / below)
    except RuntimeError:
        raise CohortError(
            Fault(
                "there is no folder for your identifier key",
                why="HOME is not set, and the system knows no home folder of this user",
                do=f"Name a key file in the environment variable {KEY_VARIABLE}.",
            )
        ) from None
    return folder / "forgetmi" / "identifiers.key"


def _too_short(length: int, where: str = "") -> Fault:
    """The fault of a key that could be guessed."""
    return Fault(
        f"the identifier key has only {length} bytes",
        where=where,
        why=f"with fewer than {MINIMUM_BYTES}, identifiers could be guessed",
        do="Make a key of 32 random bytes, e.g. with `openssl rand -hex 32`.",
    )


def _make_key(path: Path) -> None:
    """Make the key file once: of several processes that try at the same time, all end up with the same key."""
    try:
        # Readable by the user alone: the folder, and the file
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_partials_of(path)
        with unfinished_file(path) as unfinished:
            unfinished.write_text(secrets.token_hex(32) + "\n", encoding="ascii")

            # A link, unlike a rename, leaves the key of a faster process alone
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, path)
    except OSError as error:
        raise CohortError(
            Fault(
                "your identifier key file cannot be made",
                where=str(path),
                why=error.strerror or type(error).__name__,
                do=f"Name a key file, or set {KEY_VARIABLE}.",
            )
        ) from None
