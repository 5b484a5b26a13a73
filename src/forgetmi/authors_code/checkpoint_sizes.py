"""The architecture of the authors' model, as the shapes of its weights and its config.json show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import BertConfig

from forgetmi.authors_code.checkpoint_files import CONFIG
from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec

STEM_STRIDE = 4
POOLING = "average2x2"

_WORDS = "text_model.bert.embeddings.word_embeddings.weight"
_POSITIONS = "text_model.bert.embeddings.position_embeddings.weight"
_INNER = "text_model.bert.encoder.layer.{}.intermediate.dense.weight"
_STEM = "img_model.conv1.weight"
_STAGE = "img_model.layer{}.0.conv1.weight"
_BLOCK = "img_model.layer1.{}.conv1.weight"
_IMAGE_HEAD = "img_model.fc1.weight"

# The weights that sizes are read from, with their number of dimensions.
_NEEDED = {
    _WORDS: 2,
    _POSITIONS: 2,
    _INNER.format(0): 2,
    _STEM: 4,
    _STAGE.format(1): 4,
    _IMAGE_HEAD: 2,
}

# Values of config.json that our text encoder cannot vary.
_FIXED = ("hidden_act", "layer_norm_eps", "type_vocab_size", "pad_token_id")
_HEAD_WIDTH = 64  # of every published BERT


@dataclass(frozen=True)
class _Sizes:
    """What the weights show of both encoders."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    intermediate: int
    stem_width: int
    widths: tuple[int, ...]
    blocks: int
    features: int
    classes: int

    @property
    def side(self) -> int:
        """Side of the pooled feature map that the image head reads."""
        return round((self.features / self.widths[-1]) ** 0.5)


