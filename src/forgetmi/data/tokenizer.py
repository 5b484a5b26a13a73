"""The tokenizer: reports as token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.json_text import MOST_BYTES, read_json
from forgetmi.core.plain_text import Source, read_text
from forgetmi.data.wordpiece import BLANKS, SPECIAL

# Chunks between blanks whose tokens are remembered.
_KNOWN_CHUNKS = 2**16


@final
@dataclass(frozen=True, repr=False)
class Tokenizer:
    """A BERT tokenizer that is fully described by its fields; the vocabulary is saved with the model.

    Args:
        vocabulary: Tokens, id = position; it holds [PAD], [UNK], [CLS], [SEP] and [MASK] somewhere.
        max_length: Tokens of a text at most, [CLS] and [SEP] included, >= 2; the default is the authors' release's.
        lowercase: Whether texts are lower-cased first.
        strip_accents: Whether accents are removed; None = when lower-casing.

    Raises:
        SpecError: The vocabulary lacks a special token or holds a token twice, or `max_length` is too small.
    """

    vocabulary: tuple[str, ...] = field(repr=False)
    max_length: int = 320
    lowercase: bool = True
    strip_accents: bool | None = None

    def __post_init__(self) -> None:
        faults = []

        present = set(self.vocabulary)
        missing = [token for token in SPECIAL if token not in present]
        if missing:
            faults.append(
                Fault(
                    f"the vocabulary lacks {', '.join(missing)}", do="Use a BERT-style vocabulary."
                )
            )

        if len(present) != len(self.vocabulary):
            faults.append(
                Fault("the vocabulary holds a token twice", do="Give every token one id.")
            )

        if self.max_length < 2:
            faults.append(Fault(f"max_length is {self.max_length}", do="Choose 2 or more."))

        if faults:
            raise SpecError(faults)

    def __repr__(self) -> str:
        return f"Tokenizer({len(self.vocabulary)} tokens, max_length {self.max_length}, digest {self.digest[:12]})"

    @cached_property
    def digest(self) -> str:
        """Digest of all fields: equal digests give equal tokens."""
        text = json.dumps([self.vocabulary, self.max_length, self.lowercase, self.strip_accents])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def pad(self) -> int:
        """Id of [PAD]."""
        return self.vocabulary.index("[PAD]")

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Token ids of each text: [CLS], the pieces cut to `max_length` - 2, [SEP]."""
        # Text by text, chunk by chunk: most chunks are remembered.
        first = self.vocabulary.index("[CLS]")
        last = self.vocabulary.index("[SEP]")

        encoded = []
        for text in texts:
            pieces: list[int] = []
            for chunk in BLANKS.split(text):
                pieces.extend(self._ids(chunk))

            # The special tokens count, too.
            pieces = pieces[: self.max_length - 2]
            encoded.append(np.array([first, *pieces, last], np.int64))
        return encoded

    def _ids(self, chunk: str) -> list[int]:
        """Ids of what stands between two blanks."""
        ids = self._known.get(chunk)
        if ids is not None:
            return ids

        # Bounded: typing errors and numbers never end.
        if len(self._known) >= _KNOWN_CHUNKS:
            self._known.clear()
        ids = self._library_tokenizer.encode(chunk, add_special_tokens=False).ids
        self._known[chunk] = ids
        return ids

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        """Ids of what stood between blanks lately: reports repeat the same words."""
        return {}

    @cached_property
    def _library_tokenizer(self) -> BertWordPieceTokenizer:
        ids = {token: number for number, token in enumerate(self.vocabulary)}
        return BertWordPieceTokenizer(
            ids, lowercase=self.lowercase, strip_accents=self.strip_accents
        )

    @classmethod
    def from_pretrained_directory(cls, directory: Path, *, max_length: int = 320) -> Self:
        """Read the tokenizer of a local Hugging Face model: tokenizer.json, else vocab.txt.

        Args:
            directory: The model's folder.
            max_length: Tokens of a text at most.

        Raises:
            CheckpointError: There is no WordPiece vocabulary in the folder.
        """
        try:
            return cls(max_length=max_length, **_read_pretrained(directory))
        except (OSError, ValueError, KeyError, TypeError, SpecError) as error:
            reason = f"{type(error).__name__} while reading it"
            if isinstance(error, SpecError):
                reason = str(error)
            raise CheckpointError(
                Fault(
                    "the folder holds no WordPiece tokenizer",
                    where=directory.name,
                    why=reason,
                    do="Name a BERT-style model with tokenizer.json or vocab.txt.",
                )
            ) from error


def _read_pretrained(directory: Path) -> dict[str, Any]:
    """Vocabulary and rules of a pretrained model's tokenizer."""
    if (directory / "tokenizer.json").exists():
        return _read_tokenizer_json(directory / "tokenizer.json")
    return _read_vocab_txt(directory)


def _read_tokenizer_json(path: Path) -> dict[str, Any]:
    stored = read_json(path, what="the tokenizer", do="")
    # Only what the fields of a `Tokenizer` describe can be taken over.
    model, normalizer = stored["model"], stored["normalizer"]
    if model["type"] != "WordPiece" or normalizer["type"] != "BertNormalizer":
        raise SpecError(Fault(f"the tokenizer is of type {model['type']}"))

    # A token's id is its position, so the ids must be gapless.
    ids = dict(model["vocab"])
    if sorted(ids.values()) != list(range(len(ids))):
        raise SpecError(Fault("the token ids are not 0, 1, 2, ..."))

    return {
        "vocabulary": tuple(sorted(ids, key=ids.__getitem__)),
        "lowercase": bool(normalizer["lowercase"]),
        "strip_accents": normalizer["strip_accents"],
    }


def _read_vocab_txt(directory: Path) -> dict[str, Any]:
    """The older form: one piece a line, and the rules in a file next to it."""
    config = directory / "tokenizer_config.json"
    options = {}
    if config.exists():
        options = read_json(config, what="the tokenizer's configuration", do="")

    # A last line end makes no empty piece.
    lines = _text(directory / "vocab.txt").split("\n")
    if lines[-1] == "":
        lines.pop()

    return {
        "vocabulary": tuple(line.rstrip("\r") for line in lines),
        "lowercase": bool(options.get("do_lower_case", True)),
        "strip_accents": options.get("strip_accents"),
    }


def _text(path: Path) -> str:
    """The text of a model's file."""
    return read_text(path, Source(path.name, "the vocabulary", ""), limit=MOST_BYTES)
