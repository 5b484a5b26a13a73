"""The headings of radiology reports: which are known, which models read, and which are parts of the findings."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

# What a section is: one that is read, an addendum, known but not read, a part of the findings, a title over everything.
Kind = Literal[
    "finding",
    "impression",
    "conclusion",
    "recommendation",
    "addendum",
    "other",
    "organ",
    "view",
    "final report",
    "wet read",
]

# Sections that models and labelers read, in the order they are put together.
WANTED: tuple[Kind, ...] = ("finding", "impression", "conclusion", "recommendation", "addendum")

# Headings that are known by themselves, singular, in lower case. The first four rows include the misspellings that
# MIMIC-CXR's own section parser lists.
_READ: dict[Kind, str] = {
    "finding": "finding|findin|findindg|findging|findng|findning|finidng|observation|result|report",
    "impression": "impression|impresson|imprression|imoression|impressoin|imprssion|impresion|imperssion|mpression"
    "|impession|opinion|summary|interpretation",
    "conclusion": "conclusion",
    "recommendation": "recommendation",
}
_NOT_READ = (
    "examination|exam|type of examination|type of exam|exam type|examination type|exam date|study|study date"
    "|procedure|procedure date|technique|technical factor|date|time|date of exam|date of examination"
    "|comparison|comparision|comparsion|comparrison|comparison exam|comparison film|comparison study|reference exam"
    "|prior study|prior studie|prior exam|prior film|previous study|previous studie"
    "|indication|idication|ndication|clinical indication|reason|reason for exam|reason for examination"
    "|reason for study|reason for the exam|reason for this examination|history|clinical history|patient history"
    "|medical history|relevant history|clinical information|clinical data|clinical statement|clinical question"
    "|notification|communication|pfi|electronically signed by|signed by|dictated by|transcribed by|approved by"
    "|reviewed by|attending|attending radiologist|radiologist|resident"
)

# Organs and devices under which structured reports put their findings.
_ORGANS = (
    "lung|lungs|lungs and pleura|lungs and airways|lung parenchyma|lung fields|airway|airways|trachea|heart|heart size"
    "|heart and mediastinum|cardiac|cardiac silhouette|cardiomediastinal silhouette|cardiomediastinum|cardiovascular"
    "|mediastinum|mediastinum and hila|hila|hilum|pulmonary vasculature|pulmonary vascularity|vasculature|vessels"
    "|aorta|pleura|pleural space|pleural spaces|pleural effusion|effusions|pneumothorax|bone|bones|osseous structures"
    "|bones and soft tissues|bony structures|skeleton|musculoskeletal|spine|ribs|soft tissue|soft tissues|chest wall"
    "|diaphragm|upper abdomen|abdomen|line|lines|tubes|lines and tubes|tubes and lines|catheters|devices"
    "|support devices|support lines and tubes|hardware|medical devices"
)

# Words of headings in capitals: a heading that holds one is known, whatever else it says.
_READ_WORDS: tuple[Kind, ...] = ("finding", "impression", "conclusion", "recommendation")
_NOT_READ_WORDS = re.compile(r"history|comparison|indication|technique|reason for")
_VIEW = re.compile(
    r"chest|(?=.*\b(?:chest|ribs?|views?|radiographs?|x-?rays?|films?|portable)\b)"
    r".*\b(?:pa|ap|lat|lateral|frontal|portable|supine|upright|views?|radiographs?|x-?rays?|films?)\b.*"
)
_ADDENDUM = re.compile(r"(?:final |revised )?addend(?:um|a)\b.*")
_BEGINS = re.compile(r"(findings?|impressions?|conclusions?|recommendations?) ?(?:[/(&,]|and\b)")
_ENDS = re.compile(r"(?:[\w-]+ ){1,2}(findings?|impressions?|conclusions?|recommendations?)")
_JOINED = re.compile(r" and |[/,&+]")


def _by_name() -> dict[str, Kind]:
    """Every heading that is known by itself."""
    kinds: dict[str, Kind] = {}
    for kind, names in _READ.items():
        kinds |= dict.fromkeys(names.split("|"), kind)
    kinds |= dict.fromkeys(_NOT_READ.split("|"), "other")
    kinds |= {"final report": "final report", "wet read": "wet read", "wetread": "wet read"}
    kinds |= {"preliminary report": "wet read", "preliminary read": "wet read"}
    return kinds


_KINDS = _by_name()
_ORGAN_NAMES = frozenset(_ORGANS.split("|"))


@lru_cache(maxsize=4096)
def kind_of(heading: str) -> Kind | None:
    """What a heading says the text after it is.

    Args:
        heading: Its words, without colon. In capitals, one known word is enough ("PRIOR HISTORY"); otherwise all of it
            must be known, but of a heading that is read the first or last word ("Impression/plan", "Other findings").

    Returns:
        Its kind; None = it is no known heading, so that it belongs to the section it stands in.

    References:
        MIT-LCP/mimic-cxr, `section_parser.py`, for the known headings and the words that make one known. Deviation:
        headings that it knows by no name end no section.
    """
    # One spelling: lower case, single blanks, RECOMMENDATION(S) and FINDINGS alike.
    words = " ".join(heading.replace("(s)", "").replace("(S)", "").split())
    capitals = words == words.upper()
    name = words.lower().strip(" .-")
    if _ADDENDUM.fullmatch(name):
        return "addendum"

    # Known as a whole: by itself, as a part of the findings, or joined of known ones.
    if name in _ORGAN_NAMES or _all_organs(name):
        return "organ"
    if (kind := _named(name)) is not None:
        return kind
    if (kind := _joined(name)) is not None:
        return kind

    # Known by one of its words: any in capitals, else the first ("Impression/plan") or the last ("Other findings").
    if capitals:
        return _by_word(name)
    match = _BEGINS.match(name) or _ENDS.fullmatch(name)
    return None if match is None else _named(match[1])


def _named(name: str) -> Kind | None:
    """The kind of a heading that is known by itself, in singular or plural."""
    return _KINDS.get(name) or _KINDS.get(name.removesuffix("s"))


def _joined(name: str) -> Kind | None:
    """The kind of known headings in one: the first that is read, where one is."""
    kinds = [_named(part.strip()) for part in _JOINED.split(name)]
    if len(kinds) < 2 or None in kinds:
        return None
    for kind in WANTED:
        if kind in kinds:
            return kind
    return "other"


def _all_organs(name: str) -> bool:
    """Whether a heading lists organs alone: lungs/pleura, heart and aorta."""
    return all(part.strip() in _ORGAN_NAMES for part in _JOINED.split(name))


def _by_word(name: str) -> Kind | None:
    """The kind of a heading in capitals that holds a known word."""
    for kind in _READ_WORDS:
        if kind in name:
            return kind
    if _NOT_READ_WORDS.search(name):
        return "other"
    return "view" if _VIEW.fullmatch(name) else None
