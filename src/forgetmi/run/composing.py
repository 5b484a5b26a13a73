"""What a run's data must be for a model of towers: sizes, tokens and values as the towers read them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.modalities import TEXT
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.model.architecture import Architecture
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.tower_specs.hf import HfTextSpec
from forgetmi.model.tower_specs.protocol import TrainingData

# A checkpoint may name files that this machine lacks, and need them no more
ABSENT = "absent"


def composed_spec(
    architecture: Architecture,
    cohort: Cohort,
    rows: Ints,
    *,
    classes: int,
    download: bool = True,
) -> ComposedSpec:
    """The complete specification of a model of towers.

    Args:
        architecture: Names the towers.
        cohort: The cohort.
        rows: The training rows, whose means and categories a table's tower takes.
        classes: Number of classes.
        download: Whether towers that may be fetched are; else they must be on this machine.

    Raises:
        SpecError: The towers cannot be read, or read what the cohort has not; all faults at once.
    """
    training = TrainingData()
    if cohort.table is not None:
        table = cohort.table[rows].astype(np.float64)
        training = TrainingData(cohort.table_columns, table, cohort.categorical)

    return architecture.compose(classes=classes, training=training, download=download)


def sized_for(spec: ComposedSpec, images: ImagePreprocessing) -> ImagePreprocessing:
    """How images are prepared for a model of towers: at the size that its image tower reads."""
    return replace(images, size=spec.size) if spec.size else images


def tokenizer_for(spec: ComposedSpec, *, max_length: int) -> LibraryTokenizer | None:
    """The tokenizer of the text tower's folder; None = it has no tower with a tokenizer of its own.

    Args:
        spec: Resolved.
        max_length: Longest report in tokens.

    Raises:
        SpecError: It cannot be read, has more tokens than the encoder, or reports may be longer than it reads.
    """
    tower = spec.tower(TEXT)
    if not isinstance(tower, HfTextSpec):
        return None

    tokenizer = LibraryTokenizer.from_folder(tower.folder(), pad=tower.pad, max_length=max_length)
    faults = []
    if tokenizer.size > tower.vocabulary:
        faults.append(
            Fault(
                f"the tokenizer has {tokenizer.size} tokens",
                where="text tower",
                why=f"the encoder has rows for {tower.vocabulary}",
                do="Use the tokenizer that belongs to the weights.",
            )
        )
    if max_length > tower.positions:
        faults.append(
            Fault(
                f"reports may have {max_length} tokens",
                where="text tower",
                why=f"the encoder reads {tower.positions}",
                do=f"Set text.max_length to {tower.positions} or less.",
            )
        )
    if faults:
        raise SpecError(faults)

    return tokenizer


def notices_of(spec: ComposedSpec, images: ImagePreprocessing) -> tuple[str, ...]:
    """What was taken from the towers' own files, in words.

    Args:
        spec: Resolved.
        images: How images were to be prepared.
    """
    notices = []
    if spec.size and images.size != spec.size:
        notices.append(f"images are prepared at {spec.size} pixels, as the image tower reads them")

    for modality, tower in spec.towers:
        if getattr(tower, "random", False):
            notices.append(f"the {modality} tower starts from random weights, as was asked for")
        elif getattr(tower, "source", None) is not None:
            notices.append(f"the {modality} tower starts from public weights")
        if tower.saw_patients:
            notices.append(
                f"the {modality} tower's weights saw patients of the cohort before: what they know no training here "
                "takes away, and retrained models know it, too"
            )

    return tuple(notices)


def tower_modules(spec: ComposedSpec) -> tuple[str, ...]:
    """Names of the Python modules of a model's towers."""
    modules: list[str] = []

    for _, tower in spec.towers:
        with torch.device("meta"):
            modules += [type(tower).__module__, type(tower.build()).__module__]

    return tuple(dict.fromkeys(modules))


def towers_digest(spec: ComposedSpec) -> str:
    """Digest of the public weights that a fresh model takes; read again when files of theirs are others.

    Args:
        spec: Resolved.

    Returns:
        64 hex digits; "absent" = they cannot be read here, so that no fresh model can be made.
    """
    files: list[tuple[str, int, int]] = []

    for _, tower in spec.towers:
        source = Path(getattr(tower, "source", ""))
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            if path.is_file():
                stat = path.stat()
                files.append((path.name, stat.st_size, stat.st_mtime_ns))

    try:
        return _digest(spec.without_download(), tuple(files))
    except SpecError:
        return ABSENT


@lru_cache(maxsize=4)
def _digest(spec: ComposedSpec, files: tuple[tuple[str, int, int], ...]) -> str:
    """See `towers_digest`; ``files`` only tell one state of them from another."""
    digest = hashlib.sha256()

    for modality, tower in spec.towers:
        for name, value in sorted((tower.pretrained() or {}).items()):
            digest.update(f"\0{modality} {name} {value.dtype} {tuple(value.shape)}\0".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())

    return digest.hexdigest()
