"""Models on disk: weights as safetensors, everything else as JSON, both under a digest; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.partial_files import recover, replace_folder
from forgetmi.model.adapted import Adapted
from forgetmi.model.checkpoint_facts import (
    FORMAT,
    MEMBERS,
    OWN,
    altered,
    differences,
    facts_digest,
    read_facts,
)
from forgetmi.model.checkpoint_own import factory_faults, filled_own
from forgetmi.model.checkpoint_weights import filled, read_file, read_weights
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule, net_modules
from forgetmi.model.own_files import FOLDER, digests, file_faults, own_contents
from forgetmi.model.own_spec import OwnSpec, is_own
from forgetmi.model.spec import ModelSpec

WEIGHTS = "model.safetensors"
FACTS = "model.json"
VOCABULARY = "vocab.txt"

# Most bytes of the vocabulary that are read
_VOCABULARY_BYTES = 64 * 2**20

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

    model: NetModule | Ensemble
    spec: Any
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    preprocessing: dict[str, Any]
    extra: dict[str, Any]
    version: str
    digest: str


def save(
    directory: Path,
    model: NetModule | Ensemble,
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
    faults = [*_unfit(model, vocabulary, classes), *foreign_files(directory)]
    free = {"preprocessing": dict(preprocessing), "extra": dict(extra or {})}
    try:
        free = json.loads(json.dumps(free, allow_nan=False))
    except (TypeError, ValueError) as error:
        faults.append(Fault("preprocessing and extra must be plain JSON values", why=str(error)))
    if faults:
        raise CheckpointError(faults)

    # Everything but the weights, under a digest of its own.
    contents = _weights(model)
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
    if isinstance(model.spec, OwnSpec):
        facts[OWN] = digests(contents)
    facts["digest"] = facts_digest(facts)
    text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)

    replace_folder(directory, {**contents, VOCABULARY: words, FACTS: f"{text}\n".encode()})
    return weights_digest


def _weights(model: NetModule | Ensemble) -> dict[str, bytes]:
    """The files of a model's weights, which a user's own model writes itself."""
    own = [member for member in net_modules(model) if isinstance(member, Adapted)]
    if own:
        return own_contents(own)

    # Safetensors stores whole tensors only, no views.
    tensors = {}
    for name, value in model.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()

    # A full disk is an OSError when bytes are written, unlike in safetensors' save_file.
    return {WEIGHTS: to_bytes(tensors)}


def _unfit(
    model: NetModule | Ensemble, vocabulary: Sequence[str], classes: Sequence[str]
) -> list[Fault]:
    """Faults of a vocabulary or of classes that are not the model's."""
    faults = []
    if len(classes) != model.spec.classes:
        faults.append(Fault(f"{len(classes)} class names for {model.spec.classes} classes"))

    # A pretrained encoder may have rows for more pieces than its tokenizer has.
    if isinstance(model.spec, OwnSpec):
        rows, padded = model.spec.sizes.vocabulary, False
    else:
        rows = model.spec.text.vocabulary
        padded = bool(model.spec.text.pretrained) and len(vocabulary) < rows
    if len(vocabulary) != rows and not padded:
        faults.append(Fault(f"{len(vocabulary)} word pieces for a model of {rows}"))

    # The vocabulary is stored with one piece a line.
    if any("\n" in piece for piece in vocabulary):
        faults.append(Fault("a word piece holds a line break"))
    return faults


def foreign_files(directory: Path) -> list[Fault]:
    """A fault if a directory holds anything but a checkpoint, which is never replaced."""
    recover(directory)
    if not directory.exists():
        return []

    if directory.is_dir():
        names = {path.name for path in directory.iterdir()}
        if names <= {WEIGHTS, FACTS, VOCABULARY, FOLDER}:
            return []

    return [
        Fault(
            "it holds other files than a checkpoint",
            where=directory.name,
            do="Choose another name.",
        )
    ]


