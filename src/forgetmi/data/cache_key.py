"""The cache's own secret key: what a cache remembers of films is keyed or sealed with it."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from forgetmi.core.files import sync, sync_folder, write_bytes
from forgetmi.core.regular_file import open_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# What a tag is of; each kind has a key of its own, so that equal bytes of different kinds have different tags.
Kind = Literal["content", "pixels", "path", "version", "index", "name", "journal"]

# The key's name in the folder of decoded films, and its form: 32 bytes as hexadecimal digits.
KEY_FILE = "key"
_KEY = re.compile(rb"[0-9a-f]{64}\n")
_KEY_BYTES = 65

TAG = 16  # bytes
_NONCE = 12  # bytes, of AES-GCM


@final
class CacheKey:
    """Tags and seals under one secret.

    A tag (HMAC-SHA256, 16 bytes) stands in the cache's files in place of a path or of a film's digest: nobody without
    the key can test whether a film they know is among them. A seal (AES-256-GCM) hides a whole content and shows every
    change of it.

    Args:
        secret: 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return "CacheKey()"

    def tag(self, kind: Kind, content: bytes | memoryview) -> bytes:
        """The tag of some bytes, 16 bytes.

        Args:
            kind: What they are.
            content: The bytes.
        """
        return hmac.digest(self._key_of(kind), content, "sha256")[:TAG]

    def seal(self, content: bytes, header: bytes) -> bytes:
        """A content that only the key opens again, behind a header that everybody can read."""
        nonce = secrets.token_bytes(_NONCE)
        return b"".join((header, nonce, self._cipher().encrypt(nonce, content, header)))

    def unseal(self, sealed: bytes, header: bytes) -> bytes | None:
        """What `seal` was given; None where a bit of it was changed, or the key or the header is another."""
        from cryptography.exceptions import InvalidTag

        if not sealed.startswith(header):
            return None

        body = memoryview(sealed)[len(header) :]
        try:
            return self._cipher().decrypt(body[:_NONCE], body[_NONCE:], header)
        except (InvalidTag, ValueError):
            return None

    def _key_of(self, kind: str) -> bytes:
        """The key of one kind, made once: a derivation takes as long as a tag."""
        if kind not in self._keys:
            self._keys[kind] = hmac.digest(self._secret, f"forgetmi {kind}".encode(), "sha256")
        return self._keys[kind]

    def _cipher(self) -> AESGCM:
        # Imported here: a command that only prints needs no cipher.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key_of("index"))


def cache_key(folder: Path) -> CacheKey:
    """The key of a folder of decoded films; made once, readable by its owner alone.

    It lies beside the films, so that processes on several machines that share a cache share it, and it is removed with
    them. Without the right key nothing there can be used, and it is made again: a key that is damaged is replaced.

    Args:
        folder: The folder; it exists.

    Raises:
        OSError: The key cannot be read or made.
    """
    path = folder / KEY_FILE
    if not path.exists():
        _make(path)

    # One byte more than a key has shows that it is none.
    with open_regular(path) as file:
        stored = file.read(_KEY_BYTES + 1)
    if not _KEY.fullmatch(stored):
        stored = _new()
        write_bytes(path, stored, private=True)
    return CacheKey(bytes.fromhex(stored.decode()))


def _new() -> bytes:
    return secrets.token_hex(32).encode() + b"\n"


def _make(path: Path) -> None:
    """Make the key file: of several processes that try at the same time, all end up with the same key."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".key-", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_new())
            sync(file)

        # A link, unlike a rename, leaves the key of a faster process alone; some file systems have none.
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:
            if not path.exists():
                os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        Path(partial).unlink(missing_ok=True)
