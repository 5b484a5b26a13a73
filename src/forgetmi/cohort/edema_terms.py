"""Words of a radiology report that speak of edema or congestion, and of what the sentence states about them.

The building blocks are put together into patterns, which `forgetmi.cohort.edema_labels` searches in each sentence.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["named", "described"]


def _pattern(*alternatives: str) -> re.Pattern[str]:
    """Any of several expressions, in upper or lower case."""
    groups = [f"(?:{alternative})" for alternative in alternatives]
    return re.compile("|".join(groups), re.IGNORECASE)


# Building blocks
MUCH = r"(?:prominen(?:t|ce)|increase[ds]?|accentuat(?:ed|ion)|enlarged|distended|dilated|congested|fullness|full)"
_WHERE = r"(?:the |an? |mild(?:ly)? |central(?:ly)? |bilateral |upper lobe |perihilar |hilar |pulmonary )*"
VESSELS = r"(?:vascul\w+(?! (?:calcif|pedicle|clip|disease|access))|vessels|veins|venous (?:structures|markings))"
_STATE = r"(?:is |are |appears? |remains? |again |still |persistently |mildly |slightly |somewhat |centrally |more )*"
_EDEMA = r"(?:o?edema)\b"
_SEVERE = r"(?:severe|marked|florid|fulminant|frank|extensive)\b"
OPACITIES = r"(?:opacit\w+|infiltrat\w+|consolidat\w+|air ?space disease|densit\w+)"

# Grade words: Chauhan, Liao et al. 2020 and the keyword lists of regex_pulmonary_edema, with their usual synonyms.
TERMS: tuple[tuple[int, Kind, re.Pattern[str]], ...] = (
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
            rf"{MUCH},? (?:of |in )?{_WHERE}{VESSELS}",
            rf"{VESSELS}(?: markings| structures| pattern)? {_STATE}{MUCH}",
        ),
    ),
    (
        3,
        "described",
        _pattern(rf"(?:alveolar|(?:peri|para)?hilar)(?: (?!interstitial)\w+)? {OPACITIES}"),
    ),
    (
        2,
        "described",
        _pattern(
            rf"interstitial (?:lung |pulmonary |air ?space )?(?:{OPACITIES}|thickening|marking|abnormalit|process"
            r"|pattern|promin|accentuat|change)\w*",
            r"(?:prominen|accentuat|thicken)\w+ (?:\w+ ){0,4}interstiti\w+",
            r"interstitium (?:is |appears )?(?:\w+ )?prominent",
            r"septal (?:lines|thickening)",
        ),
    ),
)
# Edema of another part of the body, right before its name
ELSEWHERE = _pattern(
    r"(?:soft[- ]tissue|subcutaneous|laryngeal|cerebral|ankle|pedal|leg|extremity|peripheral|wall|marrow|glottic|"
    r"vertebral|nasal|hepatic|facial)(?: \w+)? $"
)
# Words that give an opacity another cause than edema
OTHER_CAUSE = _pattern(
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
# Why vessels look prominent without congestion
CROWDED = _pattern(
    r"crowd",
    r"low (?:lung )?volume",
    r"hypo(?:inflat|ventilat|aerat)",
    r"techni",
    r"supine",
    r"shallow",
)

# "No change" negates the change, not the edema
NO_CHANGE = _pattern(
    r"\b(?:no|not|without)(?: (?:significant|interval|substantial|appreciable|further|major|gross|definite|obvious|"
    r"marked|other|evidence of)(?:ly)?)* (?:changed?|improve(?:ment|d)|decrease|increase|worsening|progression|"
    r"difference)\b(?: (?:in|of|from|to))?",
    r"\bno doubt\b",
    r"\bnot only\b",
)
# Where a clause ends, and where a new finding begins
_END = r"\bbut\b|\bhowever\b|\balthough\b|\bthough\b|\bexcept\b|\bwhile\b|\bwhereas\b|\byet\b|\botherwise\b|;|:"
CLAUSE = _pattern(_END)
NEW_CLAUSE = _pattern(
    _END,
    r",? (?:and )?(?:there (?:is|are|has|remains?)|now)\b",
    r", (?:and |with )?(?:mild|minimal|moderate|severe|stable|persist\w+|increas\w+|unchanged|worsening|new|small|"
    r"bilateral|diffuse|central|cardiomegaly)\b",
    r" with (?:mild|minimal|moderate|severe|persistent|increased|central)\b",
)
# Negation before and after the term; partial resolution does not negate
NOT_BEFORE = _pattern(
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
PARTLY = _pattern(r"(?:partial|incomplete|near|some|almost|minimal|slight)(?:ly)?(?: interval)? $")
NOT_AFTER = _pattern(
    r"\b(?:is|are|was|were|has|have|had) (?:\w+ ){0,2}?(?:not|no longer)\b",
    r"\bnot (?:\w+ )?(?:seen|identified|present|evident|appreciated|demonstrated|noted|visuali[sz]ed|observed|"
    r"engorged)\b",
    r"\b(?:has|have|is|are)?(?: since| now| completely| essentially)* ?(?:resolved|cleared|absent)\b",
    r"\bunlikely\b",
    r"\b(?:is|are|appears?|remains?)(?: to be)?(?: \w+)? (?:within )?(?:the )?(?:normal|limits of normal)\b",
    r"\bwithin (?:the )?(?:normal limits|limits of normal)\b",
    r"\bnegative\b",
)
# Uncertainty before the term, right before it, and after it
MAYBE_BEFORE = _pattern(
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
MAYBE_NEXT = _pattern(
    r"\bpossib(?:le|ly|ility of)\b", r"\bquestion(?:able|ed)?\b", r"\bequivocal\b", r"\b\?"
)
MAYBE_AFTER = _pattern(
    r"\b(?:is|are|remains?) (?:also )?(?:possible|questionable|questioned|in the differential)\b",
    r"\bexclude\b",
    r"\b(?:not|cannot be|can not be|can't be)(?: \w+)? excluded\b",
    r"\bshould be considered\b",
    r"\bless likely\b",
    r"\b(?:is|are) (?:also )?(?:a )?consideration\b",
    r"^,? ?(?:\(\?\)|\?)",
)
# Alternatives
OR_AFTER = _pattern(r"^,? (?:or|versus|vs\.?|and/or)\b")
OR_BEFORE = _pattern(r"\b(?:or|and/or) (?:\w+ ){0,2}$")
# Findings of another time
PAST = _pattern(
    r"\b(?:history|hx|h/o|episodes?) (?:of )?(?:\w+ ){0,3}$",
    r"\b(?:prior|previous|past) (?:\w+ )?$",
)
# A finding traced to another one
ALTERED = _pattern(
    r"\b(?:may|could|which|suggest\w*|consistent|compatible|represent\w*|reflect\w*|due|likely)\b"
)

# Statements that rule out edema without naming it
NORMAL = _pattern(
    rf"\bnormal(?:-appearing| appearing| caliber)? {_WHERE}{VESSELS}",
    rf"{VESSELS}(?: markings| pattern| caliber)?[^.;]{{0,40}}? (?:normal|unremarkable)",
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
