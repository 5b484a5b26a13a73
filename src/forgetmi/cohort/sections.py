"""Radiology reports as text: which sections are used, and the word normalisation of the original study."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from forgetmi.cohort.headings import WANTED, Kind, kind_of

# Marks that some systems put around headings: **FINDINGS:**, ## Findings, *** ADDENDUM ***, a bullet, > of quotations.
_MARKS = r"(?:[*#=>\u2022\u25cf\u25aa\u00b7-]+[^\S\n]*)?"
_WORDS = r"[A-Za-z][A-Za-z0-9 \t\xa0/,&+()'._#-]{1,60}?"
# A heading at the start of a line, with its colon; or alone on its line, without one. What stands between the two is
# never tried in parts (*+): a line of a million blanks would take hours.
_HEADING = re.compile(
    rf"^[^\S\n]*{_MARKS}({_WORDS})[^\S\n]*+\**+[^\S\n]*+(?:[:\uff1a](?!\d)\**|{_MARKS}$)",
    re.MULTILINE,
)
# The same within a line: after a sentence or another heading, or in capitals after a word in small letters
_INLINE = re.compile(
    r"(?:(?<=([.:;!?)\]]))|(?<=[a-z0-9_,]))[^\S\n]+(?=([A-Z][A-Za-z &/()]{2,40}?)[^\S\n]*:)"
)
# A heading with another mark than a colon: "IMPRESSION - Clear."
_PLAIN_HEADING = (
    "(?:FINDING|IMPRESSION|CONCLUSION|RECOMMENDATION)S?|(?:CLINICAL )?(?:INDICATION|HISTORY)"
    "|TECHNIQUE|COMPARISON|EXAM(?:INATION)?|REASON FOR (?:THIS )?EXAM(?:INATION)?"
)
_NO_COLON = re.compile(
    rf"^([^\S\n]*{_MARKS}(?:{_PLAIN_HEADING}))[^\S\n]*(?:[;=]|[-\u2013\u2014.](?=\s))", re.MULTILINE
)
# Lines that part a report from its addendum; a title with what stands after it ("WET READ: 7:02 PM")
_RULE = re.compile(r"^[^\S\n]*[_=*-]{5,}[^\S\n]*$", re.MULTILINE)
_LINE_END = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
# Line ends as programs hand reports on: of HL7 (\.br\), of spreadsheets, of web pages, of texts with escapes
_WRITTEN_END = re.compile(
    r"\\\.br\\|\\X0[AD]\\|_x000[AD]_|(?:\\r)?\\n|</?(?:br|p|div|li|tr|h[1-6])\b[^<>\n]{0,200}>|&#1[03];",
    re.IGNORECASE,
)
_WET_READ = re.compile(r"^([^\S\n]*WET ?READ)\b(?!:)", re.MULTILINE)
_BACKGROUND = re.compile(r"history|indication|technique|reason for", re.IGNORECASE)
_FINAL_REPORT = re.compile(
    r"^[^\S\n]*FINAL REPORT[^\S\n]*:?[^\S\n]*$", re.MULTILINE | re.IGNORECASE
)
# Characters around a heading that may decide about it
_NEAR = 500
_LETTER = re.compile(r"[^\W\d_]")
# Words alone on a line that are the title of a whole report
_TITLES_OF_REPORTS = frozenset({"report", "results", "study", "date", "time"})
# Tokens: numbers with their signs and endings, words, single marks
_TOKEN = re.compile(
    r"(?<![\d.])[+~±-]?\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?|\d+|[^\W_]+(?:['-][^\W_]+)*|\S"
)
_NUMBER = re.compile(r"[+~±-]?(?:\d[\d.,]*|\d+/\d+|\d+(?:st|nd|rd|th))")
# Numbers in words
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve"
_TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_LARGE = "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_NUMBER_WORDS = frozenset(f"{_SMALL} {_TEENS} {_LARGE} {_ORDINALS}".split())


@dataclass(frozen=True)
class _Section:
    """A part of a report: its heading in lower case, what that says it is ("" = before any), its text."""

    heading: str
    kind: Kind | Literal[""]
    body: str


def sections(text: str) -> tuple[tuple[str, str], ...]:
    """Split a report at its known headings; others (LUNGS:, NOTE:) belong to the section they stand in.

    A heading is known words with a colon at the start of a line ("FINDINGS:", "Clinical history:"), or alone on a
    line; a heading that is read may also follow a sentence on its line. Organs and views ("LUNGS:", "CHEST, TWO
    VIEWS:") begin the findings where no section that is read is under way.

    Args:
        text: The report as written.

    Returns:
        (heading in lower case, text with single blanks) in the report's order; text before the first heading has the
        heading "".
    """
    return tuple((section.heading, section.body) for section in _sections(_lines(text)))


def selected_text(text: str) -> str:
    """The part of a report that models and labelers read: findings, impression, conclusion, recommendation, addenda.

    The sections come in that order, each text once; an addendum stands last, wherever it was written. A preliminary
    reading ("WET READ") before the final report is left out. A report without any of them is used whole, without what
    comes before "FINAL REPORT", and its addenda after it.

    Args:
        text: The report as written.

    References:
        Chauhan, Liao et al., MICCAI 2020, joint_chestxray (b05a19e), `write_report_into_df`. Deviations: the original
        uses a report without these sections only where its label is unknown; here always, since a labeled study
        without text could not be used at all. Addenda, and findings under a view or an organ alone, are kept.
    """
    # Sections that are read, by kind and then in the report's order
    lines = _lines(text)
    found = list(_sections(lines))
    addenda = [section.body for section in found if section.kind == "addendum"]
    wanted: list[str] = []
    for kind in WANTED:
        wanted += [section.body for section in found if section.kind == kind]
    if len(wanted) > len(addenda):
        return " ".join(dict.fromkeys(wanted))

    # None of them: everything after the title, and the addenda that went before it
    title = _FINAL_REPORT.search(lines)
    if title is None:
        return _single_blanks(lines)
    whole = _single_blanks(lines[title.end() :])
    before = [body for body in addenda if body not in whole]
    return " ".join(part for part in (whole, *before) if part)


def _lines(text: str) -> str:
    """A report with one kind of line end, and every heading at the start of a line with a colon after it."""
    lines = _LINE_END.sub("\n", text.removeprefix("\ufeff"))
    lines = _WRITTEN_END.sub("\n", lines)
    lines = _RULE.sub("", lines)
    lines = _WET_READ.sub(r"\1:", lines)
    lines = _NO_COLON.sub(r"\1:", lines)
    return _INLINE.sub(_on_its_own_line, lines)


def _on_its_own_line(match: re.Match[str]) -> str:
    """A line end in place of the blanks before a heading within a line, if it is one."""
    words, mark = match[2], match[1]
    kind = kind_of(words)
    capitals = words == words.upper()

    # In small letters, after a word: part of a sentence
    begins = mark is not None or capitals
    # Only headings that are read, or after a sentence in capitals or of the background, end what goes before them
    after_sentence = mark in {".", ";", "!", "?"}
    telling = capitals or _BACKGROUND.search(words) is not None
    ends = kind in WANTED or (kind == "other" and telling and after_sentence)
    return "\n" if begins and ends else match[0]


def _sections(lines: str) -> Iterator[_Section]:
    """The sections of a report that `_lines` has prepared; empty ones are left out."""
    title = _FINAL_REPORT.search(lines)
    final = 0 if title is None else title.start()

    # A section goes from its heading to the next that is known
    heading = ""
    kind: Kind | Literal[""] = ""
    begin = 0
    for match in _HEADING.finditer(lines):
        next_kind = _boundary(lines, match)
        if next_kind is None:
            continue

        # Organs and views are parts of a section that is read; a preliminary reading goes on to the final report
        if next_kind in {"organ", "view"} and kind in WANTED:
            continue
        if kind == "wet read" and match.start() < final and next_kind != "addendum":
            continue

        yield from _section(heading, kind, lines[begin : match.start()])
        heading, kind, begin = match[1].lower().strip(), next_kind, match.end()
        if kind == "organ":
            begin = match.start()
        if kind in {"organ", "view"}:
            heading, kind = "findings", "finding"
        if kind == "final report":
            heading, kind = "", ""
    yield from _section(heading, kind, lines[begin:])


def _section(heading: str, kind: Kind | Literal[""], text: str) -> Iterator[_Section]:
    """A section, or none where there is no text."""
    body = _single_blanks(text)
    if body:
        yield _Section(heading, kind, body)


def _boundary(lines: str, match: re.Match[str]) -> Kind | None:
    """The kind of a heading; None where the words are part of what goes before."""
    words = match[1]
    kind = kind_of(words)
    if kind is None:
        return None

    # Without a colon: a heading by itself, not the last word of a sentence
    has_colon = match[0].rstrip("*").endswith((":", "\uff1a"))
    if not has_colon and (kind in {"organ", "view"} or words[0].islower()):
        return None
    if not has_colon and " ".join(words.lower().split()) in _TITLES_OF_REPORTS:
        return None

    # In small letters, within a sentence that was broken into lines
    if words[0].islower() and not _may_begin(lines[max(0, match.start() - _NEAR) : match.start()]):
        return None

    # A view with nothing but a date after it
    if kind == "view":
        rest = lines[match.end() : match.end() + _NEAR].split("\n", 1)[0]
        if rest.strip() and not _LETTER.search(rest):
            return "other"
    return kind


def _may_begin(before: str) -> bool:
    """Whether a heading in small letters may follow: after a sentence, a paragraph, or another heading's line."""
    text = before.rstrip()
    if not text or text[-1] in ".:;!?_)" or before[len(text) :].count("\n") > 1:
        return True
    return ":" in text.rsplit("\n", 1)[-1]


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


def normalised(text: str) -> str:
    """The word normalisation of the original study: numbers become NUMBER, tokens are separated by blanks.

    Use it for reports that a model trained on the original authors' texts will read. Of two equal adjacent punctuation
    marks the first is dropped; removed identifiers ("___") disappear.

    Args:
        text: A report or its selected sections.

    References:
        Chauhan, Liao et al., MICCAI 2020, joint_chestxray (b05a19e), `normalize_report`. Deviation: words and marks are
        told apart by one regular expression instead of scispaCy's tokeniser and sentence splitter, so rare tokens
        (abbreviations with full stops) are cut differently.
    """
    # Tokens, without removed identifiers
    tokens = _TOKEN.findall(re.sub(r"_{2,}|\bDEID\b", " ", text))

    result = []
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        is_mark = len(token) == 1 and not token.isalnum()
        if is_mark and token == following:  # the second of two equal marks stays
            continue
        result.append("NUMBER" if _is_number(token) else token)
    return " ".join(result)


def _is_number(token: str) -> bool:
    return token.lower() in _NUMBER_WORDS or _NUMBER.fullmatch(token) is not None
