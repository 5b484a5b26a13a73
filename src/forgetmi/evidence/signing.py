"""Ed25519 signatures (RFC 8032) of whole files, in forms that openssl reads too."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.private_file import ExposedFile, read_private
from forgetmi.core.regular_file import read_regular

# Environment variable with the passphrase of the signing key
PASSPHRASE = "FORGETMI_SIGN_PASSPHRASE"

# Most bytes of a key file
_KEY_BYTES = 2**20


def load_private(path: Path) -> Ed25519PrivateKey:
    """The key to sign with.

    Args:
        path: PEM file, e.g. of ``openssl genpkey -algorithm ed25519``; its passphrase, if it has one, is read from the
            environment variable FORGETMI_SIGN_PASSPHRASE.

    Raises:
        EvidenceError: It cannot be read, is open to others than its owner, needs another passphrase, or is no Ed25519
            key.
    """
    # An empty passphrase is none
    passphrase = os.environ.get(PASSPHRASE)
    secret = passphrase.encode() if passphrase else None
    try:
        key = load_pem_private_key(_content(path, private=True), secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EvidenceError(
            Fault(
                "the signing key cannot be used",
                where=path.name,
                why=type(error).__name__,
                do=f"Give the PEM file of a private key, and its passphrase, if it has one, in {PASSPHRASE}.",
            )
        ) from None

    if not isinstance(key, Ed25519PrivateKey):
        raise _other_kind(path)
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """A public key.

    Raises:
        EvidenceError: The file cannot be read or is no Ed25519 public key in PEM form.
    """
    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError(
            Fault(
                "the public key cannot be used",
                where=path.name,
                why=type(error).__name__,
                do="Give a PEM file of an Ed25519 public key.",
            )
        ) from None

    if not isinstance(key, Ed25519PublicKey):
        raise _other_kind(path)
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The public key as a PEM file."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key in DER form: ``openssl pkey -pubin -in FILE -outform DER | sha256sum``."""
    # DER has one form, PEM has several
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def fits(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether a signature is this key's over this content."""
    try:
        # The library answers with an exception
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _content(path: Path, *, private: bool = False) -> bytes:
    """The bytes of a key file; a private key must be its owner's alone."""
    read = read_private if private else read_regular
    try:
        return read(path, limit=_KEY_BYTES)
    except ExposedFile as error:
        raise EvidenceError(
            Fault(
                "the signing key is open to others",
                where=path.name,
                why=error.strerror or "",
                do=error.do,
            )
        ) from None
    except OSError as error:
        raise EvidenceError(
            Fault(
                "the key cannot be read",
                where=path.name,
                why=error.strerror or "",
                do="Check the path.",
            )
        ) from None


def _other_kind(path: Path) -> EvidenceError:
    """The error for an RSA key, an elliptic curve other than Ed25519, and the like."""
    return EvidenceError(
        Fault(
            "the key is not an Ed25519 key",
            where=path.name,
            why="records are signed with Ed25519 alone",
            do="Make one: openssl genpkey -algorithm ed25519 -out sign.key",
        )
    )
