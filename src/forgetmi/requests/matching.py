"""Subjects of a request as a cohort has them, by the rule that the cohort was read with."""

from __future__ import annotations

from collections.abc import Collection

from forgetmi.cohort.identity import RULES
from forgetmi.cohort.spelling import find_alike
from forgetmi.core.cohort import Spelling
from forgetmi.core.errors import Fault
from forgetmi.requests.entries import Entry, Kind


def subjects_in(spelling: Spelling, kind: Kind, entry: Entry) -> dict[str, str]:
    """The digest of each subject as it was written, to that by which a cohort has it.

    Args:
        spelling: Of the cohort.
        kind: Patients or studies.
        entry: The request.
    """
    rules = ",".join(spelling.rules)
    digests = {}
    for written in entry.written.get(kind, ()):
        digest = entry.readings.get(written, {}).get(rules, written)
        if kind == "patient":
            digest = spelling.stands_for.get(written, digest)
        digests[written] = digest
    return digests


def spelling_faults(
    spelling: Spelling, kind: Kind, entry: Entry, unknown: Collection[str]
) -> list[Fault]:
    """One fault for each unknown subject whom the cohort may have in another spelling.

    Args:
        spelling: Of the cohort.
        kind: Patients or studies.
        entry: The request.
        unknown: Digests as written of those whom the cohort does not have.
    """
    # Other spellings name other people, where the user said so
    if spelling.settled:
        return []

    faults = []
    for written in unknown:
        readings = entry.readings.get(written, {})
        shared = [readings[name] for name in ("alike 0", "alike 1") if name in readings]
        changes = [rule for rule in RULES if rule in readings]
        other, difference = find_alike(spelling, kind, shared, changes)
        if other:
            faults.append(
                Fault(
                    f"a {kind} whom it names is not in the cohort, but differs only in {difference} from {kind} "
                    f"{other}, who is",
                    where=entry.name,
                    do="If both are one, read the cohort with --cohort.same-identifiers, or enter the request again as "
                    "the cohort has them; if not, say --cohort.same-identifiers never.",
                )
            )
    return faults
