"""Several label columns, one a finding: present, absent, uncertain, or not mentioned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings, stripped
from forgetmi.core.arrays import Floats, Strings, codes
from forgetmi.core.errors import Fault

# What an uncertain finding (-1) counts as, and a blank one
Uncertain = Literal["ignore", "zero", "one"]
Blank = Literal["unknown", "zero"]

# As CheXpert and MIMIC-CXR-JPG publish them (mimic-cxr-2.0.0-chexpert.csv and -negbio.csv)
CHEXPERT = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
# It is written where nothing else is: where it is blank, there is a finding
NO_FINDING = "No Finding"

_UNKNOWN = frozenset({"", "nan", "none", "na", "n/a", "<na>", "null", "-"})
_VALUE = re.compile(r"(-1|0|1)(\.0+)?")
_OF_POLICY: Mapping[str, float] = {"ignore": np.nan, "zero": 0.0, "one": 1.0}


@dataclass(frozen=True)
class FindingRules:
    """What cells that do not say yes or no count as.

    Args:
        uncertain: -1: ignore = unknown, zero = absent, one = present.
        blank: unknown, or zero = absent.
        blank_is_absent: Columns in which a blank means absent whatever ``blank`` says, in rows that say anything.
    """

    uncertain: Uncertain = "ignore"
    blank: Blank = "unknown"
    blank_is_absent: tuple[str, ...] = ()


def read_findings(
    rows: RawRows, findings: Findings, rules: FindingRules
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Findings as numbers, and what was counted.

    Args:
        rows: The raw rows, n, with one column a finding.
        findings: Takes the faults: a cell that is none of 1, 0, -1 and blank; a finding that nobody has, or everybody.
        rules: What uncertain and blank cells count as.

    Returns:
        Float32[n, f], 1 = present, 0 = absent, NaN = unknown; and a notice for each policy that changed something.
    """
    # A row in which every cell is blank says nothing, e.g. one that a second table does not have
    silent = np.all([stripped(cells) == "" for cells in rows.labels.values()], axis=0)

    columns, uncertain, blanks = [], {}, {}
    for name, cells in rows.labels.items():
        value, wrong = _values(cells)
        is_wrong = np.flatnonzero(wrong)
        faults = [
            Fault(
                "the label of the finding is not 1, 0, -1 or blank",
                where=f"{rows.where(int(row))}, column {name!r}",
            )
            for row in is_wrong[:MOST]
        ]
        findings.faults.extend(capped(faults, len(is_wrong), f"labels in column {name!r}"))

        # What is neither yes nor no, by the policy
        is_uncertain, is_blank = value == -1, np.isnan(value) & ~wrong
        if rows.labelled is not None:
            is_blank &= rows.labelled
        uncertain[name], blanks[name] = int(is_uncertain.sum()), int(is_blank.sum())
        value[is_uncertain] = _OF_POLICY[rules.uncertain]
        if rules.blank == "zero":
            value[is_blank] = 0.0
        elif name in rules.blank_is_absent:
            value[is_blank & ~silent] = 0.0
            blanks[name] = int((is_blank & ~silent).sum())
        if not len(is_wrong):
            findings.faults.extend(_one_sided(value, name, uncertain[name], blanks[name]))
        columns.append(value)

    label = np.stack(columns, axis=1).astype(np.float32)
    return label, _notices(rules, uncertain, blanks)


def _values(cells: Strings) -> tuple[Floats, np.ndarray]:
    """Each cell as -1, 0, 1 or NaN, and whether it is none of these; each distinct text once."""
    code, distinct = codes(stripped(cells))
    values, wrong = [], []
    for text in distinct:
        match = _VALUE.fullmatch(text)
        values.append(float(match[1]) if match else np.nan)
        wrong.append(match is None and text.lower() not in _UNKNOWN)
    return np.array(values)[code], np.array(wrong, dtype=bool)[code]


def _one_sided(value: Floats, name: str, uncertain: int, blanks: int) -> list[Fault]:
    """A fault where a finding cannot be learned or measured: nobody has it, or nobody is without."""
    if np.any(value == 1) and np.any(value == 0):
        return []

    # Both words are the reader's own; the counts say which option may help
    missing = "has" if not np.any(value == 1) else "is known to be without"
    return [
        Fault(
            f"nobody {missing} the finding",
            where=f"column {name!r}",
            why=f"{uncertain} cells are uncertain (-1) and {blanks} blank",
            do="Leave the column out, or say what such cells count as "
            "(--cohort.uncertain zero|one, --cohort.blank zero).",
        )
    ]


def _notices(
    rules: FindingRules, uncertain: Mapping[str, int], blanks: Mapping[str, int]
) -> tuple[str, ...]:
    """What the policies did, finding by finding."""
    words = {"ignore": "unknown", "zero": "absent", "one": "present"}[rules.uncertain]
    notices = []
    if sum(uncertain.values()):
        notices.append(f"uncertain findings (-1) count as {words}: {_counts(uncertain)}")

    absent = dict.fromkeys(blanks, 0)
    unknown = dict(absent)
    for name, count in blanks.items():
        of_zero = rules.blank == "zero" or name in rules.blank_is_absent
        (absent if of_zero else unknown)[name] = count
    if sum(unknown.values()):
        notices.append(f"findings that are blank are unknown: {_counts(unknown)}")
    if sum(absent.values()):
        notices.append(f"findings that are blank count as absent: {_counts(absent)}")
    return tuple(notices)


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in numbers.items() if count)


def column_faults(names: tuple[str, ...]) -> list[Fault]:
    """What is wrong with the columns that are named as findings."""
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = [
        Fault(f"the column {name!r} is named twice", where="option labels", do="Name it once.")
        for name in twice
    ]
    if any(not name.strip() for name in names):
        faults.append(Fault("a column without a name", where="option labels", do="Name it."))
    return faults
