"""Edema severity from a radiology report by rules: words of each grade, each affirmed, uncertain, negated or past."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

GRADES = ("no edema", "vascular congestion", "interstitial edema", "alveolar edema")
UNKNOWN = -1
Kind = Literal["named", "described"]
Status = Literal["affirmed", "uncertain", "negated", "past"]


@dataclass(frozen=True)
class Mention:
    """One place where a report speaks of edema or congestion.

    Args:
        grade: The grade its words stand for, 1 to 3.
        kind: "named" = edema, congestion or a specific sign of them; "described" = opacities that may be edema.
        status: What the sentence says about it.
        sentence: Number of the sentence, from 0.
        begin, end: Its characters in the sentence.
    """

    grade: int
    kind: Kind
    status: Status
    sentence: int
    begin: int
    end: int


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in alternatives), re.IGNORECASE)


_MUCH = r"(?:prominen(?:t|ce)|increase[ds]?|accentuat(?:ed|ion)|enlarged|distended|dilated|congested|fullness|full)"
_WHERE = r"(?:the |an? |mild(?:ly)? |central(?:ly)? |bilateral |upper lobe |perihilar |hilar |pulmonary )*"
_VESSELS = r"(?:vascul\w+(?! (?:calcif|pedicle|clip|disease|access))|vessels|veins|venous (?:structures|markings))"
_STATE = r"(?:is |are |appears? |remains? |again |still |persistently |mildly |slightly |somewhat |centrally |more )*"
_EDEMA = r"(?:o?edema)\b"
_SEVERE = r"(?:severe|marked|florid|fulminant|frank|extensive)\b"
_OPACITIES = r"(?:opacit\w+|infiltrat\w+|consolidat\w+|air ?space disease|densit\w+)"

# Grade words: Chauhan, Liao et al. 2020 and the keyword lists of regex_pulmonary_edema, with their usual synonyms.
_TERMS: tuple[tuple[int, Kind, re.Pattern[str]], ...] = (
    (
        3,
        "named",
        _pattern(
            rf"{_SEVERE}(?:[\w/,-]* ){{0,4}}{_EDEMA}",
            rf"(?:alveolar|air ?space)(?: \w+)? {_EDEMA}",
            r"bat[- ]?wing",
        ),
    ),
    (2, "named", _pattern(_EDEMA, r"kerley", r"\bb[- ]lines")),
    (
        1,
        "named",
        _pattern(
            r"(?:congestive (?:heart|cardiac)|heart|cardiac|left ventricular|ventricular) failure",
            r"\bchf\b",
            r"congesti(?:on|ve)\b",
            r"cephali[sz]ation",
            r"(?:vascular|flow) redistribution",
            r"engorge\w*",
            r"plethora",
            r"(?:fluid|volume|circulatory) overload",
            r"overhydration",
            r"(?:pulmonary )?venous hypertension",
            rf"{_MUCH},? (?:of |in )?{_WHERE}{_VESSELS}",
            rf"{_VESSELS}(?: markings| structures| pattern)? {_STATE}{_MUCH}",
        ),
    ),
    (
        3,
        "described",
        _pattern(rf"(?:alveolar|(?:peri|para)?hilar)(?: (?!interstitial)\w+)? {_OPACITIES}"),
    ),
    (
        2,
        "described",
        _pattern(
            rf"interstitial (?:lung |pulmonary |air ?space )?(?:{_OPACITIES}|thickening|marking|abnormalit|process"
            r"|pattern|promin|accentuat|change)\w*",
            r"(?:prominen|accentuat|thicken)\w+ (?:\w+ ){0,4}interstiti\w+",
            r"interstitium (?:is |appears )?(?:\w+ )?prominent",
            r"septal (?:lines|thickening)",
        ),
    ),
)
_ELSEWHERE = _pattern(
    r"(?:soft[- ]tissue|subcutaneous|laryngeal|cerebral|ankle|pedal|leg|extremity|peripheral|wall|marrow|glottic|"
    r"vertebral|nasal|hepatic|facial)(?: \w+)? $"
)
_OTHER_CAUSE = _pattern(
    r"chronic",
    r"fibro",
    r"scar",
    r"emphysem",
    r"\bcopd\b",
    r"lung disease",
    r"sarcoid",
    r"granulom",
    r"calcif",
    r"pneumoni",
    r"infect",
    r"inflammat",
    r"atelecta",
    r"bronch",
    r"aspirat",
    r"tubercul",
    r"carcino",
    r"metasta",
    r"lymph",
    r"\bnodes?\b",
    r"technical",
    r"crowd",
    r"\b(?:left|right)\b",
)
_CROWDED = _pattern(
    r"crowd",
    r"low (?:lung )?volume",
    r"hypo(?:inflat|ventilat|aerat)",
    r"techni",
    r"supine",
    r"shallow",
)

_NO_CHANGE = _pattern(
    r"\b(?:no|not|without)(?: (?:significant|interval|substantial|appreciable|further|major|gross|definite|obvious|"
    r"marked|other|evidence of)(?:ly)?)* (?:changed?|improve(?:ment|d)|decrease|increase|worsening|progression|"
    r"difference)\b(?: (?:in|of|from|to))?",
    r"\bno doubt\b",
    r"\bnot only\b",
)
_END = r"\bbut\b|\bhowever\b|\balthough\b|\bthough\b|\bexcept\b|\bwhile\b|\bwhereas\b|\byet\b|\botherwise\b|;|:"
_CLAUSE = _pattern(_END)
_NEW_CLAUSE = _pattern(
    _END,
    r",? (?:and )?(?:there (?:is|are|has|remains?)|now)\b",
    r", (?:and |with )?(?:mild|minimal|moderate|severe|stable|persist\w+|increas\w+|unchanged|worsening|new|small|"
    r"bilateral|diffuse|central|cardiomegaly)\b",
    r" with (?:mild|minimal|moderate|severe|persistent|increased|central)\b",
)
_NOT_BEFORE = _pattern(
    r"\bno\b",
    r"\bnot\b",
    r"\bwithout\b",
    r"\bneither\b",
    r"\bnor\b",
    r"\bnegative for\b",
    r"\bfree (?:of|from)\b",
    r"\babsen(?:ce of|t)\b",
    r"\black of\b",
    r"\bdenies\b",
    r"\brather than\b",
    r"\bexclud(?:es|ing)\b",
    r"\b(?:resolved|cleared|clearing of|clearance of)\b",
    r"\bresolution of\b",
)
_PARTLY = _pattern(r"(?:partial|incomplete|near|some|almost|minimal|slight)(?:ly)?(?: interval)? $")
_NOT_AFTER = _pattern(
    r"\b(?:is|are|was|were|has|have|had) (?:\w+ ){0,2}?(?:not|no longer)\b",
    r"\bnot (?:\w+ )?(?:seen|identified|present|evident|appreciated|demonstrated|noted|visuali[sz]ed|observed|"
    r"engorged)\b",
    r"\b(?:has|have|is|are)?(?: since| now| completely| essentially)* ?(?:resolved|cleared|absent)\b",
    r"\bunlikely\b",
    r"\b(?:is|are|appears?|remains?)(?: to be)?(?: \w+)? (?:within )?(?:the )?(?:normal|limits of normal)\b",
    r"\bwithin (?:the )?(?:normal limits|limits of normal)\b",
    r"\bnegative\b",
)
_MAYBE_BEFORE = _pattern(
    r"\bmay\b(?! have)",
    r"\bmaybe\b",
    r"\bmight\b",
    r"\bcould\b",
    r"\bcan (?:be|reflect|represent|suggest|indicate)\b",
    r"\bperhaps\b",
    r"\bdifferential\b",
    r"\brule out\b",
    r"\br/o\b",
    r"\bexclude\b",
    r"\bconcern\w*\b",
    r"\bversus\b",
    r"\bvs\b",
    r"\bconsider\b",
    r"\bnonspecific\b",
    r"\beither\b",
)
_MAYBE_NEXT = _pattern(
    r"\bpossib(?:le|ly|ility of)\b", r"\bquestion(?:able|ed)?\b", r"\bequivocal\b", r"\b\?"
)
_MAYBE_AFTER = _pattern(
    r"\b(?:is|are|remains?) (?:also )?(?:possible|questionable|questioned|in the differential)\b",
    r"\bexclude\b",
    r"\b(?:not|cannot be|can not be|can't be)(?: \w+)? excluded\b",
    r"\bshould be considered\b",
    r"\bless likely\b",
    r"\b(?:is|are) (?:also )?(?:a )?consideration\b",
    r"^,? ?(?:\(\?\)|\?)",
)
_OR_AFTER = _pattern(r"^,? (?:or|versus|vs\.?|and/or)\b")
_OR_BEFORE = _pattern(r"\b(?:or|and/or) (?:\w+ ){0,2}$")
_PAST = _pattern(
    r"\b(?:history|hx|h/o|episodes?) (?:of )?(?:\w+ ){0,3}$",
    r"\b(?:prior|previous|past) (?:\w+ )?$",
)
_ALTERED = _pattern(
    r"\b(?:may|could|which|suggest\w*|consistent|compatible|represent\w*|reflect\w*|due|likely)\b"
)

_NORMAL = _pattern(
    rf"\bnormal(?:-appearing| appearing| caliber)? {_WHERE}{_VESSELS}",
    rf"{_VESSELS}(?: markings| pattern| caliber)?[^.;]{{0,40}}? (?:normal|unremarkable)",
    r"\bno (?:(?:radiographic|convincing|definite|visible|focal|other|significant|suggestion|evidence|signs?|findings?|"
    r"of|an|any|or) )*(?:acute|active)(?: (?:or|and) \w+)?(?:,? (?:\w+,? )?(?:cardio\w+|cardiac|pulmonary|"
    r"intrathoracic|thoracic|chest|lung|parenchymal|radiographic)(?: (?:or|and) \w+)?)? "
    r"(?:process|disease|abnormalit|finding|change|patholog|infiltrat)",
    r"\bpulmonary (?:is|are) normal",
    r"\b(?:without|no) (?:superimposed |evidence of )*acute (?:disease|process|failure)",
    r"\bnormal (?:chest|exam)",
    r"\bchest (?:is )?(?:normal|negative|clear)\b",
    r"\bclear chest\b",
    r"\bno acute\.?$",
    r"(?<!not )\bclear(?: and)? lungs\b",
    r"\blungs?(?: parenchyma| fields)?(?: (?!not)[\w-]+){0,3} clear(?! of)\b",
)


def edema_mentions(text: str) -> tuple[Mention, ...]:
    """Every mention of edema or congestion and what the report says about it, in the order of the text.

    Args:
        text: Findings and impression; see `forgetmi.cohort.sections.selected_text`.
    """
    return tuple(
        mention
        for number, sentence in enumerate(_sentences(text))
        for mention in _mentions(sentence, number)
    )


def edema_grade(text: str, *, heart_failure: bool = False) -> int:
    """The edema grade that a report states.

    The highest affirmed grade counts. "Likely", "suggests", "consistent with" affirm; "may", "possible", "cannot
    exclude" and alternatives ("edema or infection") do not. Comparisons ("improved edema") affirm, "resolved" negates.
    Edema of no stated kind is grade 2, severe edema 3. A masked word (XXXX, ___) says nothing.

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
    mentions = edema_mentions(text)
    judged = any(
        m.kind == "named" and m.grade > 1 and m.status in {"affirmed", "negated"} for m in mentions
    )
    if judged or not heart_failure:
        mentions = tuple(m for m in mentions if m.kind == "named")
    affirmed = [m.grade for m in mentions if m.status == "affirmed"]
    if affirmed:
        return max(affirmed)
    said = {m.status for m in mentions}
    if "uncertain" in said:
        return UNKNOWN
    return (
        0
        if "negated" in said or any(_NORMAL.search(sentence) for sentence in _sentences(text))
        else UNKNOWN
    )


