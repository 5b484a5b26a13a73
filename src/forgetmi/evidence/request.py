"""Whose withdrawal a run carries out, for its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RequestSpec:
    """Whose withdrawal a run carries out, for its record; none of it changes what is computed.

    Args:
        id: Number of the request (or requests) it answers, as the ledger gives it.
        ground: Legal ground, in words; no identifiers.
        scope: all_studies, one_modality (images or reports; both are forgotten), future_training (data stay out from
            now on), or legal_hold (data must be kept, but not used).
        sign_off: Who signs the result off, as a role; no name is needed.
    """

    id: str = ""
    ground: str = ""
    scope: Literal["all_studies", "one_modality", "future_training", "legal_hold"] = "all_studies"
    sign_off: str = ""
