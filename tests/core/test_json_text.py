"""JSON is read strictly: every key once, numbers of 64 bits, bounded depth; the lines are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.core.json_text import parse_json, read_json


def values(text: str | bytes) -> Any:
    return parse_json(text, where="file", what="the list", do="Restore it.")


REFUSED: dict[str | bytes, str] = {
    '{"a": 1,\n"b": {"a": 2},\n"a": 3}': "lines 1 and 3: key 'a' is given twice",
    '[[{"a": 1,\n"\\u0061": 2}]]': "lines 1 and 2: key 'a' is given twice",
    '{"b": "}{:\\"", "c": 1,\n"c": 2}': "lines 1 and 2: key 'c' is given twice",
    "": "it is empty",
    "{": "line 1: .*no JSON",
    "[1,\n2,]": "line 2: .*no JSON",
    "[NaN]": "NaN",
    "[-Infinity]": "Infinity",
    "[1e999]": "infinite",
    "9223372036854775808": "64 bits",
    "9" * 5000: "thousands of digits",
    "[" * 100_000: "deeper than 64",
    '{"a":' * 100_000: "deeper than 64",
    "[" * 100 + "]" * 100: "deeper than 64",
    '"\\ud800"': "half of a character",
    b'\xff\xfe"\x00': "UTF-16",
    b'"\xe9"': "line 1: .*not UTF-8",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_can_be_misread_is_refused(text: str | bytes) -> None:
    with pytest.raises(SpecError, match=f"^file[^\n]*{REFUSED[text]}[^\n]*$"):
        values(text)


def test_a_file_keeps_its_class_of_error_and_its_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model/facts\.json: it cannot be read \(No such"):
        read_json(
            tmp_path / "facts.json",
            what="it",
            do="Restore it.",
            error=CheckpointError,
            where="model/facts.json",
        )


WORDS = st.text(st.characters(codec="utf-8"))
SINGLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
PLAIN = st.recursive(
    SINGLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_everything_that_is_written_is_read_again(value: Any) -> None:
    assert values(json.dumps(value)) == value
