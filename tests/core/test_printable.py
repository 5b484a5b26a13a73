"""Nothing from outside can break a line, steer a terminal, or flood a message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import Fault
from forgetmi.core.printable import printable, quoted


def test_line_ends_and_escape_sequences_are_escaped() -> None:
    assert printable("a\nb\r\x1b[2Jc\x00") == "a\\nb\\r\\x1b[2Jc\\x00"


def test_marks_that_turn_the_reading_direction_are_escaped() -> None:
    assert printable("a\u202eb\u2028c\ufeff") == "a\\u202eb\\u2028c\\ufeff"


def test_letters_of_every_script_stay() -> None:
    text = "Zoë Größe 患者 \N{GREEK SMALL LETTER ALPHA}"
    assert printable(text) == text


def test_long_text_is_cut_and_its_length_given() -> None:
    assert printable("x" * 100, limit=3) == "xxx... (100 characters)"


@given(st.text())
def test_what_is_printed_is_one_line(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1


def test_a_huge_number_is_counted_not_written() -> None:
    assert quoted(10**5000) == "a whole number of about 5001 digits"
    assert quoted(12) == "12"


def test_a_fault_is_one_line_whatever_it_quotes() -> None:
    fault = Fault("unknown key 'a\nerror: forged'", where="a\x1b[2Jb", why="w\r", do="d\n")
    assert str(fault).splitlines() == [str(fault)]
