"""Envelopes of the Dead Simple Signing Envelope (DSSE 1.0.2): a payload, its type, and signatures over both.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.json_text import parse_json
from forgetmi.evidence.signing import fingerprint, fits


@dataclass(frozen=True)
class Envelope:
    """An opened envelope.

    Args:
        payload: What was signed.
        kind: Its type, as the envelope states it.
        signatures: Name of the key to signature.
    """

    payload: bytes
    kind: str
    signatures: tuple[tuple[str, bytes], ...]

    def signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether one of the signatures is this key's over type and payload; the names of keys prove nothing."""
        signed = pre_authentication(self.kind, self.payload)
        return any(fits(key, signature, signed) for _, signature in self.signatures)


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """The bytes that are signed: type and payload, each after its length, so that neither can pass for the other.

    Args:
        kind: Type of the payload.
        payload: Any bytes.
    """
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def seal(payload: bytes, kind: str, key: Ed25519PrivateKey) -> bytes:
    """An envelope as one line of JSON, signed by one key, which it names by its fingerprint.

    Args:
        payload: What is signed.
        kind: Its type.
        key: Signs it.
    """
    signature = key.sign(pre_authentication(kind, payload))
    return envelope_line(Envelope(payload, kind, ((fingerprint(key.public_key()), signature),)))


def envelope_line(envelope: Envelope) -> bytes:
    """An envelope in the one form that is written here."""
    signatures = []
    for name, signature in envelope.signatures:
        signatures.append({"keyid": name, "sig": base64.b64encode(signature).decode()})

    plain = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.kind,
        "signatures": signatures,
    }
    return (json.dumps(plain, sort_keys=True, separators=(",", ":")) + "\n").encode()


def unseal(content: bytes, *, where: str) -> Envelope:
    """Open an envelope; no signature is checked here.

    Args:
        content: JSON. Fields that DSSE does not know are passed over, as it asks.
        where: Name of the file, for messages.

    Raises:
        EvidenceError: It is no envelope.
    """
    do = "Use the original file."
    plain = parse_json(content, where=where, what="the envelope", do=do, error=EvidenceError)
    try:
        signatures = []
        for signature in plain["signatures"]:
            signatures.append((str(signature.get("keyid", "")), _decoded(signature["sig"])))
        kind = plain["payloadType"]
        payload = _decoded(plain["payload"])
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error):
        signatures, kind, payload = [], None, b""

    if not isinstance(kind, str) or not signatures:
        raise EvidenceError(
            Fault(
                "the file is no DSSE envelope",
                where=where,
                why="payload, payloadType or signatures are missing or of another form",
                do=do,
            )
        )
    return Envelope(payload, kind, tuple(signatures))


def _decoded(text: str) -> bytes:
    """The bytes of Base64, standard or URL-safe; DSSE allows both."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
