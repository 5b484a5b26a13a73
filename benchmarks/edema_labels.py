"""Measures the edema labeler on the Open-i reports: against labels set by hand and against the manual MeSH codes.

    python benchmarks/edema_labels.py reports.tar.gz

Candidates are reports with a word of edema or congestion. They are divided by a hash of their text: rules were written
on the development half; the test half was labeled by hand after the rules were frozen.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

CANDIDATE = re.compile(
    r"edema|oedema|congest|cephali[sz]|kerley|septal|engorge|plethora|overload|heart failure|\bchf\b|"
    r"vascular(?:ity)? (?:prominence|redistribution)|prominen\w* (?:of the )?(?:\w+ ){0,2}(?:pulmonary )?"
    r"(?:vascul|interstit)|venous hypertension|interstitial|perihilar|bat ?wing|"
    r"(?:alveolar|hilar) (?:infiltrate|opacit|process)", re.IGNORECASE)
DEVELOPMENT = 96  # of 256


def half(text: str) -> Literal["development", "test"]:
    """The half a report belongs to, by a hash of its words: equal texts are on one side."""
    words = " ".join(text.lower().split())
    byte = hashlib.sha256(b"forgetmi edema labels\n" + words.encode()).digest()[0]
    return "development" if byte < DEVELOPMENT else "test"
