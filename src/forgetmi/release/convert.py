"""Checkpoints from the authors' form to ours and back, without loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from forgetmi.model.checkpoint import load, save
from forgetmi.release.checkpoint import read_checkpoint, write_checkpoint
from forgetmi.release.text_features import read_tokenizer

CLASSES = ("no edema", "vascular congestion", "interstitial edema", "alveolar edema")


def from_authors(
    source: Path, target: Path, *, vocabulary: Path, preprocessing: Mapping[str, Any], config: Path | None = None,
    classes: Sequence[str] = CLASSES, seed: int = 0,
) -> str:
    """Write the authors' checkpoint as one of ours; config.json and the unused third head are kept beside it.

    Args:
        source: See `forgetmi.release.checkpoint.read_checkpoint`.
        target: Directory to write.
        vocabulary: The vocab.txt of the text encoder they started from.
        preprocessing: How inputs were prepared, plain JSON values.
        config: A config.json where none lies beside the weights.
        classes: Names of the classes, in order.
        seed: Of the gate's initial weights.

    Returns:
        Digest of the weights.

    Raises:
        CheckpointError: The checkpoint or the vocabulary does not fit.
    """
    read = read_checkpoint(source, config=config, seed=seed)
    kept = {"config": read.config, "unused_head": {name: value.tolist() for name, value in read.unused_head.items()}}
    return save(target, read.model, vocabulary=read_tokenizer(vocabulary).vocabulary, preprocessing=preprocessing,
                classes=classes, extra={"release": kept})


def to_authors(source: Path, target: Path) -> None:
    """Write one of our checkpoints for the authors' code.

    Args:
        source: Directory `forgetmi.model.checkpoint.save` wrote.
        target: Directory to write.

    Raises:
        CheckpointError: It cannot be read, or their code cannot build this architecture.
    """
    loaded = load(source)
    kept = loaded.extra.get("release", {"config": None, "unused_head": None})
    head = kept["unused_head"]
    write_checkpoint(target, loaded.model, config=kept["config"],
                     unused_head=head and {name: torch.tensor(value) for name, value in head.items()})
