"""The error of a ledger whose content cannot be right."""

from __future__ import annotations

from forgetmi.core.errors import EvidenceError, Fault


def damaged(name: str, reason: str) -> EvidenceError:
    """The error of a ledger whose content cannot be right.

    Args:
        name: Of the file.
        reason: What is wrong, without its content.
    """
    return EvidenceError(
        Fault(
            "the ledger is damaged",
            where=name,
            why=reason,
            do="Restore it from a backup: its requests are still due.",
        )
    )
