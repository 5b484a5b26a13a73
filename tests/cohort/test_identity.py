"""What an identifier is: blank words, invisible marks, damage of spreadsheets, and in what spellings may differ."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.identifier_damage import damage, rounded
from forgetmi.cohort.identity import (
    RULES,
    Identity,
    canonical,
    canonical_cells,
    changing,
    differences,
    folded,
    is_missing_text,
    likeness,
)


def alike(one: str, other: str) -> bool:
    return not set(likeness(one)).isdisjoint(likeness(other))


WORDS = "nan NaN NAN -nan None none NA N/A n/a <NA> null NULL nil NaT - -- – — #N/A #REF! #VALUE!"
WORDS += r" \N (null) [NULL] undefined . ? Missing unknown inf -Infinity 1.#QNAN -1.#IND"
BLANKS = ["", " ", "\u00a0", "\u200b", " nan ", "\ufeffNA", "#N/A N/A", "\x07", "na\x00"]
SEVENS = [
    "p\x007",
    "p\x7f7",
    "p7",
    " p7 ",
    "\tp7\n",
    "p\u200b7",
    "\ufeffp7",
    "p7\u200d",
    "\u202ap7\u202c",
    "p\u00ad7",
]


@pytest.mark.parametrize("word", [*WORDS.split(), *BLANKS])
def test_words_for_missing_are_blank(word: str) -> None:
    assert canonical(word) == ""


@pytest.mark.parametrize("word", ["0", "nana", "NA7", "none-1", "null0", "A-", "x"])
def test_other_words_are_not(word: str) -> None:
    assert canonical(word) == word


@pytest.mark.parametrize("cell", [*SEVENS, "\u00a0p7\u3000", "p\ufe0f7", "\u2060p7"])
def test_what_cannot_be_seen_does_not_count(cell: str) -> None:
    assert canonical(cell) == "p7"


def test_characters_are_composed() -> None:
    assert canonical(unicodedata.normalize("NFD", "José-Ångström")) == "José-Ångström"


@given(st.text(max_size=12))
def test_canonical_is_what_it_is_the_second_time(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert canonical_cells([text, text]).tolist() == [once, once]


# One of each pair, another spelling, and the one rule by which they are the same
PAIRS = [
    ("007", "7", "leading-zeros"),
    ("P-0012", "P-12", "leading-zeros"),
    ("2023-01-05", "2023-1-5", "leading-zeros"),
    ("P7.0", "P7", "decimals"),
    ("P7,00", "P7", "decimals"),
    ("ab12", "AB12", "case"),
    ("STRASSE", "straße", "case"),
    ("123-45-678", "12345678", "punctuation"),
    ("12/34", "12-34", "punctuation"),
    ("A_1", "A1", "punctuation"),
    ("12 34", "1234", "blanks"),
    ("A\u00a07", "A7", "blanks"),
    ("７８", "78", "unicode"),
    ("x²", "x2", "unicode"),
    ("٧", "7", "unicode"),
    ("Ⅳ1", "IV1", "unicode"),
]


@pytest.mark.parametrize(("one", "other", "rule"), PAIRS)
def test_spellings_that_differ_in_one_thing(one: str, other: str, rule: str) -> None:
    assert canonical(one) == one != other
    assert alike(one, other)
    assert differences(one, other) == (rule,)
    assert folded(one, (rule,)) == folded(other, (rule,))
    for without in RULES:
        if without != rule:
            assert folded(one, (without,)) != folded(other, (without,))
    assert rule in {*changing(one), *changing(other)}

    # The rule makes them one; "never", and every other rule, leaves them two
    said = Identity((rule,))  # type: ignore[arg-type]
    assert said.identifier(one) == said.identifier(other)
    assert Identity(("never",)).identifier(one) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [("7", "70"), ("P1", "P2"), ("10", "1"), ("a0f", "af"), ("100", "10"), ("12.5", "12.6")],
)
def test_others_are_not_alike(one: str, other: str) -> None:
    assert not alike(one, other)


def test_several_differences_at_once() -> None:
    assert alike("p-007", "P 7")
    assert set(differences("p-007", "P 7")) == {"leading-zeros", "case", "punctuation", "blanks"}
    assert alike("12-05", "12-5")
    assert alike("12-05", "1205")


@given(st.text(alphabet="0179.,-_ aAbB\u00e9é７", min_size=1, max_size=8))
def test_every_choice_of_rules_is_a_kind_of_likeness(text: str) -> None:
    """A spelling and what any rules make of it are alike or the same."""
    text = canonical(text)
    for number in (1, 2):
        for rules in itertools.combinations(RULES, number):
            other = folded(text, rules)
            assert other or not text
            if len(rules) == 1 and other != text:
                assert rules[0] in changing(text)


@given(st.text(alphabet="019azAZ-", max_size=8))
def test_plain_identifiers_are_changed_by_no_rule(text: str) -> None:
    assert changing(text) == tuple(rule for rule in RULES if folded(text, (rule,)) != text)
    if likeness(text) == (text,):
        assert folded(text, RULES) == text
        assert changing(text) == tuple(rule for rule in RULES if folded(text, (rule,)) != text)


DAMAGED = {
    "8.39860E+15": "power of ten",
    "8,3986E+15": "power of ten",
    "1e+16": "power of ten",
    "01-Feb": "a date",
    "2-JAN-1990": "a date",
    "Oct-12": "a date",
    "M\ufffdller 7": "lost in an earlier conversion",
    "1,000": "thousands",
    "12.000": "thousands",
    "1.234.000": "",
    "1.2.840.0": "",
    "Febr-1": "",
    "1-2": "",
    "1E+05": "power of ten",
    "8.3986E15": "power of ten",
    "-1.5e-3": "power of ten",
    "7.0": "ends in .0",
    "007.00": "ends in .0",
    "7,0": "ends in .0",
    "9007199254740993.0": "beyond 2^53",
    "10000000000000000000.0": "beyond 2^53",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damage_of_spreadsheets(text: str) -> None:
    assert DAMAGED[text] in damage(text)


@pytest.mark.parametrize("text", ["7", "12.5", "1.2.840.0", "12E5", "E+15", "a.0", "p7.0", "0", ""])
def test_what_is_no_damage(text: str) -> None:
    assert damage(text) == ""


def test_a_point_and_zero_is_none_where_the_user_says_so() -> None:
    assert damage("7.0", decimals=True) == ""
    assert "2^53" in damage("9007199254740993.0", decimals=True)
    assert Identity(("decimals",)).identifier("7.0") == "7"


def test_long_numbers_that_all_end_in_zeros_were_rounded() -> None:
    cut = ["123456789012345000", "223456789012345000"]
    assert rounded([*cut, "17", "x"]) == cut
    assert rounded([*cut, "323456789012345001"]) == []
    assert rounded(["1234567890123450"]) == []  # one digit in ten is a zero
    assert rounded(["17", "100000"]) == []


def test_a_mapping_comes_before_the_rules() -> None:
    from types import MappingProxyType

    said = Identity(("leading-zeros",), MappingProxyType({"old-1": "007", "7b": "8"}))
    cells = np.array(["old-1", "7", "007", "7b", "9"], dtype=object)
    assert said.identifiers(cells).tolist() == ["7", "7", "7", "8", "9"]


@pytest.mark.parametrize(
    "text", ["a" * 60 + "!", "1" * 60 + "-", "abc" * 20 + "_1", "7a" * 30 + "É", "0" * 9999 + "x"]
)
def test_long_identifiers_take_no_longer_than_their_length(text: str) -> None:
    assert folded(text, RULES) in likeness(text)
    assert changing(text)


def test_a_zero_at_the_end_of_a_dotted_number_is_no_decimal() -> None:
    for text in ("1.2.840.0", "1,234,000", "10.0.0"):
        assert folded(text, ("decimals",)) == text
    assert folded("P7.0", ("decimals",)) == "P7"
    assert "thousands" in damage("1.000", decimals=True)


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "-", "...", "\\N", "(null)", "undefined", "<NA>"]
)
def test_reports_that_say_nothing(text: str) -> None:
    assert is_missing_text(text)


@pytest.mark.parametrize("text", ["None.", "é", "正常", "7", "unknown", "Missing ribs."])
def test_reports_that_say_little(text: str) -> None:
    assert not is_missing_text(text)
