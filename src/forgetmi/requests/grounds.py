"""On which ground somebody withdraws, in words that reports and records print."""

from __future__ import annotations

from collections.abc import Mapping

from forgetmi.requests.deadlines import Term

# Short names that may be given instead of words
GROUNDS: Mapping[str, str] = {
    "consent": "consent withdrawn, GDPR Art. 17(1)(b)",
    "objection": "objection, GDPR Art. 21",
    "erasure": "GDPR Art. 17, erasure",
    "study": "withdrawal under the study's protocol",
}
# Of a term where no ground is given
OF_TERM: Mapping[Term, str] = {
    "gdpr": GROUNDS["erasure"],
    "uk_biobank": "UK Biobank withdrawal",
    "own": "withdrawal",
}


def ground_words(ground: str, term: Term) -> str:
    """A ground in words.

    Args:
        ground: A short name, or words; "" = that of the term.
        term: What sets the deadline.
    """
    return GROUNDS.get(ground, ground) or OF_TERM[term]
