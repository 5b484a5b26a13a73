"""Models on disk: weights as safetensors, everything else as JSON, both under a digest; nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.partial_files import recover, replace_folder
from forgetmi.model.checkpoint_contents import (
    FACTS,
    VOCABULARY,
    WEIGHTS,
    contents_of,
    misfits,
    task_in,
)
from forgetmi.model.checkpoint_facts import (
    MEMBERS,
    OWN,
    altered,
    differences,
    read_facts,
)
from forgetmi.model.checkpoint_own import factory_faults, filled_own
from forgetmi.model.checkpoint_weights import filled, read_file, read_weights
from forgetmi.model.composed_spec import ComposedSpec, is_composed
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_files import FOLDER, file_faults
from forgetmi.model.own_spec import OwnSpec, is_own
from forgetmi.model.spec import ModelSpec

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
    if faults := foreign_files(directory):
        raise CheckpointError(faults)
    contents, digest = contents_of(
        model,
        vocabulary=vocabulary,
        preprocessing=preprocessing,
        classes=classes,
        extra=extra,
    )
    replace_folder(directory, contents)
    return digest


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
    directory: Path,
    *,
    expect: ModelSpec | ComposedSpec | OwnSpec | None = None,
    factory: str = "",
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
            directory,
            spec,
            facts.get(MEMBERS),
            facts["weights"],
            task=task_in(facts["preprocessing"]),
        )
        faults += unfit
    elif isinstance(spec, ModelSpec | ComposedSpec) and tensors is not None:
        try:
            model, unfit = filled(
                spec,
                facts.get(MEMBERS),
                tensors,
                facts["weights"],
                f"{where}/{WEIGHTS}",
                task=task_in(facts["preprocessing"]),
            )
            faults += unfit
        except SpecError as error:
            faults += error.faults
    if model is not None and not faults:
        faults += misfits(model, vocabulary, facts["classes"], task_in(facts["preprocessing"]))
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
    facts: Mapping[str, Any], expect: ModelSpec | ComposedSpec | OwnSpec | None, where: str
) -> tuple[ModelSpec | ComposedSpec | OwnSpec | None, list[Fault]]:
    """The stored architecture, and what is wrong with it."""
    spec: ModelSpec | ComposedSpec | OwnSpec
    try:
        if is_own(facts["spec"]):
            spec = OwnSpec.from_plain(facts["spec"], where=where)
        elif is_composed(facts["spec"]):
            spec = ComposedSpec.from_plain(facts["spec"])
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