def architecture(state: Mapping[str, Tensor], config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture the shapes and the configuration agree on.

    Args:
        state: Name of each weight to its tensor.
        config: Values of config.json; empty = there is none.
        where: Name of the file of weights, for messages.

    Raises:
        CheckpointError: A weight that shows a size is missing, or sizes contradict each other; all faults at once.
    """
    _check_needed(state, where)
    sizes = _sizes_of(state)
    text = _configuration(config)

    # Every contradiction at once: among the weights, and between them and the configuration.
    faults = _image_faults(sizes, where)
    if sizes.hidden != sizes.features:
        faults.append(unequal_widths(sizes.hidden, sizes.features))
    if config:
        faults += _contradictions(sizes, text)
    faults += _unsupported(text)
    if not config and sizes.hidden % _HEAD_WIDTH:
        faults.append(_unknown_heads(sizes.hidden, where))
    if faults:
        raise CheckpointError(faults)

    # Weights do not show the number of attention heads.
    heads = text.num_attention_heads if config else sizes.hidden // _HEAD_WIDTH
    try:
        return _specification(sizes, text, heads)
    except SpecError as error:
        raise CheckpointError(error.faults) from error


def unequal_widths(text: int, image: int) -> Fault:
    """The fault of a model whose embeddings differ in width."""
    return Fault(
        f"text embeddings are {text} wide, image embeddings {image}",
        why="the authors' gate and ranking loss need equal widths",
    )


def _configuration(config: Mapping[str, Any]) -> BertConfig:
    """The library's form of a configuration."""
    # The library checks types with errors of its own, which differ from version to version.
    try:
        return BertConfig.from_dict(dict(config))
    except Exception as error:
        raise CheckpointError(
            Fault(
                "the configuration does not fit a BERT model",
                where=CONFIG,
                why=type(error).__name__,
                do="Give the config.json that the model was saved with.",
            )
        ) from error


def _check_needed(state: Mapping[str, Tensor], where: str) -> None:
    missing = [
        Fault(f"weight {name} is missing", where=where) for name in _NEEDED if name not in state
    ]

    malformed = []
    for name, dimensions in _NEEDED.items():
        if name in state and state[name].ndim != dimensions:
            malformed.append(
                Fault(
                    f"weight {name} has {state[name].ndim} dimensions, not {dimensions}",
                    where=where,
                )
            )

    if missing or malformed:
        raise CheckpointError([*missing, *malformed])


def _sizes_of(state: Mapping[str, Tensor]) -> _Sizes:
    # Text encoder: one row an entry, as many columns as the embedding is wide.
    vocabulary, hidden = state[_WORDS].shape
    positions = state[_POSITIONS].shape[0]
    intermediate = state[_INNER.format(0)].shape[0]

    # Image encoder: a convolution's first dimension is its number of output channels.
    stages = _count(state, _STAGE, first=1)
    widths = tuple(state[_STAGE.format(stage)].shape[0] for stage in range(1, stages + 1))
    classes, features = state[_IMAGE_HEAD].shape

    return _Sizes(
        vocabulary=vocabulary,
        positions=positions,
        hidden=hidden,
        layers=_count(state, _INNER, first=0),
        intermediate=intermediate,
        stem_width=state[_STEM].shape[0],
        widths=widths,
        blocks=_count(state, _BLOCK, first=0),
        features=features,
        classes=classes,
    )


def _count(state: Mapping[str, Tensor], name: str, *, first: int) -> int:
    """How many consecutive numbers, from the first, a weight's name exists with."""
    number = first
    while name.format(number) in state:
        number += 1
    return number - first


def _image_faults(sizes: _Sizes, where: str) -> list[Fault]:
    """Whether the image head reads a square feature map of the last stage."""
    side, channels = sizes.side, sizes.widths[-1]
    if side >= 1 and side * side * channels == sizes.features:
        return []

    return [
        Fault(
            "img_model.fc1.weight does not fit the last stage",
            where=where,
            why=f"{sizes.features} features from {channels} channels",
        )
    ]


def _contradictions(sizes: _Sizes, text: BertConfig) -> list[Fault]:
    """Sizes of the configuration that are not those of the weights."""
    by_weights = {
        "hidden_size": sizes.hidden,
        "vocab_size": sizes.vocabulary,
        "max_position_embeddings": sizes.positions,
        "num_hidden_layers": sizes.layers,
        "intermediate_size": sizes.intermediate,
    }

    faults = []
    for name, size in by_weights.items():
        configured = getattr(text, name)
        if configured != size:
            faults.append(
                Fault(f"{name} is {configured}", where=CONFIG, why=f"the weights say {size}")
            )
    return faults


def _unsupported(text: BertConfig) -> list[Fault]:
    """Values of the configuration that our text encoder does not have."""
    usual = BertConfig()

    faults = []
    for name in _FIXED:
        configured, expected = getattr(text, name), getattr(usual, name)
        if configured != expected:
            faults.append(
                Fault(f"{name} is {configured!r}", where=CONFIG, why=f"must be {expected!r}")
            )
    return faults


def _unknown_heads(hidden: int, where: str) -> Fault:
    return Fault(
        f"the number of attention heads at width {hidden} is not known",
        where=where,
        why="weights do not tell it",
        do=f"Name the {CONFIG} of the model it was made from.",
    )


def _specification(sizes: _Sizes, text: BertConfig, heads: int) -> ModelSpec:
    # Each stage halves the image, the pooling too, and the stem divides it by its stride.
    stages = len(sizes.widths)
    image_size = 2 * sizes.side * 2**stages * STEM_STRIDE

    image_encoder = ResNetSpec(
        size=image_size,
        stem_stride=STEM_STRIDE,
        stem_width=sizes.stem_width,
        widths=sizes.widths,
        blocks=sizes.blocks,
        pooling=POOLING,
    )
    text_encoder = TextEncoderSpec(
        hidden=sizes.hidden,
        layers=sizes.layers,
        heads=heads,
        intermediate=sizes.intermediate,
        vocabulary=sizes.vocabulary,
        positions=sizes.positions,
        dropout=text.hidden_dropout_prob,
        attention_dropout=text.attention_probs_dropout_prob,
    )
    return ModelSpec(image=image_encoder, text=text_encoder, classes=sizes.classes)
