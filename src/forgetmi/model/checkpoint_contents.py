"""The files of a checkpoint: weights, facts and vocabulary, as bytes by name; who writes them puts them in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from safetensors.torch import save as to_bytes

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.model.adapted import Adapted
from forgetmi.model.checkpoint_facts import FORMAT, MEMBERS, OWN, facts_digest
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule, net_modules
from forgetmi.model.own_files import digests, own_contents
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.tasks.by_name import outputs_of

WEIGHTS = "model.safetensors"
FACTS = "model.json"
VOCABULARY = "vocab.txt"


def contents_of(
    model: NetModule | Ensemble,
    *,
    vocabulary: Sequence[str],
    preprocessing: Mapping[str, Any],
    classes: Sequence[str],
    extra: Mapping[str, Any] | None = None,
) -> tuple[dict[str, bytes], str]:
    """The files of a checkpoint by name, and the digest of its weights; see `save`.

    Raises:
        CheckpointError: The parts do not fit together.
    """
    # Plain values come back from JSON as they went in, or are refused now.
    faults = misfits(model, vocabulary, classes, task_in(preprocessing))
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

    return {**contents, VOCABULARY: words, FACTS: f"{text}\n".encode()}, weights_digest


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


def task_in(preprocessing: Mapping[str, Any]) -> str:
    """Name of the task of a checkpoint's labels; those of earlier versions are all of classes."""
    return str(preprocessing.get("task", "classes"))


def _columns(task: str, classes: Sequence[str]) -> int:
    """Columns of a head's logits; -1 = there is no such task, or it needs more names."""
    try:
        return outputs_of(task, classes)
    except SpecError:
        return -1


def misfits(
    model: NetModule | Ensemble, vocabulary: Sequence[str], classes: Sequence[str], task: str
) -> list[Fault]:
    """Faults of a vocabulary or of classes that are not the model's, whose task has the name."""
    faults = []
    if _columns(task, classes) != model.spec.classes:
        faults.append(Fault(f"{len(classes)} class names for {model.spec.classes} classes"))

    # A pretrained encoder may have rows for more pieces than its tokenizer has.
    if isinstance(model.spec, OwnSpec):
        rows, padded = model.spec.sizes.vocabulary, False
    elif isinstance(model.spec, ComposedSpec):
        rows, padded = len(vocabulary), False
    else:
        rows = model.spec.text.vocabulary
        padded = bool(model.spec.text.pretrained) and len(vocabulary) < rows
    if len(vocabulary) != rows and not padded:
        faults.append(Fault(f"{len(vocabulary)} word pieces for a model of {rows}"))

    # The vocabulary is stored with one piece a line.
    if any("\n" in piece for piece in vocabulary):
        faults.append(Fault("a word piece holds a line break"))
    return faults
