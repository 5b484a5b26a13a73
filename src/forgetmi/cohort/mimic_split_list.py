"""MIMIC-CXR's list of images with their edema grades and folds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.identifier_damage import damage
from forgetmi.cohort.identity import Identity, canonical_cells, folded_cells
from forgetmi.cohort.row_checks import stripped
from forgetmi.core.arrays import Strings
from forgetmi.core.errors import CohortError, Fault

# Names of the column of grades; the published split list has the second spelling
SEVERITY = ("edema_severity", "edeme_severity")
# The form of each identifier; a cell of another form could lead out of the folder
_FORMS = {
    "subject_id": re.compile(r"[0-9]{8}"),
    "study_id": re.compile(r"[0-9]{8}"),
    "dicom_id": re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]*"),
}


def read_split_list(path: Path, identity: Identity) -> tuple[StringTable, str, dict[str, Strings]]:
    """The split list, the name of its column of grades, and its cells; identifiers as they are compared.

    Args:
        path: The list.
        identity: What the user said about spellings.

    Raises:
        CohortError: It cannot be read, lacks a column, or has identifiers that are not of MIMIC-CXR's form.
    """
    table = read_strings(path)
    severity = next((name for name in SEVERITY if name in table.columns), SEVERITY[0])
    names = (*_FORMS, severity, "fold")
    if missing := table.missing(names):
        raise CohortError(missing, table.faults)

    # 7.0 is 7 where the user says so; other rules hold between rows, not within the form of identifiers
    cells = {name: stripped(table.columns[name]) for name in names}
    decimals = [rule for rule in identity.rules if rule == "decimals"]
    for name in _FORMS:
        cells[name] = folded_cells(canonical_cells(table.identifiers(name)), decimals)

    if malformed := _malformed(table, cells):
        raise CohortError(malformed, table.faults)
    return table, severity, cells


def _malformed(table: StringTable, cells: Mapping[str, Strings]) -> list[Fault]:
    """One fault for each identifier that does not have MIMIC-CXR's form."""
    faults = []
    for name, form in _FORMS.items():
        # A limited number is spelled out, without the identifier
        rows = [row for row, cell in enumerate(cells[name]) if not form.fullmatch(cell)]
        of_column = []
        for row in rows[:MOST]:
            cell = cells[name][row]
            of_column.append(
                Fault(
                    "the identifier is malformed" if cell else "the identifier is blank",
                    where=f"{table.where(row)}, column {name!r}",
                    why=damage(cell),
                    do="Use MIMIC-CXR's own identifiers, without p and s in front.",
                )
            )
        faults += capped(
            of_column, len(rows), f"identifiers that are malformed or blank (column {name!r})"
        )
    return faults
