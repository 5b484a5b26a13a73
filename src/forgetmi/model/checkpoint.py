"""Models on disk: weights as safetensors, everything else as JSON, both under a digest; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as to_bytes

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.regular_file import read_regular
from forgetmi.model.checkpoint_facts import (
    FORMAT,
    MEMBERS,
    altered,
    differences,
    facts_digest,
    read_facts,
)
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.spec import ModelSpec

WEIGHTS = "model.safetensors"
FACTS = "model.json"
VOCABULARY = "vocab.txt"

# Most bytes that are read of each
_WEIGHTS_BYTES, _VOCABULARY_BYTES = 64 * 2**30, 64 * 2**20

# extra["gate"] of a checkpoint whose gate has fresh weights, because its source had none.
NO_GATE = "not fitted"


@dataclass(frozen=True)
class Loaded:
    """A model read from disk.

    Args:
        model: In eval mode, on the processor.
        spec: Its architecture; an ensemble's members share one.
        classes: Names of its classes, in order.
        vocabulary: Word pieces, id = position.
        preprocessing: How its inputs were prepared.
        extra: What else was stored with it.
        version: Version of the package that wrote it.
        digest: Digest of its weights (`parameter_digest`).
    """

    model: ImageText | Ensemble
    spec: ModelSpec
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    preprocessing: dict[str, Any]
    extra: dict[str, Any]
    version: str
    digest: str


def save(
    directory: Path,
    model: ImageText | Ensemble,
    *,
    vocabulary: Sequence[str],
    preprocessing: Mapping[str, Any],
    classes: Sequence[str],
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write a model: the whole directory appears at once, and replaces an earlier checkpoint there.

    Args:
        directory: Where; its parent exists. A directory that holds anything but a checkpoint is refused.
        model: Any device; its gate is stored, too.
        vocabulary: Word pieces, id = position.
        preprocessing: How inputs were prepared, plain JSON values.
        classes: Names of the classes, in order.
        extra: Anything else worth keeping, plain JSON values.

    Returns:
        Digest of the weights.

    Raises:
        CheckpointError: The parts do not fit together, or the directory holds other files.
    """
    # Plain values come back from JSON as they went in, or are refused now.
    faults = [*_unfit(model, vocabulary, classes), *_foreign_files(directory)]
    free = {"preprocessing": dict(preprocessing), "extra": dict(extra or {})}
    try:
        free = json.loads(json.dumps(free, allow_nan=False))
    except (TypeError, ValueError) as error:
        faults.append(Fault("preprocessing and extra must be plain JSON values", why=str(error)))
    if faults:
        raise CheckpointError(faults)

    # Everything but the weights, under a digest of its own.
    weights_digest = parameter_digest(model)
    words = "".join(f"{piece}\n" for piece in vocabulary).encode()
    facts: dict[str, Any] = {
        "format": FORMAT,
        "version": version("forgetmi"),
        "spec": model.spec.to_plain(),
        "classes": list(classes),
        "weights": weights_digest,
        "vocabulary": hashlib.sha256(words).hexdigest(),
        **free,
    }
    if isinstance(model, Ensemble):
        facts[MEMBERS] = len(model.members)
    facts["digest"] = facts_digest(facts)
    text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)

    # Safetensors stores whole tensors only, no views.
    tensors = {}
    for name, value in model.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()

    # A full disk is an OSError when bytes are written, unlike in safetensors' save_file.
    contents = {
        WEIGHTS: to_bytes(tensors),
        VOCABULARY: words,
        FACTS: f"{text}\n".encode(),
    }
    _replace(directory, contents)
    return weights_digest


def _unfit(
    model: ImageText | Ensemble, vocabulary: Sequence[str], classes: Sequence[str]
) -> list[Fault]:
    """Faults of a vocabulary or of classes that are not the model's."""
    faults = []
    if len(classes) != model.spec.classes:
        faults.append(Fault(f"{len(classes)} class names for {model.spec.classes} classes"))

    if len(vocabulary) != model.spec.text.vocabulary:
        faults.append(
            Fault(f"{len(vocabulary)} word pieces for a model of {model.spec.text.vocabulary}")
        )

    # The vocabulary is stored with one piece a line.
    if any("\n" in piece for piece in vocabulary):
        faults.append(Fault("a word piece holds a line break"))
    return faults


def _foreign_files(directory: Path) -> list[Fault]:
    """A fault if a directory holds anything but a checkpoint, which is never replaced."""
    if not directory.exists():
        return []

    if directory.is_dir():
        names = {path.name for path in directory.iterdir()}
        if names <= {WEIGHTS, FACTS, VOCABULARY}:
            return []

    return [
        Fault(
            "it holds other files than a checkpoint",
            where=directory.name,
            do="Choose another name.",
        )
    ]


