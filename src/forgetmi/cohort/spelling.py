"""Reads lists of identifiers by the rule that a cohort was read with, and finds who is spelt differently there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from forgetmi.cohort.alike_digests import AlikeDigests
from forgetmi.cohort.files import MOST, capped, read_strings
from forgetmi.cohort.identifiers import Kind, Pseudonyms
from forgetmi.cohort.identity import (
    IN_WORDS,
    RULES,
    Identity,
    Same,
    canonical,
    changing,
    folded,
    likeness,
)
from forgetmi.core.arrays import Strings, codes
from forgetmi.core.cohort import Spelling
from forgetmi.core.errors import CohortError, Fault

# Columns of a mapping file
WRITTEN, IDENTIFIER = "written", "identifier"

Subject = Literal["patient", "study"]


def read_identity(same: tuple[Same, ...], mapping: Path | None) -> Identity:
    """What the user said about spellings of identifiers.

    Args:
        same: In what spellings may differ and still name the same; see `forgetmi.cohort.identity`.
        mapping: CSV with the columns written and identifier: a patient's identifier as some row has it, and the one it
            stands for; None = no spelling is listed.

    Raises:
        CohortError: The file cannot be read, has no such columns, or a spelling stands for two identifiers.
    """
    if mapping is None:
        return Identity(same)
    table = read_strings(mapping)
    if missing := table.missing((WRITTEN, IDENTIFIER)):
        raise CohortError(missing, table.faults)

    faults = list(table.faults)
    found: dict[str, str] = {}
    first: dict[str, int] = {}
    pairs = zip(table.identifiers(WRITTEN), table.identifiers(IDENTIFIER), strict=True)
    for row, cells in enumerate(pairs):
        written, identifier = map(canonical, cells)
        if not written or not identifier:
            faults.append(Fault("an identifier is blank", where=table.where(row)))
        elif found.setdefault(written, identifier) != identifier:
            earlier = table.where(first[written])
            faults.append(
                Fault(
                    "the spelling stands for two identifiers",
                    where=table.where(row),
                    why=f"compare {earlier}",
                    do="Leave one of the rows out.",
                )
            )
        first.setdefault(written, row)

    # What an identifier stands for must be an end
    for written, identifier in found.items():
        if found.get(identifier, identifier) != identifier:
            faults.append(
                Fault(
                    "the identifier in this row is itself a spelling of another",
                    where=table.where(first[written]),
                    why=f"compare {table.where(first[identifier])}",
                    do="Name the last of them in both rows.",
                )
            )
    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), f"rows of {table.file}"))
    return Identity(same, MappingProxyType(found))


def spelling_of(
    identity: Identity, patient: Strings, study: Strings, pseudonyms: Pseudonyms
) -> Spelling:
    """How a cohort's identifiers were compared, as keyed digests.

    Args:
        identity: What the user said.
        patient, study: n identifiers.
        pseudonyms: Makes the digests.
    """
    stands_for = {}
    for written in identity.written:
        identifier = identity.identifier(written)
        stands_for[pseudonyms.digest("patient", written)] = pseudonyms.digest("patient", identifier)

    return Spelling(
        rules=identity.rules,
        settled=identity.settled,
        stands_for=stands_for,
        alike={
            "patient": AlikeDigests(_alike("patient", patient, pseudonyms)),
            "study": AlikeDigests(_alike("study", study, pseudonyms)),
        },
    )


def digests_by(
    spelling: Spelling, kind: Subject, texts: Strings, pseudonyms: Pseudonyms
) -> Strings:
    """The digests of n canonical identifiers, read by a cohort's rule.

    Args:
        spelling: Of the cohort.
        kind: Whose identifiers they are.
        texts: The identifiers.
        pseudonyms: Made with the cohort's key.
    """
    code, distinct = codes(texts)
    digests = []
    for text in distinct:
        digest = pseudonyms.digest(kind, folded(text, spelling.rules))
        if kind == "patient" and spelling.stands_for:
            written = pseudonyms.digest(kind, text)
            digest = spelling.stands_for.get(written, digest)
        digests.append(digest)
    return np.array(digests, dtype=object)[code]


def spelt_otherwise(
    spelling: Spelling, kind: Subject, text: str, pseudonyms: Pseudonyms
) -> tuple[str, str]:
    """Whom an unknown identifier may name in another spelling: their digest, and the difference in words; else "", "".

    Args:
        spelling: Of the cohort.
        kind: Whose identifier it is.
        text: The canonical identifier.
        pseudonyms: Made with the cohort's key.
    """
    shared = [pseudonyms.digest(alike_kind(kind), part) for part in likeness(text)]
    return find_alike(spelling, kind, shared, changing(text))


def find_alike(
    spelling: Spelling, kind: Subject, shared: Iterable[str], changes: Iterable[str]
) -> tuple[str, str]:
    """The same by keyed digests alone.

    Args:
        spelling: Of the cohort.
        kind: Whose identifier it is.
        shared: Keyed digests of what its spellings have in common; see `forgetmi.cohort.identity.likeness`.
        changes: The rules that would change it.
    """
    known = spelling.alike.get(kind, {})
    for digest in shared:
        if digest in known:
            identifier, changing_it = known[digest]
            rules = {*changes, *changing_it} or set(RULES)
            return identifier, " or ".join(IN_WORDS[rule] for rule in RULES if rule in rules)
    return "", ""


def readings(kind: Subject, text: str, pseudonyms: Pseudonyms) -> dict[str, str]:
    """An identifier's digests under every choice of rules, for a list that is kept before its cohort is known.

    Args:
        kind: Whose identifier it is.
        text: The canonical identifier.
        pseudonyms: Made with the key of the cohort to come.

    Returns:
        Rules, joined by commas in the order of `RULES`, to the digest, where it is not that of the identifier itself;
        and "alike 0", "alike 1" to what alike spellings share.
    """
    found: dict[str, str] = {}
    for number in range(1, 2 ** len(RULES)):
        rules = [rule for position, rule in enumerate(RULES) if number >> position & 1]
        other = folded(text, rules)
        if other != text:
            found[",".join(rules)] = pseudonyms.digest(kind, other)

    for number, part in enumerate(likeness(text)):
        found[f"alike {number}"] = pseudonyms.digest(alike_kind(kind), part)
    return found


def _alike(
    kind: Subject, identifiers: Strings, pseudonyms: Pseudonyms
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Keyed digest of what alike spellings share, the identifier's own digest and the rules that change it."""
    for text in codes(identifiers)[1]:
        digest, changes = pseudonyms.digest(kind, text), changing(text)
        for part in likeness(text):
            yield pseudonyms.digest(alike_kind(kind), part), digest, changes


def alike_kind(kind: Subject) -> Kind:
    """The domain of digests of what alike spellings share."""
    return "patient alike" if kind == "patient" else "study alike"
