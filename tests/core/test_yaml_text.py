"""YAML is read strictly: what two readers could read in two ways is refused, with its lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from forgetmi.core.errors import PartitionError, SpecError
from forgetmi.core.yaml_text import MOST_BYTES, parse_yaml, read_yaml_values


def values(text: str) -> Any:
    return parse_yaml(text, where="file", what="the settings", do="Correct them.")


READ = {
    "a: 1\nb: [1, 2]\n": {"a": 1, "b": [1, 2]},
    "date: 2024-02-30": {"date": "2024-02-30"},
    "date: 2024-02-28": {"date": "2024-02-28"},
    "lr: 1e-4": {"lr": "1e-4"},
    "size: 1_000": {"size": 1000},
    "flag: 0x1F": {"flag": 31},
    "[a: 1, a: 2]": [{"a": 1}, {"a": 2}],
    "\ufeffa: 1": {"a": 1},
    "a: =": {"a": "="},
    "": None,
    "# nothing": None,
}


@pytest.mark.parametrize("text", READ)
def test_plain_values_are_read(text: str) -> None:
    assert values(text) == READ[text]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED = {
    "a: 1\nb: 2\na: 3\n": "lines 1 and 3: key 'a' is given twice",
    "a: {b: 1, c: {d: 1,\n d: 2}}": "lines 1 and 2: key 'd' is given twice",
    "? a\n: 1\n? a\n: 2": "lines 1 and 3: key 'a' is given twice",
    BOMB: "line 1: .*aliases",
    "a: *b": "line 1: .*aliases",
    "base: {x: 1}\n<<: {x: 2}": "line 2: .*merge keys",
    "a: !!python/object/apply:os.system [ls]": "line 1: .*tags",
    "a: !!binary aGk=": "line 1: .*tags",
    "a: 1\n---\nb: 2": "line 2: .*more than one document",
    "1: a": "line 1: .*a key is no text",
    "yes: a": "line 1: .*a key is no text",
    "[a]: b": "line 1: .*a key is no text",
    "seed: 012": "line 1: .*reads as another number",
    "seed: 1:30": "line 1: .*reads as another number",
    "share: 1:30.5": "line 1: .*reads as another number",
    "seed: .nan": "line 1: .*infinite or none",
    "a: 1\nseed: -.inf": "line 2: .*infinite or none",
    "seed: 1.0e+400": "line 1: .*infinite or none",
    "seed: 9223372036854775808": "line 1: .*64 bits",
    "seed: " + "9" * 5000: "line 1: .*hundreds of digits",
    "[" * 100: "deeper than 64",
    "a: [": "line 2, column 1: .*no YAML",
    "a: \x07": "a character that YAML does not allow",
    "a: \ud800": "no text",
    "a" * 70_000: "more than 65,536 characters",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_can_be_misread_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=f"^file[^\n]*{REFUSED[text]}[^\n]*$"):
        values(text)


def test_every_key_that_is_given_twice_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        values("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert [fault.where for fault in caught.value.faults] == ["file, line 2", "file, lines 1 and 3"]


def test_a_key_that_may_be_data_is_not_quoted() -> None:
    with pytest.raises(SpecError) as caught:
        values('"Doe, Jane": 1\n"Doe, Jane": 2\n')
    assert "Jane" not in str(caught.value)


FILES = {
    "empty": (b"", "the file is empty"),
    "comments alone": (b"# nothing\n", "the file is empty"),
    "null": (b"null\n", "the file is empty"),
    "UTF-16": ("a: 1".encode("utf-16"), "UTF-16"),
    "Latin-1": (b"a: 1\nb: caf\xe9\n", "line 2: .*not UTF-8"),
    "large": (b"#" * (MOST_BYTES + 1), "more than 4 MiB"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_settings_are_refused(name: str, tmp_path: Path) -> None:
    content, why = FILES[name]
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    with pytest.raises(PartitionError, match=f"spec.yaml[^\n]*{why}"):
        read_yaml_values(path, what="it", do="Correct it.", error=PartitionError)


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    os.mkfifo(path)
    with pytest.raises(SpecError, match="pipe"):
        read_yaml_values(path, what="it", do="Correct it.")


def test_a_path_with_a_zero_byte_is_one_error() -> None:
    with pytest.raises(SpecError, match="no path may hold"):
        read_yaml_values(Path("spec\0.yaml"), what="it", do="Correct it.")


def test_the_case_of_a_key_given_twice(shared_field: Path) -> None:
    with pytest.raises(SpecError, match=r"key_twice\.yaml, lines 1 and 3: key 'training' is"):
        read_yaml_values(shared_field / "tables" / "key_twice.yaml", what="it", do="Correct it.")
