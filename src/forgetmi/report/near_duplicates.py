"""Near-duplicates for readers: the content of duplicates.json, its warnings, and what to do about each copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forgetmi.core import serialization
from forgetmi.core.near_duplicates import NearDuplicate, NearDuplicates

# What to do about a copy under a retained, and under a never-seen patient
IN_TRAINING = (
    "Look at both. If they are one film or one report, the copy keeps the withdrawn patient's data in "
    "training: find out whose it is, and add that patient to the list or take the copy out of the data."
)
NEVER_SEEN = (
    "Look at both. If they are one film or one report, a patient counted as never seen was seen: take them "
    "out of the cohort, or their results look like remembering."
)


def advice(pair: NearDuplicate) -> str:
    """What to do about one copy."""
    return IN_TRAINING if pair.stays_in_training else NEVER_SEEN


def warnings(duplicates: NearDuplicates) -> list[str]:
    """One sentence for each kind of thing, and each kind of place, that copies are in."""
    # Two kinds of thing
    images = [pair for pair in duplicates.pairs if pair.kind != "same report"]
    reports = [pair for pair in duplicates.pairs if pair.kind == "same report"]

    sentences = []
    for noun, pairs in (("images", images), ("reports", reports)):
        # Two kinds of place
        in_training = [pair for pair in pairs if pair.stays_in_training]
        never_seen = [pair for pair in pairs if not pair.stays_in_training]

        if in_training:
            sentences.append(_warning(noun, in_training, "stay in training"))
        if never_seen:
            sentences.append(_warning(noun, never_seen, "count as never seen"))

    return sentences


def _warning(noun: str, pairs: Sequence[NearDuplicate], place: str) -> str:
    items = {pair.item for pair in pairs}
    patients = {pair.other_patient for pair in pairs}

    return (
        f"Of the withdrawn patients' {noun}, {len(items)} have copies under {len(patients)} "
        f"patients who {place}; duplicates.json lists them by digest."
    )


def to_plain(duplicates: NearDuplicates) -> dict[str, Any]:
    """The content of duplicates.json: every copy with what to do about it."""
    # Each pair, and what to do about it
    copies = []
    for pair in duplicates.pairs:
        copies.append(
            {
                "kind": pair.kind,
                "similarity": pair.similarity,
                "patient": pair.patient,
                "item": pair.item,
                "other_patient": pair.other_patient,
                "other_item": pair.other_item,
                "other_set": pair.other_set,
                "do": advice(pair),
            }
        )

    return {
        "warnings": warnings(duplicates),
        "images_compared": list(duplicates.images),
        "reports_compared": list(duplicates.reports),
        "copies": copies,
    }


@dataclass(frozen=True)
class _Stored:
    """The form of duplicates.json."""

    images_compared: tuple[int, int]
    reports_compared: tuple[int, int]
    copies: tuple[Any, ...]
    warnings: tuple[str, ...] = ()


def from_plain(values: Any) -> NearDuplicates:
    """Read what `to_plain` wrote; its sentences are made again where they are shown.

    Raises:
        SpecError: A field is missing, unknown or of another type.
    """
    where = "duplicates.json"
    stored = serialization.from_plain(_Stored, values, where=where)

    pairs = []
    for copy in stored.copies:
        # The advice is a sentence for readers of the file
        if isinstance(copy, dict):
            copy = {name: value for name, value in copy.items() if name != "do"}
        pairs.append(serialization.from_plain(NearDuplicate, copy, where=where))

    return NearDuplicates(
        pairs=tuple(pairs),
        images=stored.images_compared,
        reports=stored.reports_compared,
    )
