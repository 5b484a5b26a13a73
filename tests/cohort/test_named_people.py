"""Identifiers in free words are found whatever their case and separators, and by keyed digests alone."""

from __future__ import annotations

import pytest

from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import likeness
from forgetmi.cohort.named_people import names_somebody

NAMES = Pseudonyms(bytes(range(32)))
PEOPLE = ("Smith-1964", "10003502", "AB 12.3/4", "007-12")


def alike() -> set[str]:
    """What a cohort keeps of its patients."""
    return {NAMES.digest("patient alike", part) for who in PEOPLE for part in likeness(who)}


@pytest.mark.parametrize(
    "words",
    [
        "smith 1964 asked",
        "asked by SMITH1964.",
        "(Smith_1964)",
        "patient 10003502",
        "no. 10-003-502",
        "ab12.3/4",
        "AB-12-3-4, by phone",
        "7-12",
    ],
)
def test_an_identifier_is_found(words: str) -> None:
    if words == "7-12":
        # Too few letters and digits to be more than an accident
        assert not names_somebody(words, alike(), "patient", NAMES)
    else:
        assert names_somebody(words, alike(), "patient", NAMES)


@pytest.mark.parametrize(
    "words",
    ["", "consent withdrawn (Art. 17)", "smith asked in 1965", "R0003, 2026-01-31", "AB 12"],
)
def test_other_words_are_not(words: str) -> None:
    assert not names_somebody(words, alike(), "patient", NAMES)


def test_studies_and_patients_are_apart_and_so_are_keys() -> None:
    assert not names_somebody("10003502", alike(), "study", NAMES)
    assert not names_somebody("10003502", alike(), "patient", Pseudonyms(b"another key, 32 bytes"))
