"""Turns raw rows, whatever they were read from, into a Cohort; every reader ends here, so all check the same faults."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.data.decode import split_locator

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
UNKNOWN = frozenset({"", "-1", "-1.0", "nan"})


@dataclass(frozen=True, eq=False)
class RawRows:
    """What a reader found, one entry per image-report pair; raw identifiers, nothing checked.

    Args:
        patient, study, image_id: n identifiers.
        report: n texts.
        label: n class names, class indices as text, or "", "-1", "nan" for unknown.
        image: n image paths, absolute or relative to the image folder ("stack.npy#3" is one image of a stack);
            None = a cohort without images.
        split: n words of `SPLITS`; None = no row has a given set.
        group: n identifiers of what must stay on one side (family, article), blank = the patient; None = no groups.
        subgroups: Column name to n values, blank = unknown.
        where: Names the place of the i-th row for messages, e.g. "cohort.csv row 3 (line 9)".
        columns: Role ("patient", "label", ...) to the column's name in the file, where it differs.
        no_split: How the reader is told to leave the split alone, for messages; "" = it cannot be.
        faults: Faults found while reading, reported together with those found here.
        notices: What was converted or skipped while reading.
    """

    patient: Strings
    study: Strings
    image_id: Strings
    report: Strings
    label: Strings
    image: Strings | None = None
    split: Strings | None = None
    group: Strings | None = None
    subgroups: Mapping[str, Strings] = field(default_factory=dict)
    where: Callable[[int], str] = lambda i: f"row {i + 1}"
    columns: Mapping[str, str] = field(default_factory=dict)
    no_split: str = ""
    faults: Sequence[Fault] = ()
    notices: tuple[str, ...] = ()


def build_cohort(
    rows: RawRows,
    *,
    name: str,
    pseudonyms: Pseudonyms,
    classes: tuple[str, ...] = (),
    ordinal: bool,
    image_root: Path = Path(),
    show_images: bool = False,
) -> Cohort:
    """Check raw rows and turn them into a cohort of keyed digests.

    Args:
        rows: What was read.
        name: Short name of the cohort for reports.
        pseudonyms: Makes the digests.
        classes: Names of the k classes in order; empty = the integers 0..k-1 found in the rows.
        ordinal: Whether the classes are grades.
        image_root: Folder that relative image paths start from.
        show_images: Whether a report may show example radiographs.

    Returns:
        The cohort, in the order of the rows. Its digest covers every column and the class names, but neither the raw
        identifiers (only which rows share one), nor the image folder, nor the images' pixels.

    Raises:
        CohortError: With every fault of every row, 20 of a kind spelled out and the rest counted.
    """
    patient, study, image_id = (
        _stripped(values) for values in (rows.patient, rows.study, rows.image_id)
    )
    group = None if rows.group is None else _stripped(rows.group)
    who = pseudonyms.digests("patient", patient)
    findings = _Findings(rows, who, list(rows.faults))
    if len(patient) == 0 and not findings.faults:
        findings.faults.append(Fault("the cohort has no rows"))
    for role, values in (("patient", patient), ("study", study), ("image_id", image_id)):
        findings.add(_blank(values), role, "the identifier is blank")
    findings.add(
        _blank(_stripped(rows.report)),
        "report",
        "the report is empty",
        do="Leave out rows without a report.",
    )
    findings.add(
        _repeats(image_id), "image_id", "the image identifier occurs twice", against=image_id
    )
    findings.add(
        _changes(study, patient),
        "study",
        "the study belongs to two patients",
        against=study,
        do="Make study identifiers unique across patients.",
    )
    label, names = _labels(rows, findings, classes)
    split = _splits(rows, findings, patient, group)
    locators = _locators(rows, findings, image_root)
    if findings.faults:
        raise CohortError(findings.faults)
    units = who if group is None else np.where(group == "", who, pseudonyms.digests("group", group))
    return Cohort(
        name=name,
        patient=who,
        study=pseudonyms.digests("study", study),
        image_id=pseudonyms.digests("image", image_id),
        group=units,
        image=locators,
        report=rows.report,
        label=label,
        split=split,
        classes=names,
        ordinal=ordinal,
        subgroups=rows.subgroups,
        show_images=show_images,
        digest=_content_digest(
            rows, (patient, study, image_id, units), label, split, names, ordinal
        ),
        key_id=pseudonyms.key_id,
        notices=(*rows.notices, *_notices(rows, label, study, patient)),
    )


@dataclass(frozen=True)
class _Findings:
    """Collects faults, a limited number of each kind, and with the content of a cell only where it is no identifier."""

    rows: RawRows
    who: Strings
    faults: list[Fault]

    def add(
        self,
        at: Ints,
        role: str,
        what: str,
        *,
        why: str = "",
        do: str = "",
        against: Strings | None = None,
        shown: Strings | None = None,
    ) -> None:
        """Record one kind of fault at the given rows; with `against`, each contradicts the first row of that value.

        `shown` are the cells, where they may be told.
        """
        column = self.rows.columns.get(role, role)
        first = None if against is None or len(at) == 0 else _first(against)
        found = []
        for i in at[:MOST].tolist():
            reason = why if first is None else f"compare {self.rows.where(int(first[i]))}"
            if shown is not None:
                reason = f"it is {shown[i]!r}; {reason}"
            person = f", patient {self.who[i]}" if str(self.rows.patient[i]).strip() else ""
            found.append(
                Fault(
                    what,
                    where=f"{self.rows.where(i)}, column {column!r}{person}",
                    why=reason,
                    do=do,
                )
            )
        self.faults.extend(capped(found, len(at), f"{what} (column {column!r})"))


def _stripped(values: Strings) -> Strings:
    return np.array([value.strip() for value in values], dtype=object)


def _blank(values: Strings) -> Ints:
    return np.flatnonzero(values == "")


def _first(values: Strings) -> Ints:
    """For each row, the first row with the same value."""
    code, _ = codes(values)
    return np.unique(code, return_index=True)[1][code].astype(np.int64)


def _repeats(values: Strings) -> Ints:
    """Rows whose value, not blank, occurred before."""
    return np.flatnonzero((_first(values) != np.arange(len(values))) & (values != ""))


def _changes(unit: Strings, value: Strings | Ints) -> Ints:
    """Rows whose value differs from that of the first row of their unit (blank units have none)."""
    return np.flatnonzero((value != value[_first(unit)]) & (unit != ""))


def _labels(
    rows: RawRows, findings: _Findings, classes: tuple[str, ...]
) -> tuple[Ints, tuple[str, ...]]:
    """Class indices and class names; a fault for each row whose label is neither a class name nor a class index."""
    code, distinct = codes(_stripped(rows.label))
    known = [value for value in distinct if value.lower() not in UNKNOWN]
    if classes:
        form = _class_faults(classes)
    else:
        found = sorted({number for value in known if (number := _integer(value)) is not None})
        classes = tuple(str(number) for number in range(len(found)))
        form = (
            []
            if len(found) > 1 and found == list(range(len(found)))
            else [
                Fault(
                    "the labels are not the integers 0, 1, 2, ... without a gap",
                    where=f"column {rows.columns.get('label', 'label')!r}",
                    why=f"{len(found)} different integers occur",
                    do="Name the classes, in order, with the option `classes`.",
                )
            ]
        )
    findings.faults.extend(form)
    index = {name: i for i, name in enumerate(classes)}
    numbers = {str(i): i for i in range(len(classes))}
    outside = len(classes)
    value = np.array(
        [
            -1
            if one.lower() in UNKNOWN
            else index.get(one, numbers.get(str(_integer(one)), outside))
            for one in distinct
        ],
        np.int64,
    )[code]
    if not form:
        findings.add(
            np.flatnonzero(value == outside),
            "label",
            "the label is not one of the classes",
            why=f"classes {', '.join(classes)}, by name or by number from 0; blank, -1 or nan = unknown",
        )
    return value, classes


def _integer(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,9})(\.0+)?", text)
    return None if match is None else int(match[1])


def _class_faults(classes: tuple[str, ...]) -> list[Fault]:
    faults = []
    if len(classes) < 2:
        faults.append(Fault("fewer than two classes are named", where="option classes"))
    if len(set(classes)) < len(classes) or any(name.strip().lower() in UNKNOWN for name in classes):
        faults.append(
            Fault(
                "class names are repeated, or mean 'unknown'",
                where="option classes",
                do="Give each class a name of its own other than -1 and nan.",
            )
        )
    if any(_integer(name) not in (None, i) for i, name in enumerate(classes)):
        faults.append(
            Fault(
                "a class is named by a number other than its place",
                where="option classes",
                why="the label could mean either",
                do="Number the classes from 0, or use words.",
            )
        )
    return faults


def _splits(rows: RawRows, findings: _Findings, patient: Strings, group: Strings | None) -> Strings:
    """The set each row was given, in one spelling."""
    if rows.split is None:
        return np.full(len(patient), "", dtype=object)
    cells = _stripped(rows.split)
    code, distinct = codes(cells)
    split = np.array([SPLITS.get(one.lower()) for one in distinct], dtype=object)[code]
    strange = np.array([word is None for word in split], dtype=bool)
    findings.add(
        np.flatnonzero(strange),
        "split",
        "the split is not known",
        why=f"accepted: blank, {', '.join(word for word in SPLITS if word)}",
        do=rows.no_split,
        shown=cells if strange.any() and _words(distinct, rows) else None,
    )
    torn = _changes(patient, split)
    findings.add(
        torn,
        "split",
        "the patient is in two splits",
        against=patient,
        do=f"Give every row of a patient the same split. {rows.no_split}".rstrip(),
    )
    if group is not None:
        findings.add(
            np.setdiff1d(_changes(group, split), torn),
            "split",
            "the group is in two splits",
            against=group,
            do=f"Give every row of a group the same split. {rows.no_split}".rstrip(),
        )
    return split


def _words(distinct: Strings, rows: RawRows) -> bool:
    """Whether a column's values can only be words of a split: few, short, and none like an identifier or a report."""
    if len(distinct) > 2 * len(SPLITS) or any(
        len(one) > 20 or re.search(r"\d{3}", one) for one in distinct
    ):
        return False
    private = (
        rows.patient,
        rows.study,
        rows.image_id,
        rows.report,
        *([] if rows.group is None else [rows.group]),
    )
    return {value.strip() for column in private for value in column}.isdisjoint({*distinct} - {""})


