"""Whether a table's first line holds names of columns; what may be a person's data is never shown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

from forgetmi.core.errors import Fault
from forgetmi.core.suggest import did_you_mean

# Words that names of columns are made of. A cell of other words may be a name or a report, and is not shown.
_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    accession age annotation article authors bbox birth body bucket case category cause
    class code cohort column copy count credit data dataset date datetime day description
    diagnosis dicom digest disease doi edema edeme ethnicity exam examination family file
    filename finding findings fold gender grade group height hospital id identifier ids
    image images img impression index indication instance institution item key label
    labels laterality level license link location mask masked mesh metadata method
    modality month mrn name note number offset orientation page part partition path
    pathology patient patients person phase photometric pid pixel position procedure
    pseudonym race raw record records ref reference report reports request row rows scan
    score section seed sequence series set severe severity severty sex side site size
    slice source split status study subgroup subject subset survival tag target technique
    test text time title tokens train training type uid unit url validation value version
    view visit weight width year
    """,
    )
)
_SHORT = {"a", "ap", "by", "in", "is", "of", "on", "no", "nr", "pa", "the", "to", "was", "went"}
_CLOSE = 0.82  # how near a misspelt word must be; above the likeness of "patience" and "patient"
_LONGEST = 40  # characters of a name
_LONGEST_NAME = 1000  # characters beyond which a cell is no name at all
# What no name of a column holds: three digits, a path, an address, a number alone, as many words as a report
_NO_NAME = re.compile(r"\d{3}|[/\\@]|(\S+\s+){4}|^[-+\d.]+$|\.(png|jpe?g|dcm|npy|tiff?)$", re.I)


def is_column_name(cell: str) -> bool:
    """Whether a header's cell can only be the name of a column: it consists of words that such names are made of."""
    if not cell or len(cell) > _LONGEST or not cell.isascii():
        return False

    # patient_id, patientId, Patient ID, image2
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\sA-Za-z\d_.\-]", cell)
    known = [_is_known(word) for word in words]
    telling = [word for word in words if word.lower() not in _SHORT and not word.isdigit()]
    return bool(telling) and all(known)


def shown_names(header: Collection[str]) -> str:
    """The names of a header that may be shown, and how many others there are."""
    shown = [name for name in header if is_column_name(name)]
    others = len(header) - len(shown)
    if not others:
        return ", ".join(shown)

    # Others may be data, where a line of data stands in place of the header
    counted = f"{others} that may be data and {'is' if others == 1 else 'are'} not shown"
    return f"{', '.join(shown)} and {counted}" if shown else f"{others} columns, {counted}"


def missing_columns(header: Collection[str], names: Iterable[str], *, file: str) -> list[Fault]:
    """One fault for each of the columns that a header does not have; one in all where it is no header.

    Args:
        header: The cells of the first line.
        names: The columns that are needed.
        file: The file's name.
    """
    absent = [name for name in dict.fromkeys(names) if name not in header]
    if absent and looks_like_data(tuple(header)):
        return [first_line_is_data(file, absent)]

    # The nearest name is shown only where it can be nothing but a name
    known = [name for name in header if is_column_name(name)]
    faults = []
    for name in absent:
        then = f"The file has: {shown_names(header)}."
        do = did_you_mean(name, known, then=then)
        faults.append(Fault(f"column {name!r} is missing", where=file, do=do))
    return faults


def first_line_is_data(file: str, needed: Sequence[str], *, among: str = "all of them") -> Fault:
    """The fault of a table without a header line; nothing of the line is quoted.

    Args:
        file: The file's name.
        needed: Names of columns that are expected.
        among: How many of these are needed, in words.
    """
    names = ", ".join(repr(name) for name in needed)
    return Fault(
        "the first line looks like data",
        where=f"{file} line 1",
        why="its cells are not names of columns",
        do=f"Write the names of the columns into the first line; {names} are expected, {among}, or others that "
        "options name.",
    )


def looks_like_data(header: Sequence[str]) -> bool:
    """Whether a first line is none of column names: no cell is known to be one, or few are and others cannot be."""
    known = sum(is_column_name(cell) for cell in header)
    if known == 0:
        return True

    # A word such as "train" also stands in rows of data
    return 2 * known < len(header) and any(_is_no_name(cell) for cell in header)


def _is_no_name(cell: str) -> bool:
    """Whether a cell cannot be the name of a column; a longer one is not searched, which could take hours."""
    return len(cell) > _LONGEST_NAME or _NO_NAME.search(cell) is not None


def _is_known(word: str) -> bool:
    """Whether a word, or a number of up to two digits, is part of names of columns."""
    if word.isdigit():
        return len(word) <= 2
    lower = word.lower()
    if lower in _WORDS or lower in _SHORT:
        return True

    # One that is misspelt, so that advice can name it
    return len(lower) > 3 and bool(get_close_matches(lower, _WORDS, n=1, cutoff=_CLOSE))
