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
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.spec import ModelSpec

WEIGHTS, FACTS, VOCABULARY = "model.safetensors", "model.json", "vocab.txt"
NO_GATE = "not fitted"  # extra["gate"] of a checkpoint whose gate has fresh weights, because its source had none
_FORMAT = 1
_FIELDS = {
    "format",
    "version",
    "spec",
    "classes",
    "preprocessing",
    "extra",
    "weights",
    "vocabulary",
}
_MEMBERS = "members"  # how many models an ensemble has; absent for a single model


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
    faults = []
    if len(classes) != model.spec.classes:
        faults.append(Fault(f"{len(classes)} class names for {model.spec.classes} classes"))
    if len(vocabulary) != model.spec.text.vocabulary:
        faults.append(
            Fault(f"{len(vocabulary)} word pieces for a model of {model.spec.text.vocabulary}")
        )
    if any("\n" in piece for piece in vocabulary):
        faults.append(Fault("a word piece holds a line break"))
    if directory.exists() and not (
        directory.is_dir()
        and {path.name for path in directory.iterdir()} <= {WEIGHTS, FACTS, VOCABULARY}
    ):
        faults.append(
            Fault(
                "it holds other files than a checkpoint",
                where=directory.name,
                do="Choose another name.",
            )
        )
    free = {"preprocessing": dict(preprocessing), "extra": dict(extra or {})}
    try:
        free = json.loads(json.dumps(free, allow_nan=False))
    except (TypeError, ValueError) as error:
        faults.append(Fault("preprocessing and extra must be plain JSON values", why=str(error)))
    if faults:
        raise CheckpointError(faults)
    digest = parameter_digest(model)
    words = "".join(f"{piece}\n" for piece in vocabulary).encode()
    facts = {
        "format": _FORMAT,
        "version": version("forgetmi"),
        "spec": model.spec.to_plain(),
        "classes": list(classes),
        "weights": digest,
        "vocabulary": hashlib.sha256(words).hexdigest(),
        **free,
        **({_MEMBERS: len(model.members)} if isinstance(model, Ensemble) else {}),
    }
    partial, old = (directory.with_name(f".{directory.name}.{name}") for name in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    text = json.dumps(
        {**facts, "digest": _digest(facts)}, indent=1, sort_keys=True, allow_nan=False
    )
    try:
        (partial / WEIGHTS).write_bytes(
            to_bytes(tensors)
        )  # a full disk is an OSError here, unlike in save_file
        (partial / VOCABULARY).write_bytes(words)
        (partial / FACTS).write_text(f"{text}\n", encoding="utf-8")
        if directory.exists():
            os.replace(directory, old)
        os.replace(partial, directory)
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return digest


def load(directory: Path, *, expect: ModelSpec | None = None) -> Loaded:
    """Read a model and check that nothing was changed since it was written.

    Args:
        directory: Where `save` wrote.
        expect: The architecture it must have.

    Raises:
        CheckpointError: Files are missing or were altered, or the architecture is another; all faults at once.
    """
    where = directory.name
    missing = [
        Fault(f"{name} is missing", where=where)
        for name in (WEIGHTS, FACTS, VOCABULARY)
        if not (directory / name).is_file()
    ]
    if missing:
        raise CheckpointError(missing)
    facts = _read_facts(directory / FACTS)
    words = (directory / VOCABULARY).read_bytes()
    faults = []
    if hashlib.sha256(words).hexdigest() != facts["vocabulary"]:
        faults.append(_altered(f"{where}/{VOCABULARY}"))
    try:
        tensors = read_tensors((directory / WEIGHTS).read_bytes())
    except (SafetensorError, ValueError) as error:
        tensors = None
        faults.append(
            Fault(
                "the weights cannot be read", where=f"{where}/{WEIGHTS}", why=type(error).__name__
            )
        )
    model = None
    try:
        spec = ModelSpec.from_plain(facts["spec"])
        if expect is not None and spec != expect:
            faults.append(
                Fault(
                    "it is of another architecture than expected",
                    where=f"{where}/{FACTS}",
                    why=_differences(spec, expect),
                )
            )
        model = (
            Ensemble([ImageText(spec) for _ in range(facts[_MEMBERS])])
            if _MEMBERS in facts
            else ImageText(spec)
        )
    except SpecError as error:
        faults += error.faults
    if model is not None and tensors is not None:
        faults += _fill(model, tensors, f"{where}/{WEIGHTS}", facts["weights"])
    if faults or model is None:
        raise CheckpointError(faults)
    return Loaded(
        model.eval(),
        model.spec,
        tuple(facts["classes"]),
        tuple(words.decode().split("\n")[:-1]),
        facts["preprocessing"],
        facts["extra"],
        facts["version"],
        facts["weights"],
    )


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _altered(where: str) -> Fault:
    return Fault(
        "it was altered after it was written",
        where=where,
        why="its digest differs",
        do="Use the original files.",
    )


def _read_facts(path: Path) -> dict[str, Any]:
    where = f"{path.parent.name}/{path.name}"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(
            Fault("it cannot be read", where=where, why=type(error).__name__)
        ) from error
    if not isinstance(facts, dict):
        raise CheckpointError(Fault("it is not a mapping of fields", where=where))
    digest = facts.pop("digest", None)
    faults = [
        Fault(f"field {name!r} is missing", where=where) for name in sorted(_FIELDS - set(facts))
    ]
    faults += [
        Fault(f"unknown field {name!r}", where=where)
        for name in sorted(set(facts) - _FIELDS - {_MEMBERS})
    ]
    if digest != _digest(facts):
        faults.append(_altered(where))
    if type(facts.get(_MEMBERS, 1)) is not int or facts.get(_MEMBERS, 1) < 1:
        faults.append(Fault(f"field {_MEMBERS!r} is not a number of models", where=where))
    if facts.get("format", _FORMAT) != _FORMAT:
        faults.append(
            Fault(
                f"its format is {facts['format']!r}",
                where=where,
                why=f"this version reads {_FORMAT}",
            )
        )
    if faults:
        raise CheckpointError(faults)
    return facts


def _fill(
    model: ImageText | Ensemble, tensors: Mapping[str, Any], where: str, digest: str
) -> list[Fault]:
    own = model.state_dict()
    faults = [
        Fault(f"tensor {name} is missing", where=where) for name in sorted(set(own) - set(tensors))
    ]
    faults += [
        Fault(f"unknown tensor {name}", where=where) for name in sorted(set(tensors) - set(own))
    ]
    for name in sorted(set(own) & set(tensors)):
        stored = tensors[name]
        if (stored.shape, stored.dtype) != (own[name].shape, own[name].dtype):
            faults.append(
                Fault(
                    f"tensor {name} is {stored.dtype} {tuple(stored.shape)}",
                    where=where,
                    why=f"the model's is {own[name].dtype} {tuple(own[name].shape)}",
                )
            )
    if not faults:
        model.load_state_dict(dict(tensors))
        if parameter_digest(model) != digest:
            faults.append(_altered(where))
    return faults


def _differences(spec: ModelSpec, expect: ModelSpec) -> str:
    def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        return {
            key: value
            for name, item in values.items()
            for key, value in (
                flat(item, f"{path}{name}.") if isinstance(item, dict) else {f"{path}{name}": item}
            ).items()
        }

    found, wanted = flat(spec.to_plain()), flat(expect.to_plain())
    return "; ".join(
        f"{name} is {value!r}, not {wanted[name]!r}"
        for name, value in found.items()
        if value != wanted[name]
    )
