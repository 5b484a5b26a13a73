"""The authors' checkpoints, read into our model and written back so that their code loads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgetmi.authors_code.checkpoint_files import (
    CONFIG,
    WEIGHTS,
    read_config,
    read_weights,
    weights_file,
)
from forgetmi.authors_code.checkpoint_sizes import (
    POOLING,
    STEM_STRIDE,
    architecture,
    unequal_widths,
)
from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.files import write_text
from forgetmi.core.partial_files import whole_file
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import initialise
from forgetmi.model.spec import ModelSpec

_GATE = "gate."
_HEAD_WEIGHT, _HEAD_BIAS = "classifier.weight", "classifier.bias"
_HEAD = (_HEAD_WEIGHT, _HEAD_BIAS)


@dataclass(frozen=True)
class AuthorsCheckpoint:
    """A checkpoint of the Forget-MI release or of joint_chestxray.

    Args:
        model: In eval mode. Its gate has fresh weights, because the release stores none: fit it before use.
        config: Its config.json; empty where there was none.
        unused_head: Weight and bias of the third head, which no forward pass uses but their code stores.
    """

    model: ImageText
    config: dict[str, Any]
    unused_head: dict[str, Tensor]


def read_checkpoint(path: Path, *, config: Path | None = None, seed: int = 0) -> AuthorsCheckpoint:
    """Read a checkpoint directory, or the weights saved after an epoch.

    The architecture comes from the shapes of the weights and from config.json. Nothing but tensors is unpickled.

    Args:
        path: A directory with config.json and pytorch_model.bin, a directory with model_state_dict.pth, or one of
            these two weight files.
        config: A config.json to use where none lies next to the weights. Without any, attention heads are 64 wide (as
            in every published BERT) and dropout is 0.1.
        seed: Of the gate's initial weights.

    Raises:
        CheckpointError: A file is missing or is no state dict; every weight that is missing, unexpected, of another
            shape or not finite is named.

    Source: ImageTextModel.from_pretrained of the release. Deviations: it only logs missing and unexpected weights, so
    that an empty file gives a random model; it executes whatever the pickle holds.
    """
    weights = weights_file(path)
    state = read_weights(weights)
    values = _configuration(config, weights)
    spec = architecture(state, values, weights.name)

    # The third head is no part of our model.
    head = {name: state.pop(name) for name in _HEAD if name in state}

    # Every weight but those of the gate must be there, with its shape.
    model = ImageText(spec)
    expected = _without_gate(model.state_dict())
    faults = _differences(expected, state, weights.name)
    faults += _head_faults(head, spec, weights.name)
    if faults:
        raise CheckpointError(faults)

    # The release stores no gate, so that it starts from fresh weights.
    initialise(model, seed=seed, names=("gate",))
    model.load_state_dict({**model.state_dict(), **state})
    return AuthorsCheckpoint(model.eval(), values, head)


def write_checkpoint(
    directory: Path,
    model: ImageText,
    *,
    config: Mapping[str, Any] | None = None,
    unused_head: Mapping[str, Tensor] | None = None,
) -> None:
    """Write config.json and pytorch_model.bin for the authors' code; each file appears at once.

    Args:
        directory: Made if needed.
        model: Its gate is left out: the release draws new ones at every step.
        config: A config.json to write back; None = one with the model's sizes.
        unused_head: The third head to write back; None = zeros, which change no output.

    Raises:
        CheckpointError: Their code cannot build this architecture.
    """
    spec = model.spec
    faults = _unbuildable(spec)
    if faults:
        raise CheckpointError(faults)

    # Their code stores a third head, too.
    head = unused_head
    if head is None:
        head = {
            _HEAD_WEIGHT: torch.zeros(spec.classes, spec.text.hidden),
            _HEAD_BIAS: torch.zeros(spec.classes),
        }
    tensors = {}
    for name, value in _without_gate({**model.state_dict(), **head}).items():
        tensors[name] = value.detach().cpu().contiguous()

    values = dict(config) if config else _config_of(spec)
    text = json.dumps(values, indent=2, sort_keys=True)

    directory.mkdir(parents=True, exist_ok=True)
    with whole_file(directory / WEIGHTS) as file:
        torch.save(tensors, file)
    write_text(directory / CONFIG, f"{text}\n")


def _configuration(given: Path | None, weights: Path) -> dict[str, Any]:
    """Values of the config.json given, or of the one next to the weights; empty where there is none."""
    if given is not None:
        return read_config(given)

    neighbour = weights.parent / CONFIG
    if neighbour.is_file():
        return read_config(neighbour)
    return {}


def _without_gate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(_GATE)}


def _differences(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> list[Fault]:
    """Every weight that is missing, unexpected, of another shape or not finite."""
    faults = [
        Fault(f"weight {name} is missing", where=where) for name in expected if name not in state
    ]
    faults += [
        Fault(f"weight {name} is unexpected", where=where) for name in state if name not in expected
    ]

    for name in expected.keys() & state.keys():
        shape, expected_shape = tuple(state[name].shape), tuple(expected[name].shape)
        if shape != expected_shape:
            faults.append(
                Fault(
                    f"weight {name} has shape {shape}",
                    where=where,
                    why=f"{expected_shape} expected",
                )
            )
        elif _is_number(state[name]) != _is_number(expected[name]):
            faults.append(
                Fault(
                    f"weight {name} is {state[name].dtype}",
                    where=where,
                    why=f"{expected[name].dtype} expected",
                )
            )
        elif not bool(torch.isfinite(state[name]).all()):
            faults.append(Fault(f"weight {name} is not finite", where=where))

    return sorted(faults, key=lambda fault: fault.what)


def _is_number(value: Tensor) -> bool:
    """Whether a tensor holds floating-point numbers, whatever their size; counters are whole."""
    plain = value.layout == torch.strided and not value.is_quantized
    return plain and value.is_floating_point() and value.element_size() > 1


def _head_faults(head: Mapping[str, Tensor], spec: ModelSpec, where: str) -> list[Fault]:
    """Whether the third head is whole and shaped like the text head."""
    missing = [name for name in _HEAD if name not in head]
    if missing:
        return [Fault(f"weight {name} is missing", where=where) for name in missing]

    weight_fits = head[_HEAD_WEIGHT].shape == (spec.classes, spec.text.hidden)
    bias_fits = head[_HEAD_BIAS].shape == (spec.classes,)
    if weight_fits and bias_fits:
        return []
    return [Fault("the third head 'classifier' has another shape than the text head", where=where)]


def _unbuildable(spec: ModelSpec) -> list[Fault]:
    """What of an architecture the authors' code does not have."""
    choices = (
        ("stem stride", spec.image.stem_stride, STEM_STRIDE),
        ("pooling", spec.image.pooling, POOLING),
    )

    faults = []
    for name, value, theirs in choices:
        if value != theirs:
            faults.append(
                Fault(
                    f"the model's {name} is {value!r}",
                    where="image encoder",
                    why=f"the authors' code has {theirs!r}",
                )
            )
    if spec.text.hidden != spec.image.features:
        faults.append(unequal_widths(spec.text.hidden, spec.image.features))
    return faults


def _config_of(spec: ModelSpec) -> dict[str, Any]:
    text = spec.text
    names = {str(number): f"LABEL_{number}" for number in range(spec.classes)}
    return {
        "attention_probs_dropout_prob": text.attention_dropout,
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": text.dropout,
        "hidden_size": text.hidden,
        "id2label": names,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate,
        "label2id": {name: int(number) for number, name in names.items()},
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": text.positions,
        "num_attention_heads": text.heads,
        "num_hidden_layers": text.layers,
        "output_hidden_states": True,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.45.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": text.vocabulary,
    }
