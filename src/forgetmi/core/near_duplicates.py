"""Near-duplicates: an image or report of a forgotten patient that is stored under another patient, too.

One type for the search, the audit, the pages and the record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, final

from forgetmi.core.partition import SetName
from forgetmi.core.serialization import LATER

DuplicateKind = Literal["same file", "same image", "same report"]


@final
@dataclass(frozen=True)
class NearDuplicate:
    """Something forgotten and something like it under another patient, by keyed digest.

    Args:
        kind: "same file" (equal content), "same image" (differs in size, contrast or compression), or "same report".
        similarity: Correlation of the images after contrast normalisation, or Jaccard index of the reports' shingles.
        patient, other_patient: The forgotten one, and under whom the copy is.
        other_set: Where the copy is: "retain" keeps it in training; "holdout" or "reference" = a patient counted as
            never seen was seen.
        item, other_item: The images, for reports the studies; "" in an audit, which names patients only.
        draw: Forget set of an audit, from 0; 0 where there is one only.
    """

    kind: DuplicateKind
    similarity: float
    patient: str
    other_patient: str
    other_set: SetName
    item: str = field(default="", metadata=LATER)
    other_item: str = field(default="", metadata=LATER)
    draw: int = 0

    @property
    def stays_in_training(self) -> bool:
        """Whether the copy belongs to a retained patient."""
        return self.other_set == "retain"


@final
@dataclass(frozen=True)
class NearDuplicates:
    """What a search for near-duplicates found.

    Args:
        pairs: The most alike first.
        images, reports: How many forgotten ones were compared with how many others.
    """

    pairs: tuple[NearDuplicate, ...]
    images: tuple[int, int]
    reports: tuple[int, int]

    def counts(self) -> dict[str, int]:
        """Set that copies are in to their number."""
        return dict(Counter(pair.other_set for pair in self.pairs))
