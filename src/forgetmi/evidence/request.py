"""Whose withdrawal a run carries out, for its record and its pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.serialization import LATER


@dataclass(frozen=True)
class Withdrawal:
    """One request of the ledger among those that a run answers together; words hold no identifiers.

    Args:
        number: As the ledger gives it, e.g. R0003.
        received, due: Days, YYYY-MM-DD; "" = not stated.
        ground: In words.
    """

    number: str = ""
    received: str = ""
    due: str = ""
    ground: str = ""

    def __post_init__(self) -> None:
        _require_days({"received": self.received, "due": self.due})


@dataclass(frozen=True)
class RequestSpec:
    """Whose withdrawal a run carries out, for its record; none of it changes what is computed.

    Args:
        id: Number of the request (or requests) it answers, as the ledger gives it.
        ground: Legal ground, in words; no identifiers.
        scope: all_studies, one_modality (images or reports; both are forgotten), future_training (data stay out from
            now on), or legal_hold (data must be kept, but not used).
        sign_off: Who signs the result off, as a role; no name is needed.
        due: Last day to carry it out, YYYY-MM-DD; of several requests the first.
        in_service: First day on which the new model serves in place of the old one, YYYY-MM-DD.
        each: The requests one by one, where several are answered together.
    """

    id: str = ""
    ground: str = ""
    scope: Literal["all_studies", "one_modality", "future_training", "legal_hold"] = "all_studies"
    sign_off: str = ""
    due: str | None = field(default=None, metadata=LATER)
    in_service: str | None = field(default=None, metadata=LATER)
    each: tuple[Withdrawal, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        _require_days({"due": self.due or "", "in_service": self.in_service or ""})


def _require_days(days: dict[str, str]) -> None:
    """Refuse what is no day; all faults at once."""
    faults = []
    for name, text in days.items():
        if text and not _is_day(text):
            faults.append(
                Fault("this is no day", where=f"request.{name}", do="Write it as YYYY-MM-DD.")
            )
    if faults:
        raise SpecError(faults)


def _is_day(text: str) -> bool:
    # Python reads other forms, too, e.g. 20240101
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