def _locators(rows: RawRows, findings: _Findings, image_root: Path) -> Strings:
    """Absolute image locators; a fault for each file that is not there."""
    if rows.image is None:
        return np.full(len(rows.patient), "", dtype=object)
    cells = _stripped(rows.image)
    findings.add(
        _blank(cells), "image", "the image is blank", do="Leave out rows without an image."
    )
    root = str(image_root.resolve())
    code, distinct = codes(cells)
    locators = np.array(
        [os.path.join(root, cell) if cell else "" for cell in distinct], dtype=object
    )
    folders: dict[str, frozenset[str]] = {}
    absent = np.array([bool(one) and not _is_file(one, folders) for one in locators], dtype=bool)
    findings.add(
        np.flatnonzero(absent[code]),
        "image",
        "the image file was not found",
        do="Check the image folder (option image_root).",
    )
    return locators[code]


def _is_file(locator: str, folders: dict[str, frozenset[str]]) -> bool:
    """Whether the file exists; each folder is listed once, which is much faster than a look-up a file."""
    folder, name = os.path.split(split_locator(locator)[0])
    if folder not in folders:
        try:
            with os.scandir(folder) as entries:
                folders[folder] = frozenset(entry.name for entry in entries if entry.is_file())
        except (OSError, ValueError):
            folders[folder] = frozenset()
    return name in folders[folder]


