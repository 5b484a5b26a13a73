"""Edema severity from a radiology report by rules: words of each grade, each affirmed, uncertain, negated or past."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forgetmi.cohort.edema_terms import (
    ALTERED,
    CLAUSE,
    CROWDED,
    ELSEWHERE,
    MAYBE_AFTER,
    MAYBE_BEFORE,
    MAYBE_NEXT,
    MUCH,
    NEW_CLAUSE,
    NO_CHANGE,
    NORMAL,
    NOT_AFTER,
    NOT_BEFORE,
    OPACITIES,
    OR_AFTER,
    OR_BEFORE,
    OTHER_CAUSE,
    PARTLY,
    PAST,
    TERMS,
    VESSELS,
    Kind,
)

GRADES = ("no edema", "vascular congestion", "interstitial edema", "alveolar edema")
UNKNOWN = -1
Status = Literal["affirmed", "uncertain", "negated", "past"]

_CANNOT_EXCLUDE = re.compile(
    r"\b(?:cannot|can not|can't|not|difficult to)(?: \w+){0,2} exclude", re.IGNORECASE
)
_COMPARED_WITH = re.compile(r"compar\w+ (?:\w+ ){0,4}$", re.IGNORECASE)
_NOT = re.compile(r"\bnot\b", re.IGNORECASE)
_ALVEOLAR = re.compile(rf"\b(?:alveolar|air ?space) {OPACITIES}", re.IGNORECASE)
_MASKED = re.compile(r"\bX{3,}\b|_{2,}")
_SENTENCE_END = re.compile(r"(?<!\bvs)\.(?!\d)|[!]")
# Characters of the longest sentence: the time for one grows faster than its square
_LONGEST = 2000


@dataclass(frozen=True)
class Mention:
    """One place where a report mentions edema or congestion.

    Args:
        grade: The grade its words stand for, 1 to 3.
        kind: "named" = edema, congestion or a specific sign of them; "described" = opacities that may be edema.
        status: What the sentence states about it.
        sentence: Number of the sentence, from 0.
        begin, end: Its characters in the sentence.
    """

    grade: int
    kind: Kind
    status: Status
    sentence: int
    begin: int
    end: int


def edema_mentions(text: str) -> tuple[Mention, ...]:
    """Every mention of edema or congestion and what the report states about it, in the order of the text.

    Args:
        text: Findings and impression; see `forgetmi.cohort.sections.selected_text`.
    """
    mentions: list[Mention] = []
    for number, sentence in enumerate(_sentences(text)):
        mentions += _mentions(sentence, number)
    return tuple(mentions)


def edema_grade(text: str, *, heart_failure: bool = False) -> int:
    """The edema grade that a report states.

    The highest affirmed grade counts. "Likely", "suggests", "consistent with" affirm; "may", "possible", "cannot
    exclude" and alternatives ("edema or infection") do not. Comparisons ("improved edema") affirm, "resolved" negates.
    Edema of no stated kind is grade 2, severe edema 3. A masked word (XXXX, ___) counts as nothing.

    Args:
        text: Findings and impression; see `forgetmi.cohort.sections.selected_text`.
        heart_failure: Whether interstitial, alveolar or perihilar opacities without another cause count as edema of
            grade 2 or 3 unless edema is ruled out. The original keywords do so for patients with heart failure; in
            other patients most such opacities are none.

    Returns:
        0 to 3; -1 where the report leaves it open or does not speak of it.

    References:
        Grade words: Chauhan, Liao et al., MICCAI 2020; Horng, Liao et al., Radiology: AI 2021
        (regex_pulmonary_edema, bbbac0b). Scopes after NegEx (Chapman et al., J Biomed Inform 2001). Deviations: the
        highest affirmed grade counts instead of the last sentence's, and uncertain mentions are not affirmed.
    """
    # Opacities count only where they may, and nothing more specific decides
    mentions = edema_mentions(text)
    if not heart_failure or _names_edema(mentions):
        mentions = tuple(mention for mention in mentions if mention.kind == "named")

    affirmed = [mention.grade for mention in mentions if mention.status == "affirmed"]
    if affirmed:
        return max(affirmed)

    # Nothing is affirmed: unknown where it may be, none where it is ruled out
    statuses = {mention.status for mention in mentions}
    if "uncertain" in statuses:
        return UNKNOWN
    if "negated" in statuses or any(NORMAL.search(sentence) for sentence in _sentences(text)):
        return 0
    return UNKNOWN


def _names_edema(mentions: Iterable[Mention]) -> bool:
    """Whether edema itself, of grade 2 or 3, is affirmed or ruled out by name."""
    for mention in mentions:
        decided = mention.status in {"affirmed", "negated"}
        if decided and mention.kind == "named" and mention.grade > 1:
            return True
    return False


def _sentences(text: str) -> list[str]:
    """Sentences with single blanks; masked words are removed."""
    sentences = []
    for paragraph in re.split(r"\n\s*\n", _MASKED.sub(" ", text)):
        joined = " ".join(paragraph.split())
        for sentence in _SENTENCE_END.split(joined):
            sentences += _in_bounds(sentence.strip())
    return sentences


def _in_bounds(sentence: str) -> Iterator[str]:
    """A sentence, or its parts where it is longer than any sentence is; none where it is empty."""
    while len(sentence) > _LONGEST:
        end = sentence.rfind(" ", 0, _LONGEST)
        end = _LONGEST if end <= 0 else end
        yield sentence[:end]
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


@dataclass(frozen=True, order=True)
class _Span:
    """A term that was found in a sentence: its characters, grade and kind."""

    begin: int
    end: int
    grade: int
    kind: Kind


def _mentions(sentence: str, number: int) -> Iterator[Mention]:
    """The mentions in one sentence."""
    spans = _spans(sentence)
    for span in spans:
        others = [other for other in spans if other.begin != span.begin]

        # An opacity with another cause is no edema
        if span.kind == "described" and (
            OTHER_CAUSE.search(sentence) or _explained(sentence, span, others)
        ):
            continue

        # Prominent vessels may come from low lung volumes alone
        status = _status(sentence, span, others)
        words = sentence[span.begin : span.end]
        if status == "affirmed" and _is_prominence(words) and CROWDED.search(sentence):
            status = "uncertain"

        # Edema that the same sentence shows as alveolar opacities is alveolar
        grade = span.grade
        if grade == 2 and status == "affirmed" and others and _ALVEOLAR.search(sentence):
            grade = 3
        yield Mention(grade, span.kind, status, number, span.begin, span.end)


def _spans(sentence: str) -> list[_Span]:
    """Terms in a sentence, in its order; the more severe and specific ones go first where two overlap."""
    spans: list[_Span] = []
    for grade, kind, pattern in TERMS:
        for match in pattern.finditer(sentence):
            begin, end = match.span()
            if any(begin < other.end and other.begin < end for other in spans):
                continue
            if not ELSEWHERE.search(sentence[:begin]):
                spans.append(_Span(begin, end, grade, kind))
    return sorted(spans)


def _explained(sentence: str, span: _Span, others: Sequence[_Span]) -> bool:
    """Whether a described finding is traced to something named later in the sentence."""
    for other in others:
        between = sentence[span.end : other.begin]
        if other.kind == "named" and other.begin > span.end and ALTERED.search(between):
            return True
    return False


def _is_prominence(words: str) -> bool:
    """Whether vessels are merely called prominent, which low lung volumes explain."""
    prominent = re.search(MUCH, words, re.IGNORECASE)
    vessels = re.search(VESSELS, words, re.IGNORECASE)
    return prominent is not None and vessels is not None


def _status(sentence: str, span: _Span, others: Sequence[_Span]) -> Status:
    """What a sentence states about a term. The rules go from the most to the least specific."""
    # Before the term: all, its clause, and what follows the last new finding; "no change" is blanked out
    inside = sentence[span.begin : span.end]
    before = NO_CHANGE.sub(lambda match: " " * len(match[0]), sentence[: span.begin])
    clause = _after_last(CLAUSE, before)
    near = _after_last(NEW_CLAUSE, before)

    # After it: to the end of its clause
    after = NO_CHANGE.sub("", sentence[span.end :])
    following = CLAUSE.split(after, maxsplit=1)[0]

    # The past, except in a comparison with it
    if PAST.search(before) and not _COMPARED_WITH.search(before):
        return "past"

    # Uncertainty that goes before a negation ("cannot exclude")
    if MAYBE_AFTER.search(following) or _CANNOT_EXCLUDE.search(clause):
        return "uncertain"

    # Negation
    if _negated_before(near) or _NOT.search(inside) or _negated_after(following):
        return "negated"

    # Uncertainty
    next_words = re.split(r",|(?<!possibly) with ", clause)[-1]
    if MAYBE_BEFORE.search(clause) or MAYBE_NEXT.search(next_words):
        return "uncertain"

    # An alternative to something that is not edema
    named = [other for other in others if other.kind == "named"]
    if OR_BEFORE.search(before) and not any(other.end <= span.begin for other in named):
        return "uncertain"
    if OR_AFTER.search(following) and not any(other.begin >= span.end for other in named):
        return "uncertain"

    return "affirmed"


def _after_last(pattern: re.Pattern[str], text: str) -> str:
    """What follows the last match of a pattern; the whole text where there is none."""
    end = 0
    for match in pattern.finditer(text):
        end = max(end, match.end())
    return text[end:]


def _negated_before(near: str) -> bool:
    """Whether a negation goes before the term, other than "partly resolved"."""
    negations = [near[: match.start()] for match in NOT_BEFORE.finditer(near)]
    return any(not PARTLY.search(words) for words in negations)


def _negated_after(following: str) -> bool:
    """Whether a negation follows the term, other than "partly resolved"."""
    negations = [following[: match.start()] for match in NOT_AFTER.finditer(following)]
    return any(not PARTLY.search(words.rstrip() + " ") for words in negations)
