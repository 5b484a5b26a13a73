"""Sizes of the image encoder, the text encoder and the whole model; plain values, which need no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.serialization import from_plain

# Far above every published model: what is larger is a mistake, and would take all memory or time.
MOST_UNITS, MOST_LAYERS = 1_000_000, 1000
_OF_LAYERS = ("layers", "heads", "blocks", "stages", "classes")

# Most parameters of a model: 80 GB of weights.
MOST_PARAMETERS = 2 * 10**10


@dataclass(frozen=True)
class ResNetSpec:
    """Sizes of the image encoder; the defaults are those of the paper.

    Args:
        size: Side of the square input in pixels, >= 16.
        stem_stride: Stride of the first 7x7 convolution, >= 1.
        stem_width: Channels of the first convolution.
        widths: Channels of each stage; every stage halves the side.
        blocks: Residual blocks a stage, >= 1.
        pooling: average2x2 averages 2x2 windows and flattens the rest (the paper); global averages the whole map.
    """

    size: int = 2048
    stem_stride: int = 4
    stem_width: int = 8
    widths: tuple[int, ...] = (8, 16, 32, 64, 128, 192, 192)
    blocks: int = 2
    pooling: Literal["average2x2", "global"] = "average2x2"

    def __post_init__(self) -> None:
        # Every size is a count.
        counts = {
            "size": self.size,
            "stem_stride": self.stem_stride,
            "stem_width": self.stem_width,
            "blocks": self.blocks,
            "stages": max(1, len(self.widths)),
        }
        for stage, width in enumerate(self.widths):
            counts[f"widths[{stage}]"] = width

        faults = _below_one(counts, where="image encoder")

        layers = len(self.widths) * self.blocks
        if not faults and layers > MOST_LAYERS:
            faults.append(
                Fault(
                    f"the stages have {layers} blocks together",
                    where="image encoder",
                    why=f"at most {MOST_LAYERS} are possible",
                )
            )

        if not self.widths:
            faults.append(
                Fault("widths is empty", where="image encoder", do="Give one width a stage.")
            )

        if self.pooling not in ("average2x2", "global"):
            faults.append(
                Fault(
                    "pooling must be average2x2 or global",
                    where="image encoder",
                    why=f"got {self.pooling!r}",
                )
            )

        # Only sound sizes say how wide the last feature map is.
        if not faults and self.pooling == "average2x2" and self.map_side() < 2:
            faults.append(self._too_small())

        if faults:
            raise SpecError(faults)

    def map_side(self, size: int | None = None) -> int:
        """Side of the last stage's feature map for images of that size (the specification's own by default)."""
        if size is None:
            size = self.size

        # A strided convolution keeps every n-th position, the first one included.
        side = (size - 1) // self.stem_stride + 1
        for _ in self.widths:
            side = (side - 1) // 2 + 1
        return side

    @property
    def features(self) -> int:
        """Width of the image embedding."""
        if self.pooling == "global":
            return self.widths[-1]

        # Each 2x2 window of the last map becomes one position.
        positions = (self.map_side() // 2) ** 2
        return self.widths[-1] * positions

    def _too_small(self) -> Fault:
        # The advice names a size that works: two positions are one stride of all stages apart.
        smallest = self.stem_stride * 2 ** len(self.widths) + 1

        return Fault(
            f"images of {self.size} pixels are too small for {len(self.widths)} stages with 2x2 pooling",
            where="image encoder",
            why=f"the last map is {self.map_side()} pixel wide, 2 are needed",
            do=f"Use at least {smallest} pixels, fewer stages, or global pooling.",
        )


@dataclass(frozen=True)
class TextEncoderSpec:
    """Sizes of the text encoder; the defaults are those of SciBERT (Beltagy et al. 2019), which the paper uses.

    Args:
        hidden: Width of the token embeddings, a multiple of heads.
        layers: Transformer layers.
        heads: Attention heads.
        intermediate: Width of the feed-forward layers.
        vocabulary: Number of word pieces; id 0 is padding.
        positions: Longest text in tokens.
        dropout: Dropout of embeddings, layers and the pooled embedding, 0 to below 1.
        attention_dropout: Dropout of the attention weights, 0 to below 1.
        pretrained: Local Hugging Face directory (or hub id) the initial weights are read from; empty = random weights.
            Use `pretrained_text` to get the matching sizes.
        download: Whether a hub id may be fetched over the network.
    """

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    vocabulary: int = 31_090
    positions: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pretrained: str = ""
    download: bool = False

    def __post_init__(self) -> None:
        counts = {
            "hidden": self.hidden,
            "layers": self.layers,
            "heads": self.heads,
            "intermediate": self.intermediate,
            "vocabulary": self.vocabulary,
            "positions": self.positions,
        }
        faults = _below_one(counts, where="text encoder")

        for name in ("dropout", "attention_dropout"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                faults.append(
                    Fault(f"{name} must be in [0, 1)", where="text encoder", why=f"got {share}")
                )

        # Each head takes an equal part of the width.
        if not faults and self.hidden % self.heads:
            faults.append(
                Fault(
                    "hidden must be a multiple of heads",
                    where="text encoder",
                    why=f"got {self.hidden} and {self.heads}",
                )
            )

        if faults:
            raise SpecError(faults)


@dataclass(frozen=True)
class ModelSpec:
    """Architecture of the whole model; see `compact` and `paper`.

    Args:
        image: Sizes of the image encoder.
        text: Sizes of the text encoder.
        classes: Outputs k of each head, >= 0: classes, findings, 1 for a value, 0 for pairs, which have no heads.
    """

    image: ResNetSpec = field(default_factory=ResNetSpec)
    text: TextEncoderSpec = field(default_factory=TextEncoderSpec)
    classes: int = 4

    def __post_init__(self) -> None:
        if self.classes < 0:
            raise SpecError(
                Fault("a model cannot have fewer outputs than none", why=f"got {self.classes}")
            )
        if self.parameters() > MOST_PARAMETERS:
            raise SpecError(
                Fault(
                    f"the model would have about {self.parameters():,} parameters",
                    where="model",
                    why=f"at most {MOST_PARAMETERS:,} are possible",
                    do="Choose smaller sizes.",
                )
            )

    @property
    def layers(self) -> int:
        """How many layers it has at least."""
        return self.text.layers + len(self.image.widths) * self.image.blocks

    def parameters(self) -> int:
        """About how many parameters the model has: the large matrices alone."""
        # Text encoder: embeddings, and attention and feed-forward matrices of each layer.
        text = self.text
        layer = 4 * text.hidden**2 + 2 * text.hidden * text.intermediate
        count = text.hidden * (text.vocabulary + text.positions) + text.layers * layer

        # Image encoder: 3x3 convolutions, two a block.
        before = self.image.stem_width
        for width in self.image.widths:
            count += 9 * width * (before + (2 * self.image.blocks - 1) * width)
            before = width

        # What joins both, and their heads.
        return count + self.image.features * (text.hidden + self.classes)

    def to_plain(self) -> dict[str, Any]:
        """Nested dictionaries of plain values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Any) -> ModelSpec:
        """Read what `to_plain` wrote, strictly: every field present and of its type, none unknown.

        Raises:
            SpecError: All faults at once.
        """
        return from_plain(cls, values, where="model", complete=True)


