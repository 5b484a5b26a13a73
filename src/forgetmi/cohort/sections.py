"""Radiology reports as text: which sections are used, and the word normalisation of the original study."""

from __future__ import annotations

import re

WANTED = ("finding", "impression", "conclusion", "recommendation")
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /,&()'-]{2,60}?)[ \t]*:", re.MULTILINE)
_INLINE = re.compile(
    r"(?<=[.:])[ \t]+((?:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|RECOMMENDATIONS?)[ \t]*:)"
)
_TITLE = re.compile(r"^[ \t]*(FINAL REPORT|FINAL ADDENDUM|WET READ.*)[ \t]*$", re.MULTILINE)
_TOKEN = re.compile(
    r"(?<![\d.])[+~±-]?\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?|\d+|[^\W_]+(?:['-][^\W_]+)*|\S"
)
_NUMBER = re.compile(r"[+~±-]?(?:\d[\d.,]*|\d+/\d+|\d+(?:st|nd|rd|th))")
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
    lines = _INLINE.sub(r"\n\1", _TITLE.sub("", text.replace("\r\n", "\n")))
    marks = list(_HEADING.finditer(lines))
    headings = ["", *(mark[1].lower() for mark in marks)]
    begins = [0, *(mark.end() for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(lines)]
    return tuple(
        (heading, body)
        for heading, begin, end in zip(headings, begins, ends, strict=True)
        if (body := " ".join(lines[begin:end].split()))
    )


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
    found = sections(text)
    wanted = dict.fromkeys(body for word in WANTED for heading, body in found if word in heading)
    if wanted:
        return " ".join(wanted)
    return " ".join(text[_final(text) :].split())


def _final(text: str) -> int:
    mark = re.search(r"FINAL REPORT[ \t]*$", text, re.MULTILINE)
    return mark.end() if mark else 0


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
    tokens = _TOKEN.findall(re.sub(r"_{2,}|\bDEID\b", " ", text))
    kept = [
        token
        for token, after in zip(tokens, [*tokens[1:], ""], strict=False)
        if token != after or token[0].isalnum() or len(token) > 1
    ]
    return " ".join("NUMBER" if _is_number(token) else token for token in kept)


def _is_number(token: str) -> bool:
    return token.lower() in _NUMBER_WORDS or _NUMBER.fullmatch(token) is not None
