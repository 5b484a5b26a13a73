"""Which pretrained encoder models begin with: what is read from it, not its name; and none is fetched for a plan."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.model.pretrained import (
    pretrained_directory,
    pretrained_encoder,
    pretrained_weights,
)
from forgetmi.model.spec import TextEncoderSpec
from forgetmi.run.spec import RunSpec

# A given original may name an encoder that this machine lacks, and need it no more
ABSENT = "absent"

_WHERE = "text encoder"
# Id of the padding token of every BERT encoder that is read
_PAD = 0


def encoder_digest(text: TextEncoderSpec) -> str:
    """Digest of the weights and sizes that a fresh model takes from the pretrained encoder of its specification.

    Nothing is fetched. The encoder is read once, and again when its files are others by name, size or time.

    Args:
        text: The specification.

    Returns:
        64 hex digits; empty = no encoder is named; "absent" = it cannot be read here, so that no fresh model can.
    """
    if not text.pretrained:
        return ""

    try:
        folder = pretrained_directory(text.pretrained)

        # Names, sizes and times tell whether the encoder must be read again
        files = []
        for path in sorted(folder.iterdir()):
            if path.is_file():
                stat = path.stat()
                files.append((path.name, stat.st_size, stat.st_mtime_ns))

        return _digest(replace(text, download=False), folder, tuple(files))
    except SpecError:
        return ABSENT


def offline(spec: RunSpec) -> RunSpec:
    """The same run, which fetches nothing.

    Args:
        spec: The run; its pretrained encoder, if it names one, must be on this machine.

    Raises:
        SpecError: It is not there.
    """
    if not (spec.model.pretrained and spec.model.download):
        return spec

    # It must be here already
    try:
        pretrained_directory(spec.model.pretrained)
    except SpecError as error:
        raise SpecError(
            Fault(
                "the pretrained text encoder is not on this machine",
                where="--dry-run",
                why="a dry run downloads nothing, and the models' keys hold a digest of its weights",
                do="Fetch it first (hf download NAME), or leave --dry-run out.",
            )
        ) from error

    return replace(spec, model=replace(spec.model, download=False))


def check_encoder(text: TextEncoderSpec, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Check, before anything is trained or decoded, that a pretrained encoder is whole and its tokenizer fits.

    Args:
        text: The encoder's sizes and where it lies.
        tokenizer: The tokenizer from the same folder.

    Returns:
        What was converted, padded or is missing, in words.

    Raises:
        SpecError: Weights are missing or no numbers, the tokenizer has more pieces than the encoder has rows, reports
            may be longer than it has positions, or padding is another token; all faults at once.
    """
    pieces, rows = len(tokenizer.vocabulary), text.vocabulary

    # What the tokenizer makes of a report must have a place in the encoder
    faults = []
    if pieces > rows:
        faults.append(
            Fault(
                f"the tokenizer has {pieces} pieces",
                where=_WHERE,
                why=f"the encoder has rows for {rows}",
                do="Use the tokenizer that belongs to the weights.",
            )
        )
    if tokenizer.max_length > text.positions:
        faults.append(
            Fault(
                f"reports may have {tokenizer.max_length} tokens",
                where=_WHERE,
                why=f"the encoder has {text.positions} positions",
                do=f"Set text.max_length to {text.positions} or less.",
            )
        )
    if tokenizer.pad != _PAD:
        faults.append(
            Fault(
                f"[PAD] is token {tokenizer.pad} of the tokenizer",
                where=_WHERE,
                why=f"the encoder's is {_PAD}",
                do="Use the tokenizer that belongs to the weights.",
            )
        )

    # The weights themselves
    try:
        notices = pretrained_encoder(text).notices
    except SpecError as error:
        raise SpecError(faults, error.faults) from None
    if faults:
        raise SpecError(faults)

    if pieces < rows:
        notices += (
            f"the pretrained text encoder has rows for {rows} pieces, its tokenizer has {pieces}: "
            f"{rows - pieces} rows are never read",
        )
    return notices


@lru_cache(maxsize=4)
def _digest(text: TextEncoderSpec, folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """See `encoder_digest`; ``folder`` and ``files`` only tell one state of an encoder from another."""
    # The sizes, without the name that the encoder goes by
    sizes = asdict(replace(text, pretrained=""))
    digest = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())

    # Every tensor: name, type, shape, bytes
    for name, value in sorted(pretrained_weights(text).items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().numpy().tobytes())

    return digest.hexdigest()
