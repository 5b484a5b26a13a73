"""From a few options to a complete architecture, once image size, classes and vocabulary are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import Below, Draws, Number
from forgetmi.core.serialization import LATER
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.own_spec import OwnSpec, Sizes
from forgetmi.model.spec import ModelSpec, TextEncoderSpec, compact, paper
from forgetmi.model.tower_options import read_towers
from forgetmi.model.tower_specs.protocol import TrainingData

# Options that replace a preset's value of the same name.
IMAGE_OPTIONS = ("stem_stride", "stem_width", "widths", "blocks", "pooling")
TEXT_OPTIONS = ("hidden", "layers", "heads", "intermediate")

# Width of the embeddings of a model of towers
COMPOSED_WIDTH = 256


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
            random weights and a vocabulary trained on the cohort. With a factory the tokenizer alone is taken.
        download: Whether a hub id may be fetched over the network.
        factory: ``package.module:function`` of a model of the user's own, in place of all others; its code is run.
        towers: A tower a modality in place of the preset, each MODALITY=KIND:SOURCE and then its options, as in
            ``image=hf_vision:FOLDER,frozen=9 text=hf_text:FOLDER``; docs/towers.md lists kinds and options.
        width: Width of the embeddings of a model of such towers; 0 = 256.
    """

    preset: Literal["compact", "paper"] = "compact"
    stem_stride: Number = 0
    stem_width: Number = 0
    widths: tuple[Draws, ...] = ()
    blocks: Number = 0
    pooling: Literal["", "average2x2", "global"] = ""
    hidden: Number = 0
    layers: Number = 0
    heads: Number = 0
    intermediate: Number = 0
    dropout: Annotated[float, Below(1)] = -1.0
    pretrained: str = ""
    download: bool = False
    factory: str = field(default="", metadata=LATER)
    towers: tuple[str, ...] = field(default=(), metadata=LATER)
    width: Number = field(default=0, metadata=LATER)

    def resolve(
        self,
        *,
        size: int,
        classes: int,
        vocabulary: int,
        longest: int,
        columns: tuple[str, ...] = (),
    ) -> ModelSpec | OwnSpec:
        """The complete specification.

        Args:
            size: Side of the images, pixels.
            classes: Number of classes.
            vocabulary: Number of word pieces.
            longest: Longest text in tokens.
            columns: Of a table, which a model of the user's own is told.

        Raises:
            SpecError: The sizes do not fit together, or the factory is not there.
        """
        if self.factory:
            return self._own(Sizes(classes, size, vocabulary, longest, columns))

        if self.preset == "compact":
            preset = compact(classes, vocabulary, size=size, positions=longest)
        else:
            preset = paper(classes, vocabulary)

        # The preset, with the options that were given in place of its own.
        text = self._text(preset.text, longest)
        image = replace(preset.image, size=size, **self._chosen(IMAGE_OPTIONS))
        return replace(preset, image=image, text=text)

    def compose(
        self, *, classes: int, training: TrainingData, download: bool = True
    ) -> ComposedSpec:
        """The complete specification of a model of towers.

        Args:
            classes: Number of classes.
            training: What towers learn of the training patients before they are made.
            download: Whether towers that may be fetched are; else they must be on this machine.

        Raises:
            SpecError: Towers are unknown or cannot be read, or other options are given, too; all faults at once.
        """
        chosen = list(self._chosen((*IMAGE_OPTIONS, *TEXT_OPTIONS, "pretrained", "factory")))
        if self.dropout >= 0:
            chosen.append("dropout")
        if chosen:
            raise SpecError(
                Fault(
                    f"{', '.join(chosen)} cannot be chosen for a model of towers",
                    where="model",
                    why="each tower has its own sizes",
                    do="Leave them out, or give a tower's options behind its name.",
                )
            )
        towers = read_towers(self.towers)
        spec = ComposedSpec(towers, width=self.width or COMPOSED_WIDTH, classes=classes)
        return (spec if download else spec.without_download()).resolve(training)

    def _own(self, sizes: Sizes) -> OwnSpec:
        """The specification of the user's own model; options of the package's architecture do not go with it."""
        if self._chosen((*IMAGE_OPTIONS, *TEXT_OPTIONS)) or self.dropout >= 0:
            raise SpecError(
                Fault(
                    "sizes are chosen for a model of your own",
                    where="model",
                    why="its factory decides them",
                    do="Leave them out.",
                )
            )

        # Imported here: it loads torch and runs the user's code.
        from forgetmi.model.factory import own_spec

        return own_spec(self.factory, sizes)

    def _text(self, preset: TextEncoderSpec, longest: int) -> TextEncoderSpec:
        """The text encoder: the pretrained one, or the preset's with the sizes that were chosen."""
        if self.pretrained:
            return self._pretrained_text()
        return self._sized_text(preset, longest)

    def _chosen(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Those of the named options that were given a value."""
        chosen = {}
        for name, value in asdict(self).items():
            if name in names and value not in (0, (), ""):
                chosen[name] = value
        return chosen

    def _sized_text(self, preset: TextEncoderSpec, longest: int) -> TextEncoderSpec:
        """The preset's text encoder with the sizes that were chosen, long enough for every report."""
        # One option for both kinds of dropout; 0 is a choice, so a negative number stands for none.
        options = self._chosen(TEXT_OPTIONS)
        if self.dropout >= 0:
            options["dropout"] = self.dropout
            options["attention_dropout"] = self.dropout
        return replace(preset, positions=max(longest, preset.positions), **options)

    def _pretrained_text(self) -> TextEncoderSpec:
        """The specification that fits the pretrained encoder."""
        chosen = self._chosen(TEXT_OPTIONS)
        if chosen:
            raise SpecError(
                Fault(
                    f"{', '.join(chosen)} cannot be chosen for a pretrained text encoder",
                    where="model",
                    why="its own sizes are taken",
                    do="Leave them or pretrained out.",
                )
            )

        # Imported here: it loads transformers, which takes seconds and is needed for this case alone.
        from forgetmi.model.pretrained import pretrained_text

        return pretrained_text(self.pretrained, download=self.download)