def load(
    directory: Path, *, expect: ModelSpec | OwnSpec | None = None, factory: str = ""
) -> Loaded:
    """Read a model and check that nothing was changed since it was written.

    Args:
        directory: Where `save` wrote.
        expect: The architecture it must have.
        factory: The user's own factory (``package.module:function``), for a checkpoint of a model that it made. The one
            that the checkpoint names is never imported: nothing of a model's folder runs.

    Raises:
        CheckpointError: A factory is needed, or another one; files are missing or were altered, or the architecture is
            another; all faults at once.
    """
    _check_complete(directory)
    where = directory.name
    facts = read_facts(directory / FACTS)

    # Faults of the three files are collected and reported at once.
    faults = []
    words = read_file(directory / VOCABULARY, limit=_VOCABULARY_BYTES)
    if hashlib.sha256(words).hexdigest() != facts["vocabulary"]:
        faults.append(altered(f"{where}/{VOCABULARY}"))

    spec, spec_faults = _architecture(facts, expect, f"{where}/{FACTS}")
    faults += spec_faults
    tensors = None
    if isinstance(spec, OwnSpec):
        faults += [
            *factory_faults(spec, factory, where),
            *file_faults(directory, facts.get(OWN, {})),
        ]
    else:
        tensors, weight_faults = read_weights(directory / WEIGHTS)
        faults += weight_faults

    # One word piece a line; the last line end closes the last one.
    vocabulary = tuple(words.decode(errors="replace").split("\n")[:-1])

    # Weights can be compared only with a model to put them in.
    model = None
    if isinstance(spec, OwnSpec) and not faults:
        model, unfit = filled_own(
            directory, spec, facts.get(MEMBERS), facts["weights"], task=_task_in(facts)
        )
        faults += unfit
    elif isinstance(spec, ModelSpec) and tensors is not None:
        try:
            model, unfit = filled(
                spec,
                facts.get(MEMBERS),
                tensors,
                facts["weights"],
                f"{where}/{WEIGHTS}",
                task=_task_in(facts),
            )
            faults += unfit
        except SpecError as error:
            faults += error.faults
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


def _task_in(facts: Mapping[str, Any]) -> str:
    """Name of the task of a checkpoint's labels; those of earlier versions are all of classes."""
    return str(facts["preprocessing"].get("task", "classes"))


def intact(directory: Path) -> str:
    """Digest of a checkpoint's weights, if its files are as they were written; no code of a user's own runs for that.

    Raises:
        CheckpointError: Files are missing or were altered.
    """
    _check_complete(directory)
    facts = read_facts(directory / FACTS)
    if not is_own(facts["spec"]):
        return load(directory).digest

    faults = file_faults(directory, facts.get(OWN, {}))
    words = read_file(directory / VOCABULARY, limit=_VOCABULARY_BYTES)
    if hashlib.sha256(words).hexdigest() != facts["vocabulary"]:
        faults.append(altered(f"{directory.name}/{VOCABULARY}"))
    if faults:
        raise CheckpointError(faults)
    return facts["weights"]


def _check_complete(directory: Path) -> None:
    """Refuse a directory without the three files of a checkpoint."""
    recover(directory)
    if not directory.is_dir():
        raise CheckpointError(
            Fault("there is no such checkpoint", where=directory.name, do="Name its folder.")
        )

    # The weights of a user's own model lie in a folder of their own
    weights = () if (directory / FOLDER).is_dir() else (WEIGHTS,)
    missing = []
    for name in (*weights, FACTS, VOCABULARY):
        if not (directory / name).is_file():
            missing.append(Fault(f"{name} is missing", where=directory.name))
    if missing:
        raise CheckpointError(missing)


def _architecture(
    facts: Mapping[str, Any], expect: ModelSpec | OwnSpec | None, where: str
) -> tuple[ModelSpec | OwnSpec | None, list[Fault]]:
    """The stored architecture, and what is wrong with it."""
    spec: ModelSpec | OwnSpec
    try:
        if is_own(facts["spec"]):
            spec = OwnSpec.from_plain(facts["spec"], where=where)
        else:
            spec = ModelSpec.from_plain(facts["spec"])
    except SpecError as error:
        return None, list(error.faults)

    if expect is None or spec == expect:
        return spec, []
    fault = Fault(
        "it is of another architecture than expected",
        where=where,
        why=differences(spec.to_plain(), expect.to_plain()),
    )
    return spec, [fault]
