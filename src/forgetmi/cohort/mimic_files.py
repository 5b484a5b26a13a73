"""MIMIC-CXR's folder tree, and the report table of the original study."""

from __future__ import annotations

import re
from pathlib import Path

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.folder_files import is_apple
from forgetmi.cohort.identity import canonical
from forgetmi.cohort.table_bytes import table_bytes
from forgetmi.core.errors import CohortError, Fault

_BRANCH = re.compile(r"p\d\d")
_DEPTH = 5


def branch_folder(folder: Path, option: str) -> Path:
    """The folder that holds p10 ... p19, at the folder given or up to five levels below.

    Args:
        folder: Where to begin.
        option: The option that names it, for messages.

    Raises:
        CohortError: There is none, or there are several at the same level.
    """
    if not folder.is_dir():
        raise CohortError(
            Fault("there is no such folder", where=f"option {option}", do="Check the path.")
        )

    level = [folder]
    for _ in range(_DEPTH + 1):
        # Folders with branches at this level, and everything below the others
        matches = []
        below = []
        for candidate in level:
            children = _folders_in(candidate, option)
            if any(_BRANCH.fullmatch(child.name) for child in children):
                matches.append(candidate)
            else:
                below += children

        # One is right, several are ambiguous, none means one level deeper
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise CohortError(
                Fault(
                    f"{len(matches)} folders hold p10, p11, ...",
                    where=f"option {option}",
                    why="e.g. two versions next to each other",
                    do="Name one of them.",
                )
            )
        level = below

    raise CohortError(
        Fault(
            "no folder p10, p11, ... was found",
            where=f"option {option}",
            why=f"searched {_DEPTH} levels below the folder",
            do='Name the folder that PhysioNet\'s "files" lies in, or for reports the zip archive.',
        )
    )


def _folders_in(folder: Path, option: str) -> list[Path]:
    """The folders in a folder, links to folders too, without what macOS made."""
    if not folder.is_dir():
        return []

    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        # The path may name a patient
        raise CohortError(
            Fault(
                "a folder cannot be read",
                where=f"option {option}",
                why=error.strerror or type(error).__name__,
                do="Check that every folder in it can be read.",
            )
        ) from None
    return [child for child in children if child.is_dir() and not is_apple(child.name)]


def read_all_data(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the original authors' report table: running number, label, study, a letter, text, separated by tabs.

    There is no header and no quoting. A tab within the text becomes a blank (the original reader keeps only what
    follows the last one).

    Args:
        path: The file, UTF-8, any line ends, also packed (.gz).

    Returns:
        Study to text, and what was converted or skipped.

    Raises:
        CohortError: Lines with fewer than five cells, or two different texts of one study.
    """
    # Line ends of both systems
    content = table_bytes(path).decode("utf-8-sig", errors="replace")
    lines = content.replace("\r\n", "\n").split("\n")

    texts: dict[str, str] = {}
    faults: list[Fault] = []
    with_tabs = 0
    empty = 0
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        cells = line.split("\t")
        where = f"{path.name} line {number}"
        if len(cells) < 5:
            faults.append(
                Fault(
                    f"the line has {len(cells)} cells instead of five",
                    where=where,
                    do="Separate number, label, study, letter and text by tabs.",
                )
            )
            continue

        # Further cells belong to the text, which had tabs in it
        study = canonical(cells[2])
        text = " ".join(" ".join(cells[4:]).split())
        with_tabs += len(cells) > 5
        empty += not text

        # Several rows may repeat a study, with the same text
        if texts.setdefault(study, text) != text:
            faults.append(
                Fault(
                    "the study has another text on an earlier line",
                    where=where,
                    do="Remove one of them.",
                )
            )
    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), f"lines of {path.name}"))

    # What a reader of results should know
    notices = []
    if with_tabs:
        notices.append(f"{with_tabs} reports hold tabs, which became blanks ({path.name})")
    if empty:
        notices.append(f"{empty} reports are empty ({path.name})")
    return texts, tuple(notices)
