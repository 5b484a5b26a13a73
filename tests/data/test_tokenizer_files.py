"""Tokenizers of Hugging Face folders: what is not BERT's, or stands beside the vocabulary, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forgetmi.core.errors import CheckpointError
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL

WORDS = (*SPECIAL, "heart", "##s")


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of BERT's kind."""
    return {
        "added_tokens": [{"id": at, "content": word} for at, word in enumerate(SPECIAL)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: at for at, word in enumerate(WORDS)},
        },
        **changes,
    }


def refused(folder: Path, why: str) -> None:
    with pytest.raises(CheckpointError, match=why) as caught:
        Tokenizer.from_pretrained_directory(folder)
    assert len(caught.value.faults) == 1
    assert "\n" not in str(caught.value)


def test_both_forms_give_the_same_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    first = Tokenizer.from_pretrained_directory(tmp_path)
    (tmp_path / "vocab.txt").write_bytes("\r\n".join((*WORDS, "", "", "")).encode())
    assert Tokenizer.from_pretrained_directory(tmp_path) == first
    (tmp_path / "tokenizer.json").unlink()
    assert Tokenizer.from_pretrained_directory(tmp_path) == first


def test_two_different_vocabularies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (tmp_path / "vocab.txt").write_text("\n".join((*WORDS, "lung")))
    refused(tmp_path, "hold different vocabularies, 7 and 8 pieces")


MODEL = tokenizer_json()["model"]
NORMALIZER = tokenizer_json()["normalizer"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {**MODEL, "type": "BPE"}}, "type is 'BPE'"),
        ({"model": {**MODEL, "unk_token": "<unk>"}}, "unk_token is '<unk>'"),
        ({"model": {**MODEL, "continuing_subword_prefix": "@@"}}, "prefix is '@@'"),
        ({"model": {**MODEL, "max_input_chars_per_word": 10}}, "chars_per_word is 10"),
        ({"model": {**MODEL, "vocab": {"a": 1, "b": 1}}}, "ids are not 0, 1, 2"),
        ({"model": {**MODEL, "vocab": {"a": "0"}}}, "no mapping of pieces to numbers"),
        ({"model": {**MODEL, "vocab": []}}, "no mapping of pieces to numbers"),
        ({"model": {**MODEL, "vocab": {"a": 0}}}, "5 tokens were added"),
        ({"model": None}, "no model of BERT's kind"),
        ({"normalizer": None}, "no normalizer of BERT's kind"),
        ({"normalizer": {"type": "Sequence", "normalizers": []}}, "type is 'Sequence'"),
        ({"normalizer": {**NORMALIZER, "clean_text": False}}, "clean_text is False"),
        ({"normalizer": {**NORMALIZER, "lowercase": "yes"}}, "lowercase is 'yes'"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "type is 'Whitespace'"),
        ({"added_tokens": [{"id": 7, "content": "COVID"}]}, "1 tokens were added"),
        ({"added_tokens": 7}, "added_tokens is no list"),
    ],
)
def test_rules_that_are_not_berts_are_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(**changes)))
    refused(tmp_path, why)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "class 'BertJapaneseTokenizer'"),
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars is False"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is False"),
        ({"do_lower_case": "no"}, "do_lower_case is 'no'"),
        ({"strip_accents": 1}, "strip_accents is 1"),
        ([], "no mapping"),
    ],
)
def test_options_beside_a_vocabulary_that_are_not_berts_are_refused(
    tmp_path: Path, options: Any, why: str
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    refused(tmp_path, why)


def test_added_tokens_beside_a_vocabulary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"COVID": 7, "heart": 5}))
    refused(tmp_path, "1 tokens were added to the tokenizer")


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"", "is empty|lacks"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "deep|lacks|recursion"),
    ],
)
def test_unreadable_files_are_one_clear_line(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, why)
