"""A model as a function of plain tensors alone, which other runtimes can hold: names, sizes, inputs to try it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.inputs import Inputs, Tokens
from forgetmi.core.labels import Scale
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.task import Task
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.spec import ModelSpec
from forgetmi.service.plain_inputs import TABLE, unlabelled
from forgetmi.service.trained_model import TrainedModel, check_headed

PIXELS, TOKENS, MASK = "pixels", "tokens", "mask"

# What the inputs of each modality are called
INPUTS = {IMAGE: (PIXELS,), TEXT: (TOKENS, MASK), TABLE: (TABLE,)}

# Names of the outputs: of each head, and of their mean
LOGITS, PREDICTION, JOINT = "_logits", "_prediction", "joint_prediction"

# A text is never shorter: its first and its last token
SHORTEST = 2


@dataclass(frozen=True)
class TensorSizes:
    """What plain tensors of a model look like.

    Args:
        modalities: What it reads.
        image: Side of the films, pixels.
        vocabulary: Number of word pieces.
        longest: Tokens of a text at most.
        categories: Of each column of the table: 0 = a number, else codes below this.
    """

    modalities: tuple[str, ...]
    image: int
    vocabulary: int
    longest: int
    categories: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in their order."""
        names: list[str] = []
        for modality in self.modalities:
            names.extend(INPUTS[modality])
        return tuple(names)


def sizes_of(model: TrainedModel) -> TensorSizes:
    """The sizes of a model's plain tensors.

    Raises:
        SpecError: The model reads what is no plain tensor here, or predicts no label.
    """
    check_headed(model.task)
    modalities = tuple(model.net.modalities)
    other = [name for name in modalities if name not in INPUTS]
    if other:
        why = f"it reads {', '.join(other)}"
        raise SpecError(
            Fault("the model cannot be exported", why=why, do=f"Known: {', '.join(INPUTS)}.")
        )

    # Our own text encoder may have fewer positions than reports may have tokens
    spec, tokenizer = model.loaded.spec, model.tokenizer
    longest = tokenizer.max_length
    if isinstance(spec, ModelSpec):
        longest = min(longest, spec.text.positions)
    vocabulary = len(tokenizer.vocabulary)
    if isinstance(tokenizer, LibraryTokenizer):
        vocabulary = tokenizer.size

    categories = (0,) * len(model.columns)
    if isinstance(spec, ComposedSpec) and TABLE in modalities:
        categories = spec.tower(TABLE).categories
    return TensorSizes(modalities, model.images.size, vocabulary, longest, categories)


class PlainTensors(nn.Module):
    """A model from plain tensors to a tuple of them; see `output_names` for their order.

    Args:
        model: In eval mode.
        task: What the heads predict.
        scale: Of labels that are values.
        modalities: What it reads.
    """

    def __init__(
        self, model: nn.Module, task: Task, scale: Scale, modalities: Sequence[str]
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.scale = scale
        self.modalities = tuple(modalities)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Logits and prediction of each head, then the mean prediction.

        Args:
            tensors: Float[b, 1, h, w] pixels in [0, 1]; Int64[b, l] tokens and their mask; Float[b, c] of a table, NaN
                = missing; those of the modalities, in their order.
        """
        # By modality, as a batch holds them
        left = list(tensors)
        inputs: dict[str, Inputs] = {}
        for modality in self.modalities:
            taken = [left.pop(0) for _ in INPUTS[modality]]
            inputs[modality] = Tokens(*taken) if modality == TEXT else taken[0]

        batch = unlabelled(inputs, tensors[0].shape[0])
        outputs = self.model(batch)

        # Head by head, and their mean
        found: list[Tensor] = []
        predictions: list[Tensor] = []
        for logits in outputs.logits.values():
            predictions.append(self.scale.units(self.task.prediction(logits)))
            found += [logits, predictions[-1]]
        return *found, torch.stack(predictions).mean(dim=0)


def plain_tensors(model: TrainedModel, sizes: TensorSizes) -> PlainTensors:
    """A trained model as a function of plain tensors; it is the same model, not a copy."""
    return PlainTensors(model.loaded.model, model.task, model.scale, sizes.modalities)


def output_names(heads: Sequence[str]) -> tuple[str, ...]:
    """Names of the outputs.

    Examples:
        >>> output_names(["image", "text"])[:3]
        ('image_logits', 'image_prediction', 'text_logits')
    """
    names: list[str] = []
    for head in heads:
        names += [f"{head}{LOGITS}", f"{head}{PREDICTION}"]
    return (*names, JOINT)


def random_inputs(
    sizes: TensorSizes, *, samples: int, length: int, number: int
) -> tuple[Tensor, ...]:
    """Plain tensors of the right sizes, drawn at random; texts are of different lengths, the first of the longest.

    Args:
        sizes: Of the model.
        samples: b.
        length: Tokens of the longest text.
        number: Of the draw.
    """
    draw = numpy_generator(0, "export", number)
    made: dict[str, Any] = {}
    if IMAGE in sizes.modalities:
        shape = (samples, 1, sizes.image, sizes.image)
        made[PIXELS] = draw.random(shape, np.float32)
    if TEXT in sizes.modalities:
        lengths = draw.integers(SHORTEST, length + 1, samples)
        lengths[0] = length
        mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
        made[TOKENS] = draw.integers(1, sizes.vocabulary, (samples, length)) * mask
        made[MASK] = mask
    if TABLE in sizes.modalities:
        values = draw.standard_normal((samples, len(sizes.categories)), np.float32)
        for column, count in enumerate(sizes.categories):
            if count:
                values[:, column] = draw.integers(0, count, samples)
        values[draw.random(values.shape) < 0.2] = np.nan
        made[TABLE] = values
    return tuple(torch.from_numpy(made[name]) for name in sizes.names)


def dynamic_shapes(sizes: TensorSizes) -> tuple[dict[int, Any], ...]:
    """Which sides of each input may have any length: the batch, and the texts."""
    batch = torch.export.Dim("batch", min=1)
    length = torch.export.Dim("length", min=SHORTEST, max=sizes.longest)

    shapes = []
    for name in sizes.names:
        sides = {0: batch}
        if name in (TOKENS, MASK):
            sides[1] = length
        shapes.append(cast("dict[int, Any]", sides))
    return tuple(shapes)