def compact(classes: int, vocabulary: int, *, size: int = 64, positions: int = 128) -> ModelSpec:
    """A model of about 1.1 M parameters that trains in seconds a patient on one processor core.

    Args:
        classes: Number of classes.
        vocabulary: Number of word pieces.
        size: Side of the images in pixels.
        positions: Longest text in tokens.
    """
    # Four stages, and no positions: the whole map is averaged.
    image = ResNetSpec(
        size=size,
        stem_stride=2,
        stem_width=16,
        widths=(16, 32, 64, 128),
        pooling="global",
    )
    # Two layers of BERT, without dropout.
    text = TextEncoderSpec(
        hidden=128,
        layers=2,
        heads=4,
        intermediate=256,
        vocabulary=vocabulary,
        positions=positions,
        dropout=0.0,
        attention_dropout=0.0,
    )
    return ModelSpec(image=image, text=text, classes=classes)


def paper(classes: int, vocabulary: int) -> ModelSpec:
    """The paper's sizes: a 7-stage ResNet at 2048 pixels and a SciBERT-sized encoder (Hardan et al. 2025).

    Args:
        classes: Number of classes.
        vocabulary: Number of word pieces (31,090 in SciBERT).
    """
    return ModelSpec(text=TextEncoderSpec(vocabulary=vocabulary), classes=classes)


def _below_one(counts: dict[str, int], *, where: str) -> list[Fault]:
    """A fault for each count that is less than 1, or more than any model has."""
    faults = []
    for name, value in counts.items():
        most = MOST_LAYERS if name in _OF_LAYERS else MOST_UNITS
        if value < 1:
            faults.append(
                Fault(f"{name} must be at least 1", where=where, why=f"got {quoted(value)}")
            )
        if value > most:
            faults.append(
                Fault(f"{name} must be at most {most:,}", where=where, why=f"got {quoted(value)}")
            )
    return faults
