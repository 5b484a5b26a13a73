"""Radiology reports as text: which sections are used, and the word normalisation of the original study."""

from __future__ import annotations

import re

# Sections that models and labelers read, in the order they are put together
WANTED = ("finding", "impression", "conclusion", "recommendation")
# A heading at the start of a line, one of the wanted ones within a line, and titles that are dropped
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /,&()'-]{2,60}?)[ \t]*:", re.MULTILINE)
_INLINE = re.compile(
    r"(?<=[.:])[ \t]+((?:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|RECOMMENDATIONS?)[ \t]*:)"
)
_TITLE = re.compile(r"^[ \t]*(FINAL REPORT|FINAL ADDENDUM|WET READ.*)[ \t]*$", re.MULTILINE)
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


def sections(text: str) -> tuple[tuple[str, str], ...]:
    """Split a report at its headings.

    A heading is a run of capitals with a colon at the start of a line ("FINDINGS:"), or one of the wanted headings
    after a full stop on the same line.

    Args:
        text: The report as written.

    Returns:
        (heading in lower case, text with single blanks) in the report's order; text before the first heading has the
        heading "".
    """
    # One kind of line end, no titles, and every wanted heading on a line of its own
    lines = _TITLE.sub("", text.replace("\r\n", "\n"))
    lines = _INLINE.sub(r"\n\1", lines)

    # A section goes from its heading to the next; empty ones are left out
    result = []
    heading, begin = "", 0
    for match in _HEADING.finditer(lines):
        result.append((heading, _single_blanks(lines[begin : match.start()])))
        heading, begin = match[1].lower(), match.end()
    result.append((heading, _single_blanks(lines[begin:])))
    return tuple((heading, body) for heading, body in result if body)


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


def selected_text(text: str) -> str:
    """The part of a report that models and labelers read: findings, impression, conclusion and recommendation.

    The sections come in that order, each text once; a report without any of them is used whole, without what comes
    before "FINAL REPORT".

    Args:
        text: The report as written.

    References:
        Chauhan, Liao et al., MICCAI 2020, joint_chestxray (b05a19e), `write_report_into_df`. Deviation: the original
        uses a report without these sections only where its label is unknown; here always, since a labeled study
        without text could not be used at all.
    """
    # Wanted sections, by kind and then in the report's order
    all_sections = sections(text)
    wanted: list[str] = []
    for word in WANTED:
        wanted += [body for heading, body in all_sections if word in heading]
    if wanted:
        return " ".join(dict.fromkeys(wanted))

    # None of them: everything after the title
    title = re.search(r"FINAL REPORT[ \t]*$", text, re.MULTILINE)
    return _single_blanks(text[title.end() :] if title else text)


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
