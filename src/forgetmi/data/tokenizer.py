"""The tokenizer: reports as token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self, final

import numpy as np
import numpy.typing as npt
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.data.tokenizer_files import read_pretrained_tokenizer
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
            return cls(max_length=max_length, **read_pretrained_tokenizer(directory))
        except SpecError as error:
            faults = []
            for fault in error.faults:
                reasons = filter(None, (fault.where, fault.what, fault.why))
                faults.append(
                    Fault(
                        "the folder holds no WordPiece tokenizer",
                        where=directory.name,
                        why=", ".join(reasons),
                        do=fault.do or "Name a BERT-style model with tokenizer.json or vocab.txt.",
                    )
                )
            raise CheckpointError(faults) from None
