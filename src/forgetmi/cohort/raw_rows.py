"""What a reader of a cohort hands over: raw rows, nothing checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from forgetmi.core.arrays import Flags, Strings
from forgetmi.core.errors import Fault

# Words for a given set, in any case, and the one spelling of a cohort
SPLITS: Mapping[str, str] = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "holdout": "holdout",
    "test": "holdout",
    "reference": "reference",
}

# Words for an unknown label, in lower case
UNKNOWN = frozenset({"", "-1", "-1.0", "nan"})


@dataclass(frozen=True, eq=False)
class RawRows:
    """What a reader found, one entry per image-report pair; raw identifiers, nothing checked.

    Args:
        patient, study, image_id: n identifiers.
        report: n texts.
        label: n class names, class indices as text, or "", "-1", "nan" for unknown; of a value, n numbers.
        labels: Of findings, instead: name of each finding to n cells of "1", "0", "-1" or blank.
        labelled: Which rows a second table of labels has, n; the others are unknown throughout. None = all.
        image: n image paths, absolute or relative to the image folder ("stack.npy#3" is one image of a stack);
            None = a cohort without images.
        split: n words of `SPLITS`; None = no row has a given set.
        group: n identifiers of what must stay on one side (family, article), blank = the patient; None = no groups.
        subgroups: Column name to n values, blank = unknown.
        numeric, categorical: Measured columns beside film and report: name to n numbers as text, or n names of
            categories; blank = missing.
        where: Names the place of the i-th row for messages, e.g. "cohort.csv row 3 (line 9)".
        columns: Role ("patient", "label", ...) to the column's name in the file, where it differs.
        no_split: How the reader can be set to leave the split alone, for messages; "" = it cannot be.
        faults: Faults found while reading, reported together with those found here.
        notices: What was converted or skipped while reading.
    """

    # Identifiers, n each
    patient: Strings
    study: Strings
    image_id: Strings

    # Content, n each
    report: Strings
    label: Strings
    labels: Mapping[str, Strings] = field(default_factory=dict)
    labelled: Flags | None = None
    image: Strings | None = None
    split: Strings | None = None
    group: Strings | None = None
    subgroups: Mapping[str, Strings] = field(default_factory=dict)
    numeric: Mapping[str, Strings] = field(default_factory=dict)
    categorical: Mapping[str, Strings] = field(default_factory=dict)

    # For messages
    where: Callable[[int], str] = lambda i: f"row {i + 1}"
    columns: Mapping[str, str] = field(default_factory=dict)
    no_split: str = ""
    faults: Sequence[Fault] = ()
    notices: tuple[str, ...] = ()
