"""From a few options to a complete architecture, once image size, classes and vocabulary are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.image_text import ModelSpec, compact, paper
from forgetmi.model.text_encoder import pretrained_text


@dataclass(frozen=True)
class Architecture:
    """Which model; fields left at 0 or empty keep the preset's value.

    Args:
        preset: compact (about 1 M parameters, small images, one processor core) or paper (7 stages at 2048 px, BERT of
            SciBERT's size).
        stem_stride: Stride of the first convolution, pixels.
        stem_width: Channels of the first convolution.
        widths: Channels of each image stage; one stage per number, each of stride 2.
        blocks: Residual blocks a stage.
        pooling: average2x2 (embedding = last width x positions) or global (embedding = last width).
        hidden: Width of the text encoder, a multiple of heads.
        layers: Layers of the text encoder.
        heads: Attention heads of the text encoder.
        intermediate: Feed-forward width of the text encoder.
        dropout: Dropout of the text encoder, 0 to below 1; negative = the preset's.
        pretrained: Directory (or hub id) of a Hugging Face BERT whose sizes, weights and tokenizer are taken; empty =
            random weights and a vocabulary trained on the cohort.
        download: Whether a hub id may be fetched over the network.
    """

    preset: Literal["compact", "paper"] = "compact"
    stem_stride: int = 0
    stem_width: int = 0
    widths: tuple[int, ...] = ()
    blocks: int = 0
    pooling: Literal["", "average2x2", "global"] = ""
    hidden: int = 0
    layers: int = 0
    heads: int = 0
    intermediate: int = 0
    dropout: float = -1.0
    pretrained: str = ""
    download: bool = False

    def resolve(self, *, size: int, classes: int, vocabulary: int, longest: int) -> ModelSpec:
        """The complete specification.

        Args:
            size: Side of the images, pixels.
            classes: Number of classes.
            vocabulary: Number of word pieces.
            longest: Longest text in tokens.

        Raises:
            SpecError: The sizes do not fit together.
        """
        sizes = ("hidden", "layers", "heads", "intermediate")
        if self.pretrained and (set_here := [name for name in sizes if getattr(self, name)]):
            raise SpecError(
                Fault(
                    f"{', '.join(set_here)} cannot be chosen for a pretrained text encoder",
                    where="model",
                    why="its own sizes are taken",
                    do="Leave them or pretrained out.",
                )
            )
        base = (
            compact(classes, vocabulary, size=size, positions=longest)
            if self.preset == "compact"
            else paper(classes, vocabulary)
        )
        chosen = {
            name: value
            for name, value in asdict(self).items()
            if value not in (0, (), "", -1.0, False)
        }
        image = {
            name: chosen[name]
            for name in ("stem_stride", "stem_width", "widths", "blocks", "pooling")
            if name in chosen
        }
        text = {name: chosen[name] for name in sizes if name in chosen}
        if self.dropout >= 0:
            text |= {"dropout": self.dropout, "attention_dropout": self.dropout}
        words = (
            pretrained_text(self.pretrained, download=self.download)
            if self.pretrained
            else replace(base.text, positions=max(longest, base.text.positions), **text)
        )
        return replace(base, image=replace(base.image, size=size, **image), text=words)
