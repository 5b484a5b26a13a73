"""Tokens of all reports of a cohort, made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.data.tokenizer import Tokenizer


@final
@dataclass(frozen=True, eq=False, repr=False)
class TokenStore:
    """Tokens of all reports of a cohort; equal reports are tokenized and kept once.

    Args:
        flat: All tokens, one text after another, int32.
        offsets: Where each of the m distinct texts begins, and the end, int64[m + 1].
        text: Which of the distinct texts each of the n rows has.
    """

    flat: npt.NDArray[np.int32]
    offsets: Ints
    text: Ints

    @classmethod
    def build(cls, reports: Strings, tokenizer: Tokenizer | LibraryTokenizer) -> Self:
        """Tokenize n reports."""
        code, distinct = codes(reports)

        # Text by text: all at once would hold every report's tokens as Python numbers.
        tokens = [np.empty(0, np.int32)]
        lengths = [0]
        for text in distinct:
            ids = tokenizer.encode([str(text)])[0].astype(np.int32)
            tokens.append(ids)
            lengths.append(len(ids))

        # Where each text begins in the one long array.
        offsets = np.cumsum(lengths, dtype=np.int64)
        return cls(np.concatenate(tokens), offsets, code)

    def __len__(self) -> int:
        return len(self.text)

    def __repr__(self) -> str:
        return (
            f"TokenStore({len(self)} rows, {len(self.offsets) - 1} texts, {len(self.flat)} tokens)"
        )

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        """Token ids of one row's report."""
        text = self.text[row]
        return self.flat[self.offsets[text] : self.offsets[text + 1]]
