"""Reports as the authors' release feeds them to its text encoder: always padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import CheckpointError, CohortError, Fault, SpecError
from forgetmi.data.tokenizer import Tokenizer

LENGTH = 320
_LABELS = ("-1", "0", "1", "2", "3")


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Features of n reports at length l.

    Args:
        input_ids: Int64[n, l], padded with 0.
        input_mask: Int64[n, l], 1 = a token, 0 = padding.
        segment_ids: Int64[n, l], all 0.
        label: Int64[n], -1 = unlabelled.
    """

    input_ids: Ints
    input_mask: Ints
    segment_ids: Ints
    label: Ints


def read_tokenizer(vocabulary: Path, *, max_seq_length: int = LENGTH) -> Tokenizer:
    """The release's tokenizer: lower case, accents stripped, whatever a tokenizer_config.json next to it holds.

    Args:
        vocabulary: A vocab.txt, one piece a line, id = line number.
        max_seq_length: Tokens of a text at most, [CLS] and [SEP] included, >= 2.

    Raises:
        CheckpointError: The file is no BERT vocabulary.
    """
    try:
        # Split at \n alone: a piece may be another line separator, such as U+2028.
        text = vocabulary.read_text(encoding="utf-8")
        lines = text.removesuffix("\n").split("\n")
        return Tokenizer(
            tuple(lines), max_length=max_seq_length, lowercase=True, strip_accents=True
        )
    except (OSError, UnicodeDecodeError, SpecError) as error:
        why = str(error) if isinstance(error, SpecError) else type(error).__name__
        raise CheckpointError(
            Fault("the vocabulary cannot be used", where=vocabulary.name, why=why)
        ) from error


def text_features(
    reports: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer
) -> TextFeatures:
    """Features as the release computes them for all reports of its table.

    Use it to compare with the release; everything else pads a batch to its longest report only.

    Args:
        reports: n texts.
        labels: n of "0" to "3", or "-1" for unlabelled.
        tokenizer: From `read_tokenizer`; its ``max_length`` is the length l.

    Raises:
        CohortError: A label is none of these.

    Source: convert_examples_to_features of the Forget-MI release (arXiv 2506.23145), from joint_chestxray. Deviation:
    in this process, not in a pool, and not cached under a name that forgets how they were made.
    """
    unknown = [
        Fault(
            f"label {label!r} is not a grade",
            where=f"report {row}",
            do=f"Use one of {', '.join(_LABELS)}.",
        )
        for row, label in enumerate(labels)
        if label not in _LABELS
    ]
    if unknown:
        raise CohortError(unknown)

    # One row a report, padded with 0 to the longest length allowed.
    ids = np.zeros((len(reports), tokenizer.max_length), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(tokenizer.encode(reports)):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1

    # Every report is one segment.
    segments = np.zeros_like(ids)
    grades = np.array([int(label) for label in labels], np.int64)
    return TextFeatures(ids, mask, segments, grades)
