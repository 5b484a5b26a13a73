"""The authors' checkpoints, read into our model and written back so that their code loads them."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import initialise
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec

CONFIG, WEIGHTS, EPOCH_WEIGHTS = "config.json", "pytorch_model.bin", "model_state_dict.pth"
_EMBEDDINGS = "text_model.bert.embeddings."
_LAYER = "text_model.bert.encoder.layer."
_HEAD = ("classifier.weight", "classifier.bias")
_GATE = "gate."
_STEM_STRIDE = 4
_ZIP, _LEGACY = (
    b"PK",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19",
)  # how torch.save begins, now and before 1.6


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
        config: A config.json to use where none lies beside the weights. Without any, attention heads are 64 wide (as in
            every published BERT) and dropout is 0.1.
        seed: Of the gate's initial weights.

    Raises:
        CheckpointError: A file is missing or is no state dict; every weight that is missing, unexpected, of another
            shape or not finite is named.

    Source: ImageTextModel.from_pretrained of the release. Deviations: it only logs missing and unexpected weights, so
    that an empty file gives a random model; it executes whatever the pickle holds.
    """
    weights = weights_file(path)
    state = _rename(_unpickle(weights), weights.name)
    beside = weights.parent / CONFIG
    source = config if config is not None else beside if beside.is_file() else None
    values = _read_config(source) if source is not None else {}
    spec = _infer(state, values, weights.name)
    head = {name: state.pop(name) for name in _HEAD if name in state}
    model = ImageText(spec)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(_GATE)}
    faults = _differences(own, state, weights.name)
    if len(head) != len(_HEAD):
        faults += [
            Fault(f"weight {name} is missing", where=weights.name)
            for name in _HEAD
            if name not in head
        ]
    elif head[_HEAD[0]].shape != (spec.classes, spec.text.hidden) or head[_HEAD[1]].shape != (
        spec.classes,
    ):
        faults.append(
            Fault(
                "the third head 'classifier' has another shape than the text head",
                where=weights.name,
            )
        )
    if faults:
        raise CheckpointError(faults)
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
    faults = [
        Fault(
            f"the model's {what} is {found!r}",
            where="image encoder",
            why=f"the authors' code has {theirs!r}",
        )
        for what, found, theirs in (
            ("stem stride", spec.image.stem_stride, _STEM_STRIDE),
            ("pooling", spec.image.pooling, "average2x2"),
        )
        if found != theirs
    ]
    if spec.text.hidden != spec.image.features:
        faults.append(_unequal(spec.text.hidden, spec.image.features))
    if faults:
        raise CheckpointError(faults)
    head = (
        unused_head
        if unused_head is not None
        else {
            _HEAD[0]: torch.zeros(spec.classes, spec.text.hidden),
            _HEAD[1]: torch.zeros(spec.classes),
        }
    )
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in {**model.state_dict(), **head}.items()
        if not name.startswith(_GATE)
    }
    text = json.dumps(dict(config) if config else _config_of(spec), indent=2, sort_keys=True)
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / WEIGHTS, lambda file: torch.save(tensors, file))
    _replace(directory / CONFIG, lambda file: file.write_text(f"{text}\n", encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    os.replace(partial, path)


def weights_file(path: Path) -> Path:
    """The file of weights that a path of `read_checkpoint` means.

    Raises:
        CheckpointError: There is none.
    """
    if not path.is_dir():
        if path.is_file():
            return path
        raise CheckpointError(Fault("there is no such checkpoint", where=path.name))
    for name in (WEIGHTS, EPOCH_WEIGHTS):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        Fault(
            f"it holds neither {WEIGHTS} nor {EPOCH_WEIGHTS}",
            where=path.name,
            do="Name a checkpoint directory of the authors' code.",
        )
    )


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            known = file.read(len(_LEGACY)).startswith((_ZIP, _LEGACY))
        state = torch.load(path, map_location="cpu", weights_only=True) if known else None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            Fault(
                "it holds more than tensors, or is damaged",
                where=path.name,
                why="nothing but tensors is unpickled",
                do="Save the model's state_dict() alone.",
            )
        ) from error
    except Exception as error:  # a damaged file makes the unpickler fail in any way
        raise CheckpointError(
            Fault("it cannot be read as a PyTorch file", where=path.name, why=type(error).__name__)
        ) from error
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
        )
    ):
        raise CheckpointError(
            Fault(
                "it is not a state dict",
                where=path.name,
                why="names and tensors are expected",
                do="Save the model's state_dict().",
            )
        )
    return dict(state)


