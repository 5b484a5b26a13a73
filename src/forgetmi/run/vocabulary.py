"""The tokenizer of a run: word pieces made from the training patients, or that of a published text encoder."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL, train_wordpiece


def trained_tokenizer(
    cohort: Cohort, rows: Ints, *, vocabulary: int, min_patients: int, max_length: int
) -> Tokenizer:
    """A tokenizer of word pieces made from some rows.

    Args:
        cohort: The cohort.
        rows: The training rows.
        vocabulary: Largest number of word pieces.
        min_patients: Fewest training patients a piece must come from.
        max_length: Longest report in tokens.

    Raises:
        SpecError: There is text, and no piece can be made of it.
    """
    pieces = train_wordpiece(
        cohort.report[rows],
        cohort.patient[rows],
        size=vocabulary,
        min_patients=min_patients,
    )
    _check_pieces(pieces, cohort.report[rows], min_patients)
    return Tokenizer(pieces, max_length=max_length)


def _check_pieces(pieces: Sequence[str], reports: Strings, min_patients: int) -> None:
    """Refuse a vocabulary of nothing, where there is text: every report would be the same to the model."""
    if len(pieces) > len(SPECIAL) or not any(str(report).strip() for report in reports):
        return

    raise SpecError(
        Fault(
            "the vocabulary would hold nothing",
            where="text.min_patients",
            why=f"no character stands in the reports of {min_patients} training patients",
            do="Choose a smaller number, e.g. 5.",
        )
    )