def _replace(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write a whole directory and put it in place of an earlier one."""
    partial = directory.with_name(f".{directory.name}.partial")
    old = directory.with_name(f".{directory.name}.old")

    # What an interrupted process left.
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)

    partial.mkdir()
    try:
        # The new directory is complete before the old one moves away.
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        if directory.exists():
            os.replace(directory, old)
        os.replace(partial, directory)
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)


def load(directory: Path, *, expect: ModelSpec | None = None) -> Loaded:
    """Read a model and check that nothing was changed since it was written.

    Args:
        directory: Where `save` wrote.
        expect: The architecture it must have.

    Raises:
        CheckpointError: Files are missing or were altered, or the architecture is another; all faults at once.
    """
    _check_complete(directory)
    where = directory.name
    facts = read_facts(directory / FACTS)

    # Faults of the three files are collected and reported at once.
    faults = []
    words = _read(directory / VOCABULARY, limit=_VOCABULARY_BYTES)
    if hashlib.sha256(words).hexdigest() != facts["vocabulary"]:
        faults.append(altered(f"{where}/{VOCABULARY}"))

    tensors, weight_faults = _read_weights(directory / WEIGHTS, f"{where}/{WEIGHTS}")
    model, model_faults = _read_architecture(facts, expect, f"{where}/{FACTS}")
    faults += weight_faults + model_faults

    # Weights can be compared only with a model to put them in.
    if model is not None and tensors is not None:
        faults += _fill(model, tensors, f"{where}/{WEIGHTS}", facts["weights"])

    # One word piece a line; the last line end closes the last one.
    vocabulary = tuple(words.decode(errors="replace").split("\n")[:-1])
    if model is not None and not faults:
        faults += _unfit(model, vocabulary, facts["classes"])
    if faults or model is None:
        raise CheckpointError(faults)

    return Loaded(
        model=model.eval(),
        spec=model.spec,
        classes=tuple(facts["classes"]),
        vocabulary=vocabulary,
        preprocessing=facts["preprocessing"],
        extra=facts["extra"],
        version=facts["version"],
        digest=facts["weights"],
    )


def _check_complete(directory: Path) -> None:
    """Refuse a directory without the three files of a checkpoint."""
    missing = []
    for name in (WEIGHTS, FACTS, VOCABULARY):
        if not (directory / name).is_file():
            missing.append(Fault(f"{name} is missing", where=directory.name))
    if missing:
        raise CheckpointError(missing)


def _read(path: Path, *, limit: int) -> bytes:
    """The content of a file of a checkpoint."""
    try:
        return read_regular(path, limit=limit)
    except OSError as error:
        where = f"{path.parent.name}/{path.name}"
        why = error.strerror or type(error).__name__
        raise CheckpointError(Fault("it cannot be read", where=where, why=why)) from None


def _read_weights(path: Path, where: str) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Tensors by name, or why there are none."""
    try:
        return read_tensors(_read(path, limit=_WEIGHTS_BYTES)), []
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = type(error).__name__
        return None, [Fault("the weights cannot be read", where=where, why=reason)]


def _read_architecture(
    facts: Mapping[str, Any], expect: ModelSpec | None, where: str
) -> tuple[ImageText | Ensemble | None, list[Fault]]:
    """A model of the stored architecture, whose weights are yet to be filled in; and what is wrong with it."""
    try:
        spec = ModelSpec.from_plain(facts["spec"])
    except SpecError as error:
        return None, list(error.faults)

    faults = []
    if expect is not None and spec != expect:
        faults.append(
            Fault(
                "it is of another architecture than expected",
                where=where,
                why=differences(spec, expect),
            )
        )

    # Sizes that are sound one by one may still not fit together, or the memory.
    try:
        return _empty_model(spec, facts), faults
    except SpecError as error:
        return None, [*faults, *error.faults]
    except (RuntimeError, MemoryError, OverflowError) as error:
        reason = type(error).__name__
        fault = Fault("a model of these sizes cannot be made", where=where, why=reason)
        return None, [*faults, fault]


def _empty_model(spec: ModelSpec, facts: Mapping[str, Any]) -> ImageText | Ensemble:
    if MEMBERS not in facts:
        return ImageText(spec)
    return Ensemble([ImageText(spec) for _ in range(facts[MEMBERS])])


def _fill(
    model: ImageText | Ensemble, tensors: Mapping[str, Any], where: str, digest: str
) -> list[Fault]:
    """Give a model the stored weights; what does not fit."""
    expected = model.state_dict()

    faults = []
    # The same names, and each of its type and shape.
    for name in sorted(set(expected) - set(tensors)):
        faults.append(Fault(f"tensor {name} is missing", where=where))
    for name in sorted(set(tensors) - set(expected)):
        faults.append(Fault(f"unknown tensor {name}", where=where))

    for name in sorted(set(expected) & set(tensors)):
        stored, own = tensors[name], expected[name]
        if (stored.shape, stored.dtype) != (own.shape, own.dtype):
            faults.append(
                Fault(
                    f"tensor {name} is {stored.dtype} {tuple(stored.shape)}",
                    where=where,
                    why=f"the model's is {own.dtype} {tuple(own.shape)}",
                )
            )
    if faults:
        return faults

    # Names and shapes fit; the digest shows whether the numbers are those that were written.
    model.load_state_dict(dict(tensors))
    if parameter_digest(model) != digest:
        faults.append(altered(where))
    return faults
