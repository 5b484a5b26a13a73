"""Tokenizers of the tokenizers library, whatever their kind: reports as token ids of a published text encoder."""

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
from tokenizers import Tokenizer as Library

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import MOST_BYTES, parse_json
from forgetmi.core.plain_text import Source, read_text

_FILE = "tokenizer.json"
_WHERE = "tokenizer"


@final
@dataclass(frozen=True, repr=False)
class LibraryTokenizer:
    """A tokenizer that is fully described by its fields: word pieces, byte pairs or any other kind of the library.

    Args:
        definition: The library's own description, JSON in one line.
        pad: Id that fills texts up.
        max_length: Tokens of a text at most, the special ones included, >= 2.

    Raises:
        SpecError: The library cannot read the description, or `max_length` is too small.
    """

    definition: str = field(repr=False)
    pad: int = 0
    max_length: int = 320

    def __post_init__(self) -> None:
        faults = []
        if self.max_length < 2:
            faults.append(Fault(f"max_length is {self.max_length}", do="Choose 2 or more."))
        try:
            size = self._library.get_vocab_size()
        # Whatever the library raises for a description that it does not understand
        except Exception as error:
            raise SpecError(
                faults,
                Fault("the tokenizer cannot be read", where=_WHERE, why=type(error).__name__),
            ) from error
        if self.pad < 0 or not size:
            faults.append(Fault("the tokenizer has no tokens, or none to fill up", where=_WHERE))
        if faults:
            raise SpecError(faults)

    def __repr__(self) -> str:
        return f"LibraryTokenizer({self.size} tokens, max_length {self.max_length}, digest {self.digest[:12]})"

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What a checkpoint stores as its vocabulary: the description, one line."""
        return (self.definition,)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self._library.get_vocab_size()

    @cached_property
    def digest(self) -> str:
        """Digest of all fields: equal digests give equal tokens."""
        text = json.dumps([self.definition, self.pad, self.max_length])
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Token ids of each text with the encoder's own special tokens, cut to `max_length`."""
        encoded = []
        for text in texts:
            encoded.append(np.array(self._library.encode(text).ids, np.int64))
        return encoded

    @cached_property
    def _library(self) -> Any:
        library = Library.from_str(self.definition)

        # A stored description may cut at another length, or fill up
        library.no_padding()
        library.enable_truncation(max(2, self.max_length))
        return library

    @classmethod
    def from_folder(cls, folder: Path, *, pad: int, max_length: int) -> Self:
        """The tokenizer of a local Hugging Face folder: its tokenizer.json, else what the library makes of its files.

        Args:
            folder: The encoder's folder; no code in it is run.
            pad: Id of the encoder's padding.
            max_length: Tokens of a text at most.

        Raises:
            SpecError: There is none, or it cannot be read.
        """
        if (folder / _FILE).exists():
            source = Source(f"{folder.name}/{_FILE}", "the tokenizer", "Use the original file.")
            text = read_text(folder / _FILE, source, limit=MOST_BYTES)
        else:
            text = _made_by_the_library(folder)

        # In one line, as a checkpoint keeps it
        where = f"{folder.name}/{_FILE}"
        values = parse_json(text, where=where, what="the tokenizer", do="Use the original file.")
        definition = json.dumps(values, ensure_ascii=True, sort_keys=True)
        return cls(definition, pad=pad, max_length=max_length)


def _made_by_the_library(folder: Path) -> str:
    """The description of a tokenizer in older forms: vocab.txt, or vocab.json and merges.txt."""
    # Imported here: a tokenizer in the usual form needs the transformers library for nothing
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        return made.backend_tokenizer.to_str()
    # Whatever the library raises for files that are missing or damaged
    except Exception as error:
        raise SpecError(
            Fault(
                "the folder holds no tokenizer that can be read",
                where=folder.name,
                why=type(error).__name__,
                do=f"Add its {_FILE}.",
            )
        ) from error
