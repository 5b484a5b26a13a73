"""Words that the ledger keeps may hold no identifier of those whom its requests name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.named_people import names_somebody
from forgetmi.core.errors import Fault, SpecError
from forgetmi.requests.ledger import Ledger


def refuse_identifiers(
    ledger: Ledger, chosen: Sequence[int], words: str, *, where: str, key_file: Path | None
) -> None:
    """Refuse words that hold an identifier of those whom requests name: they are kept.

    Args:
        ledger: The ledger.
        chosen: Numbers of the requests.
        words: What is to be kept.
        where: The option they were given by.
        key_file: The identifier key; None = as for a cohort.

    Raises:
        SpecError: They do.
        EvidenceError: The ledger was made with another key.
    """
    pseudonyms = Pseudonyms(load_key(key_file))
    ledger.check_key(pseudonyms.key_id)

    for entry in ledger.entries(chosen):
        for kind, digests in entry.written.items():
            alike = set()
            for digest in digests:
                readings = entry.readings.get(digest, {})
                alike |= {readings[name] for name in ("alike 0", "alike 1") if name in readings}
            if names_somebody(words, alike, kind, pseudonyms):
                raise SpecError(
                    Fault(
                        f"the {where.removeprefix('--')} holds an identifier that {entry.name} names",
                        where=where,
                        why="the ledger keeps no identifiers",
                        do="Leave it out.",
                    )
                )
