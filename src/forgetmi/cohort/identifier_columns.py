"""The identifier columns: damaged identifiers and people spelt in two ways are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.identifier_damage import damage, rounded
from forgetmi.cohort.identity import (
    Identity,
    differences,
    in_words,
    likeness,
)
from forgetmi.cohort.row_checks import Findings
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.errors import Fault

Role = Literal["patient", "study", "group"]

UNDAMAGED = "Export the column as text from where it was whole; a spreadsheet has not kept it."


def check_undamaged(
    findings: Findings,
    role: Literal["patient", "study", "image_id", "group"],
    texts: Strings,
    identity: Identity,
) -> None:
    """A fault for each row whose identifier a spreadsheet damaged.

    Args:
        findings: Takes the faults.
        role: Whose identifiers they are.
        texts: n canonical identifiers.
        identity: What the user said about spellings.
    """
    code, distinct = codes(texts)
    decimals = "decimals" in identity.rules
    reasons = np.array([damage(text, decimals=decimals) for text in distinct], dtype=object)

    # Each kind of damage by itself, with its rows
    for reason in dict.fromkeys(reasons.tolist()):
        if reason:
            do = UNDAMAGED
            if reason.endswith("decimal one"):
                do += " If the number without it is right: --cohort.same-identifiers decimals."
            rows = np.flatnonzero((reasons == reason)[code])
            findings.add(rows, role, "the identifier is damaged", why=reason, do=do)

    # Long numbers that all end in zeros
    if ends := rounded(distinct):
        findings.add(
            np.flatnonzero(np.isin(texts, ends)),
            role,
            "the identifier is damaged",
            why="all whole numbers of more than 15 digits end in zeros after the 15th, as a spreadsheet leaves them",
            do=f"{UNDAMAGED} If they are right, write a letter before each.",
        )


def check_spellings(
    findings: Findings,
    role: Role,
    texts: Strings,
    identity: Identity,
    *,
    within: Strings | None = None,
) -> None:
    """A fault for each pair of identifiers that may be one, until the user says so or says that they are not.

    Args:
        findings: Takes the faults.
        role: Whose identifiers they are.
        texts: n identifiers, by the rules that the user gave.
        identity: What the user said about spellings.
        within: n identifiers of whom they belong to; only pairs of one of these are compared.
    """
    if identity.settled:
        return

    # Identifiers that a mapping file ends in are what the user wants them to be
    decided = set(identity.written.values())
    code = codes(texts)[0]
    first_row = np.unique(code, return_index=True)[1]

    # The first identifier of each likeness, and those that come later
    seen: dict[tuple[str, str], int] = {}
    pairs: list[tuple[int, int]] = []
    for row in first_row.tolist():
        text = str(texts[row])
        owner = "" if within is None else str(within[row])
        earlier = {seen.setdefault((owner, part), row) for part in likeness(text)} - {row}
        for other in sorted(earlier):
            both_decided = text in decided and str(texts[other]) in decided
            if text and not both_decided:
                pairs.append((other, row))

    faults = [_two_spellings(findings, role, texts, pair) for pair in pairs[:MOST]]
    rest = f"identifiers in two spellings (column {findings.rows.columns.get(role, role)!r})"
    findings.faults.extend(capped(faults, len(pairs), rest))


def hidden_marks(columns: Sequence[tuple[Strings, Strings]]) -> Ints:
    """Rows in which an identifier had invisible marks or decomposed characters, which do not count.

    Args:
        columns: Cells as they were read, n each, with their canonical identifiers.
    """
    changed = np.zeros(len(columns[0][0]), dtype=bool)
    for cells, texts in columns:
        for row in np.flatnonzero(cells != texts):
            changed[row] |= bool(texts[row]) and cells[row].strip() != texts[row]
    return np.flatnonzero(changed)


def _two_spellings(findings: Findings, role: Role, texts: Strings, pair: tuple[int, int]) -> Fault:
    """The fault of two rows whose identifiers are alike."""
    first, second = pair
    rules = differences(str(texts[first]), str(texts[second]))
    column = findings.rows.columns.get(role, role)
    words = " ".join(rules)
    return Fault(
        f"the {role}'s identifier differs from that of another row only in {in_words(rules)}",
        where=f"{findings.rows.where(second)}, column {column!r}, patient {findings.patient[second]}",
        why=f"compare {findings.rows.where(first)}, patient {findings.patient[first]}",
        do=f"If both are one, say so with --cohort.same-identifiers {words}; if never, with "
        "--cohort.same-identifiers never; or list who is who in a file, --cohort.identifier-map.",
    )
