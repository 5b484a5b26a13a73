"""Towers of the transformers library: text encoders and Vision Transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.model.hf_config import (
    OFFSET_TYPES,
    TEXT_TYPES,
    VISION_TYPES,
    check_config,
    image_rules,
    read_config,
    settings_in,
    text_pooling,
)
from forgetmi.model.tower_specs.protocol import (
    MOST_SIDE,
    TrainingData,
    number_faults,
    refuse_missing_source,
    scale_faults,
    tower_class,
)

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.model.towers.protocol import Tower

_TEXT = "text tower"
_VISION = "image tower"


@dataclass(frozen=True)
class HfTextSpec:
    """A text encoder of the transformers library: BERT, RoBERTa, DistilBERT, ELECTRA, ModernBERT and their like.

    Args:
        source: Local Hugging Face folder (or hub id) with config.json, weights and tokenizer.
        pooling: The text's embedding: cls (its first token's) or mean (over its tokens); empty = what the folder's
            sentence-transformers files say, else cls.
        random: Take sizes and tokenizer alone, and random weights.
        download: Whether a hub id may be fetched over the network.
        frozen: How many of the first stages do not move: 1 = the embeddings, 2 = and the first layer, and so on.
        saw_patients: Whether the weights have seen patients of this cohort.
        config: Filled in: the encoder's settings.
    """

    modality: ClassVar[str] = TEXT

    source: str = ""
    pooling: Literal["", "cls", "mean"] = ""
    random: bool = False
    download: bool = False
    frozen: int = 0
    saw_patients: bool = False
    config: str = ""

    def __post_init__(self) -> None:
        refuse_missing_source(
            self.source or self.config, random=False, where=_TEXT, what="a Hugging Face folder"
        )
        if self.config:
            check_config(self.config, TEXT_TYPES, where=_TEXT)

    @property
    def size(self) -> int:
        """It reads no images."""
        return 0

    @property
    def position_offset(self) -> int:
        """How far the first token's position is from 0: behind the padding's id in RoBERTa's kind, else 0."""
        values = settings_in(self.config)
        if values["model_type"] not in OFFSET_TYPES:
            return 0
        return int(values.get("pad_token_id", 1)) + 1

    @property
    def pad(self) -> int:
        """Id of the padding."""
        return max(0, int(settings_in(self.config).get("pad_token_id") or 0))

    @property
    def vocabulary(self) -> int:
        """How many tokens the encoder has rows for."""
        return int(settings_in(self.config).get("vocab_size", 30_522))

    @property
    def positions(self) -> int:
        """Longest text in tokens."""
        values = settings_in(self.config)
        positions = int(values.get("max_position_embeddings", 512))
        return max(1, positions - self.position_offset)

    def resolve(self, training: TrainingData) -> Self:
        """With the folder's settings and pooling."""
        folder = self.folder()
        config = read_config(folder, TEXT_TYPES)
        return replace(self, config=config, pooling=self.pooling or text_pooling(folder))

    def folder(self) -> Path:
        """The local folder; a hub model's copy in the hub's cache."""
        return _folder(self.source, self.download)

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.hf_text:HfText")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Its weights in the folder."""
        return (
            None
            if self.random
            else tower_class("forgetmi.model.towers.hf_text:HfText").pretrained(self)
        )


@dataclass(frozen=True)
class HfVisionSpec:
    """A Vision Transformer of the transformers library: ViT, DeiT, DINOv2, RAD-DINO.

    Args:
        source: Local Hugging Face folder (or hub id) with config.json, preprocessor_config.json and weights.
        pooling: The image's embedding: cls (the class token's after the last norm layer, RAD-DINO's pooled output) or
            mean (over the patches).
        size: Side of the images in pixels; 0 = the preprocessor's, the crop's where it crops.
        mean, std: Of each channel, of values in [0, 1]; empty = the preprocessor's.
        random: Take sizes alone, and random weights.
        download: Whether a hub id may be fetched over the network.
        frozen: How many of the first stages do not move: 1 = the patch embeddings, 2 = and the first layer, and so on.
        saw_patients: Whether the weights have seen patients of this cohort; RAD-DINO was trained on MIMIC-CXR.
        config: Filled in: the encoder's settings.
    """

    modality: ClassVar[str] = IMAGE

    source: str = ""
    pooling: Literal["cls", "mean"] = "cls"
    size: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    random: bool = False
    download: bool = False
    frozen: int = 0
    saw_patients: bool = False
    config: str = ""

    def __post_init__(self) -> None:
        refuse_missing_source(
            self.source or self.config, random=False, where=_VISION, what="a Hugging Face folder"
        )
        faults = scale_faults(_VISION, self.mean, self.std)
        if self.config:
            check_config(self.config, VISION_TYPES, where=_VISION)
            faults += number_faults(_VISION, {"size": self.size}, most=MOST_SIDE)
        if faults:
            raise SpecError(faults)

    def resolve(self, training: TrainingData) -> Self:
        """With the folder's settings, and its preprocessor's size, mean and standard deviation."""
        folder = self.folder()
        config = read_config(folder, VISION_TYPES)
        values = settings_in(config)
        rules = image_rules(folder)

        size = self.size or rules.get("size", 0) or values.get("image_size", 224)
        mean, std = self.mean or rules.get("mean", ()), self.std or rules.get("std", ())
        channels = values.get("num_channels", 3)
        if not mean and self.random:
            mean, std = (0.5,) * channels, (0.5,) * channels
        if len(mean) != channels:
            raise SpecError(
                Fault(
                    f"mean and std of {channels} channels are needed",
                    where=f"{folder.name}/preprocessor_config.json",
                    why=f"there are {len(mean)}",
                    do="Add the model's own file, or give mean and std.",
                )
            )

        return replace(self, config=config, size=size, mean=mean, std=std)

    def folder(self) -> Path:
        """The local folder; a hub model's copy in the hub's cache."""
        return _folder(self.source, self.download)

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.hf_vision:HfVision")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Its weights in the folder."""
        return (
            None
            if self.random
            else tower_class("forgetmi.model.towers.hf_vision:HfVision").pretrained(self)
        )


def _folder(source: str, download: bool) -> Path:
    # Imported here: it loads torch and the hub's library
    from forgetmi.model.pretrained import pretrained_directory

    try:
        return pretrained_directory(source, download=download)
    except SpecError as error:
        do = "Name a local folder, or allow download=true."
        if download:
            do = "Check the folder or hub id."
        raise SpecError(
            Fault("the tower's folder cannot be found", where="model.towers", do=do)
        ) from error
