"""Reads CheXpert's tables as they are published; patient, study and view stand in the path of each film."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.build import build_cohort
from forgetmi.cohort.files import MOST, StringTable, capped, read_strings, stem
from forgetmi.cohort.finding_columns import (
    CHEXPERT,
    NO_FINDING,
    FindingRules,
    Uncertain,
    column_faults,
)
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.identity import Identity
from forgetmi.cohort.joined import looked_up_columns
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault

# .../patient00001/study1/view1_frontal.jpg
_PATH = re.compile(r"(?P<before>.*/)?(?P<patient>patient\d+)/(?P<study>study\d+)/(?P<view>[^/]+)")
# Of CheXpert Plus: which film, and the sections of its report
_FILM = "path_to_image"
_SECTIONS = ("section_findings", "section_impression")


@dataclass(frozen=True)
class ChexpertCohort:
    """CheXpert's train.csv or valid.csv, with the reports of CheXpert Plus where they are given.

    You need your own access to the films. A person is the patient of the path, never a single film. Without reports the
    cohort has films alone: choose a model that reads films (``--model.towers image=...``).

    Source: Irvin et al., CheXpert (AAAI 2019); Chambon et al., CheXpert Plus (arXiv 2405.19538).
    """

    path: Path
    """The table: columns Path, Sex, Age, Frontal/Lateral, AP/PA and the 14 findings."""
    root: Path
    """Folder that holds the data set's folder, which every Path begins with; or that folder itself."""
    reports: Path | None = None
    """CheXpert Plus's table (path_to_image, section_findings, section_impression)."""
    views: Literal["frontal", "all"] = "frontal"
    """Which films are read; those left out are counted."""
    only_findings: tuple[str, ...] = ()
    """Findings that are wanted; empty = all 14."""
    uncertain: Uncertain = "ignore"
    """What -1 counts as: ignore = unknown, zero = absent, one = present. A blank is unknown; in No Finding it is
    absent."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""
    name: str = ""
    """Short name for reports; default: the table's file name without its ending."""

    def load(self) -> Cohort:
        """Read and check the table, and where the films are.

        Raises:
            CohortError: With all faults; none holds a path or an identifier.
        """
        pseudonyms = Pseudonyms(load_key(self.key_file))
        names = self.only_findings or CHEXPERT
        table = read_strings(self.path)
        needed = ["Path", "Sex", "Frontal/Lateral", "AP/PA", *names]
        if faults := [*column_faults(names), *table.missing(needed)]:
            raise CohortError(faults, table.faults)

        # Only the views that are wanted
        paths = np.array([cell.strip() for cell in table.columns["Path"]], dtype=object)
        wanted = np.ones(len(paths), dtype=bool)
        notices: tuple[str, ...] = ()
        if self.views == "frontal":
            wanted = table.columns["Frontal/Lateral"] == "Frontal"
            if out := int((~wanted).sum()):
                notices += (f"{out} films that are not frontal are left out",)
        kept = np.flatnonzero(wanted)
        patient, study = _people(table, paths, kept)

        # The reports, where there are some
        report = np.full(len(kept), "", dtype=object)
        if self.reports is not None:
            report, notice = _reports(self.reports, paths[kept])
            notices += (notice,)

        columns = {"patient": "Path", "study": "Path", "image_id": "Path", "image": "Path"}
        rows = RawRows(
            patient=patient,
            study=study,
            image_id=_images(paths[kept]),
            report=report,
            label=np.full(len(kept), "", dtype=object),
            labels={name: table.columns[name][kept] for name in names},
            image=paths[kept],
            subgroups={
                "sex": table.columns["Sex"][kept],
                "view": table.columns["AP/PA"][kept],
            },
            where=lambda row: table.where(int(kept[row])),
            columns=columns,
            faults=table.faults,
            notices=notices,
        )
        return build_cohort(
            rows,
            name=self.name or stem(self.path),
            pseudonyms=pseudonyms,
            identity=Identity(),
            task="findings",
            rules=FindingRules(self.uncertain, blank_is_absent=(NO_FINDING,)),
            image_root=_root(self.root, paths),
            missing_allowed=True,
        )


def _people(table: StringTable, paths: Strings, kept: np.ndarray) -> tuple[Strings, Strings]:
    """Patient and study of each row that is kept.

    Raises:
        CohortError: A path names none; its rows are told, not the path.
    """
    patient, study, wrong = [], [], []
    for row in kept:
        found = _PATH.fullmatch(str(paths[row]))
        if found is None:
            wrong.append(int(row))
            continue
        patient.append(found["patient"])
        study.append(f"{found['patient']}/{found['study']}")
    if wrong:
        faults = [
            Fault(
                "the path names no patient and study",
                where=f"{table.where(row)}, column 'Path'",
                why="it is .../patient00001/study1/view1_frontal.jpg in CheXpert",
                do="Use the published table.",
            )
            for row in wrong[:MOST]
        ]
        raise CohortError(capped(faults, len(wrong), f"paths in {table.file}"))
    return np.array(patient, dtype=object), np.array(study, dtype=object)


def _images(paths: Strings) -> Strings:
    """Identifier of each film: its path from the patient on."""
    names = []
    for path in paths:
        found = _PATH.fullmatch(str(path))
        assert found is not None
        names.append(f"{found['patient']}/{found['study']}/{found['view']}")
    return np.array(names, dtype=object)


def _reports(path: Path, films: Strings) -> tuple[Strings, str]:
    """Findings and impression of each film's report, "" where there is none; and how many were found."""
    # CheXpert Plus writes train/patient.../..., without the data set's folder
    wanted = np.array([re.sub(r"^.*?(?=(train|valid)/)", "", str(film)) for film in films])
    sections, notice = looked_up_columns(path, _FILM, _SECTIONS, wanted)
    texts = []
    for findings, impression in zip(*(sections[name] for name in _SECTIONS), strict=True):
        parts = (("FINDINGS", findings.strip()), ("IMPRESSION", impression.strip()))
        texts.append(" ".join(f"{title}: {text}" for title, text in parts if text))
    return np.array(texts, dtype=object), notice


def _root(root: Path, paths: Strings) -> Path:
    """Where paths start from: the folder that holds the data set's."""
    first = str(paths[0]).split("/")[0] if len(paths) else ""
    if first and not (root / first).exists() and root.name == first:
        return root.parent
    return root