def _sentences(text: str) -> list[str]:
    """Sentences with single blanks; masked words are removed."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"\bX{3,}\b|_{2,}", " ", text))
    cut = [
        re.split(r"(?<!\bvs)\.(?!\d)|[!]", " ".join(paragraph.split())) for paragraph in paragraphs
    ]
    return [sentence.strip() for sentences in cut for sentence in sentences if sentence.strip()]


def _mentions(sentence: str, number: int) -> Iterator[Mention]:
    spans: list[tuple[int, int, int, Kind]] = []
    for grade, kind, pattern in _TERMS:
        for match in pattern.finditer(sentence):
            begin, end = match.span()
            if any(
                begin < other_end and other_begin < end for other_begin, other_end, _, _ in spans
            ):
                continue
            if not _ELSEWHERE.search(sentence[:begin]):
                spans.append((begin, end, grade, kind))
    spans.sort()
    for begin, end, grade, kind in spans:
        others = [other for other in spans if other[0] != begin]
        if kind == "described" and (
            _OTHER_CAUSE.search(sentence) or _explained(sentence, end, others)
        ):
            continue
        status = _status(sentence, begin, end, others)
        if (
            status == "affirmed"
            and _is_prominence(sentence[begin:end])
            and _CROWDED.search(sentence)
        ):
            status = "uncertain"
        yield Mention(_raised(sentence, grade, status, spans), kind, status, number, begin, end)


def _explained(sentence: str, end: int, others: list[tuple[int, int, int, Kind]]) -> bool:
    """Whether a described finding is traced to something named later in the sentence."""
    return any(
        kind == "named" and begin > end and _ALTERED.search(sentence[end:begin])
        for begin, _, _, kind in others
    )


def _is_prominence(words: str) -> bool:
    """Whether vessels are merely called prominent, which low lung volumes explain."""
    return (
        re.search(_MUCH, words, re.IGNORECASE) is not None
        and re.search(_VESSELS, words, re.IGNORECASE) is not None
    )


def _raised(
    sentence: str, grade: int, status: Status, spans: list[tuple[int, int, int, Kind]]
) -> int:
    """Edema that the same sentence shows as alveolar opacities is alveolar."""
    alveolar = re.search(rf"\b(?:alveolar|air ?space) {_OPACITIES}", sentence, re.IGNORECASE)
    return 3 if grade == 2 and status == "affirmed" and alveolar and len(spans) > 1 else grade


def _status(
    sentence: str, begin: int, end: int, others: list[tuple[int, int, int, Kind]]
) -> Status:
    before, inside, after = sentence[:begin], sentence[begin:end], sentence[end:]
    before = _NO_CHANGE.sub(lambda match: " " * len(match[0]), before)
    clause = before[max((m.end() for m in _CLAUSE.finditer(before)), default=0) :]
    near = before[max((m.end() for m in _NEW_CLAUSE.finditer(before)), default=0) :]
    following = _CLAUSE.split(_NO_CHANGE.sub("", after), maxsplit=1)[0]
    if _PAST.search(before) and not re.search(r"compar\w+ (?:\w+ ){0,4}$", before, re.IGNORECASE):
        return "past"
    if _MAYBE_AFTER.search(following):
        return "uncertain"
    if re.search(
        r"\b(?:cannot|can not|can't|not|difficult to)(?: \w+){0,2} exclude", clause, re.IGNORECASE
    ):
        return "uncertain"
    negation = [m for m in _NOT_BEFORE.finditer(near) if not _PARTLY.search(near[: m.start()])]
    if negation or re.search(r"\bnot\b", inside, re.IGNORECASE):
        return "negated"
    if any(
        not _PARTLY.search(following[: m.start()].rstrip() + " ")
        for m in _NOT_AFTER.finditer(following)
    ):
        return "negated"
    if _MAYBE_BEFORE.search(clause) or _MAYBE_NEXT.search(
        re.split(r",|(?<!possibly) with ", clause)[-1]
    ):
        return "uncertain"
    named = [other for other in others if other[3] == "named"]
    if _OR_BEFORE.search(before) and not any(other[1] <= begin for other in named):
        return "uncertain"
    if _OR_AFTER.search(following) and not any(other[0] >= end for other in named):
        return "uncertain"
    return "affirmed"