def _rename(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """New names for old ones (LayerNorm.gamma, .beta), without the position numbers old versions stored."""
    renamed: dict[str, Tensor] = {}
    faults = []
    for name, value in state.items():
        if name == f"{_EMBEDDINGS}position_ids":
            continue  # a counter 0, 1, 2, ... that transformers before 4.31 kept among the weights
        new = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
        if new in renamed or (new != name and new in state):
            faults.append(
                Fault(f"weight {new} is there twice, in its old and its new spelling", where=where)
            )
        renamed[new] = value
    if faults:
        raise CheckpointError(faults)
    return renamed


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            Fault("it cannot be read", where=path.name, why=type(error).__name__)
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(Fault("it is not a mapping", where=path.name))
    return values


def _infer(state: Mapping[str, Tensor], config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture the shapes and the configuration agree on."""
    needed = {
        f"{_EMBEDDINGS}word_embeddings.weight": 2,
        f"{_EMBEDDINGS}position_embeddings.weight": 2,
        f"{_LAYER}0.intermediate.dense.weight": 2,
        "img_model.conv1.weight": 4,
        "img_model.layer1.0.conv1.weight": 4,
        "img_model.fc1.weight": 2,
    }
    faults = [
        Fault(f"weight {name} is missing", where=where) for name in needed if name not in state
    ]
    faults += [
        Fault(f"weight {name} has {state[name].ndim} dimensions, not {dimensions}", where=where)
        for name, dimensions in needed.items()
        if name in state and state[name].ndim != dimensions
    ]
    if faults:
        raise CheckpointError(faults)
    words, positions, inner, stem, _, head = (state[name].shape for name in needed)
    stages = _count(state, "img_model.layer{}.0.conv1.weight", first=1)
    widths = tuple(
        state[f"img_model.layer{stage}.0.conv1.weight"].shape[0] for stage in range(1, stages + 1)
    )
    hidden, features = words[1], head[1]
    side = round((features / widths[-1]) ** 0.5)
    if side < 1 or side * side * widths[-1] != features:
        faults.append(
            Fault(
                "img_model.fc1.weight does not fit the last stage",
                where=where,
                why=f"{features} features from {widths[-1]} channels",
            )
        )
    if hidden != features:
        faults.append(_unequal(hidden, features))
    read = BertConfig.from_dict(dict(config))
    sizes = {
        "hidden_size": hidden,
        "vocab_size": words[0],
        "max_position_embeddings": positions[0],
        "num_hidden_layers": _count(state, _LAYER + "{}.intermediate.dense.weight", first=0),
        "intermediate_size": inner[0],
    }
    faults += [
        Fault(f"{name} is {getattr(read, name)}", where=CONFIG, why=f"the weights say {found}")
        for name, found in sizes.items()
        if config and getattr(read, name) != found
    ]
    usual = BertConfig()
    fixed = ("hidden_act", "layer_norm_eps", "type_vocab_size", "pad_token_id")
    faults += [
        Fault(
            f"{name} is {getattr(read, name)!r}",
            where=CONFIG,
            why=f"must be {getattr(usual, name)!r}",
        )
        for name in fixed
        if getattr(read, name) != getattr(usual, name)
    ]
    if not config and hidden % 64:
        faults.append(
            Fault(
                f"the number of attention heads at width {hidden} is not known",
                where=where,
                why="weights do not tell it",
                do=f"Name the {CONFIG} of the model it was made from.",
            )
        )
    if faults:
        raise CheckpointError(faults)
    try:
        return ModelSpec(
            image=ResNetSpec(
                size=2 * side * 2**stages * _STEM_STRIDE,
                stem_stride=_STEM_STRIDE,
                stem_width=stem[0],
                widths=widths,
                blocks=_count(state, "img_model.layer1.{}.conv1.weight", first=0),
                pooling="average2x2",
            ),
            text=TextEncoderSpec(
                hidden=hidden,
                layers=sizes["num_hidden_layers"],
                heads=read.num_attention_heads if config else hidden // 64,
                intermediate=inner[0],
                vocabulary=words[0],
                positions=positions[0],
                dropout=read.hidden_dropout_prob,
                attention_dropout=read.attention_probs_dropout_prob,
            ),
            classes=head[0],
        )
    except SpecError as error:
        raise CheckpointError(error.faults) from error


def _count(state: Mapping[str, Tensor], name: str, *, first: int) -> int:
    """How many consecutive numbers, from the first, a weight's name exists with."""
    number = first
    while name.format(number) in state:
        number += 1
    return number - first


def _unequal(text: int, image: int) -> Fault:
    return Fault(
        f"text embeddings are {text} wide, image embeddings {image}",
        why="the authors' gate and ranking loss need equal widths",
    )


def _differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> list[Fault]:
    faults = [Fault(f"weight {name} is missing", where=where) for name in own if name not in state]
    faults += [
        Fault(f"weight {name} is unexpected", where=where) for name in state if name not in own
    ]
    for name in own.keys() & state.keys():
        found, expected = state[name], own[name]
        if found.shape != expected.shape:
            faults.append(
                Fault(
                    f"weight {name} has shape {tuple(found.shape)}",
                    where=where,
                    why=f"{tuple(expected.shape)} expected",
                )
            )
        elif not bool(torch.isfinite(found).all()):
            faults.append(Fault(f"weight {name} is not finite", where=where))
    return sorted(faults, key=lambda fault: fault.what)


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
