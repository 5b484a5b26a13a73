"""Checkpoints from the authors' form to ours and back, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from forgetmi.authors_code.checkpoint import read_checkpoint, write_checkpoint
from forgetmi.authors_code.text_features import LENGTH, read_tokenizer
from forgetmi.cohort.edema_labels import GRADES
from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.window import RELEASED
from forgetmi.model.checkpoint import NO_GATE, load, save
from forgetmi.model.image_text import ImageText


def from_authors(
    source: Path,
    target: Path,
    *,
    vocabulary: Path,
    max_seq_length: int = LENGTH,
    config: Path | None = None,
    classes: Sequence[str] = GRADES,
    seed: int = 0,
) -> str:
    """Write the authors' checkpoint as one of ours; config.json and the unused third head are kept in it.

    It remembers that its images are cut out at their centre, with negatives as they are stored, and that its gate is
    yet to be fitted.

    Args:
        source: See `forgetmi.authors_code.checkpoint.read_checkpoint`.
        target: Directory to write.
        vocabulary: The vocab.txt of the text encoder they started from.
        max_seq_length: Tokens of a report at most, not more than the text encoder has positions.
        config: A config.json where none lies next to the weights.
        classes: Names of the classes, in order.
        seed: Of the gate's initial weights.

    Returns:
        Digest of the weights.

    Raises:
        CheckpointError: The checkpoint or the vocabulary does not fit.
    """
    # The model must read reports as long as the tokenizer makes them.
    read = read_checkpoint(source, config=config, seed=seed)
    tokenizer = read_tokenizer(vocabulary, max_seq_length=max_seq_length)
    spec = read.model.spec
    if max_seq_length > spec.text.positions:
        raise CheckpointError(
            Fault(
                f"reports of {max_seq_length} tokens do not fit",
                where=source.name,
                why=f"the text encoder has {spec.text.positions} positions",
                do="Choose a smaller largest length.",
            )
        )

    # How the release prepares its inputs.
    images = ImagePreprocessing(
        size=spec.image.size, fit="center_crop", invert=False, window=RELEASED
    )
    preprocessing = {
        "images": asdict(images),
        "task": "grades",
        "text": {
            "max_length": tokenizer.max_length,
            "lowercase": tokenizer.lowercase,
            "strip_accents": tokenizer.strip_accents,
        },
    }

    # What only their code needs travels along.
    stored = {
        "config": read.config,
        "unused_head": {name: value.tolist() for name, value in read.unused_head.items()},
    }
    return save(
        target,
        read.model,
        vocabulary=tokenizer.vocabulary,
        preprocessing=preprocessing,
        classes=classes,
        extra={"source": stored, "gate": NO_GATE},
    )


def to_authors(source: Path, target: Path) -> None:
    """Write one of our checkpoints for the authors' code.

    Args:
        source: Directory `forgetmi.model.checkpoint.save` wrote.
        target: Directory to write.

    Raises:
        CheckpointError: It cannot be read, or their code cannot build this architecture.
    """
    loaded = load(source)
    if not isinstance(loaded.model, ImageText):
        raise CheckpointError(
            Fault(
                "an ensemble has no form in the authors' code",
                where=source.name,
                do="Give the checkpoint of a single model.",
            )
        )

    # A checkpoint that came from them goes back with what it brought along.
    stored = loaded.extra.get("source") or {"config": None, "unused_head": None}
    head = stored["unused_head"]
    if head:
        head = {name: torch.tensor(value) for name, value in head.items()}

    write_checkpoint(target, loaded.model, config=stored["config"], unused_head=head)