def _notices(rows: RawRows, label: Ints, study: Strings, patient: Strings) -> tuple[str, ...]:
    """What a reader of results should know about the rows, without identifiers."""
    pixels = np.array([] if rows.image is None else _stripped(rows.image), dtype=object)
    counts = {
        "rows have no known label": int(np.sum(label == -1)),
        "studies have images with different labels": len(set(study[_changes(study, label)])),
        "studies have images with different reports": len(set(study[_changes(study, rows.report)])),
        "reports hold characters that were lost in an earlier conversion (U+FFFD)": sum(
            "\ufffd" in report for report in rows.report
        ),
        "rows use an image file of another patient": len(_changes(pixels, patient))
        if len(pixels)
        else 0,
    }
    return tuple(f"{count} {what}" for what, count in counts.items() if count)


def _content_digest(
    rows: RawRows,
    units: Sequence[Strings],
    label: Ints,
    split: Strings,
    classes: tuple[str, ...],
    ordinal: bool,
) -> str:
    """SHA-256 over what the cohort says; of identifiers only which rows share one, so that no key matters."""
    content = hashlib.sha256(repr((classes, ordinal, sorted(rows.subgroups))).encode())
    for numbers in (*(codes(unit)[0] for unit in units), label):
        content.update(numbers.astype("<i8").tobytes())
    texts = [
        rows.report,
        split,
        *([] if rows.image is None else [rows.image]),
        *(rows.subgroups[name] for name in sorted(rows.subgroups)),
    ]
    for column in texts:
        content.update(np.array([len(text) for text in column], "<i8").tobytes())
        content.update("".join(column).encode())
    return content.hexdigest()
