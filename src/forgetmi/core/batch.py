"""What passes between loaders, models and whoever watches a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.inputs import Inputs, Series, Tokens, each_tensor
from forgetmi.core.modalities import IMAGE, JOINT, TEXT, named, parted

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples as tensors; `image_text` makes one of films and reports.

    Args:
        inputs: What a model reads, by modality.
        label: Int64[b], -1 = unknown.
        study: Int64[b], equal for images that share a report.
        row: Int64[b], row in the cohort.
        present: Bool[b] by modality, whether each sample has it; a modality that is not named is there for all.
        numbers: The rows as plain numbers, where whoever made the batch knew them; None = ask the device.
    """

    inputs: Mapping[str, Inputs]
    label: Tensor
    study: Tensor
    row: Tensor
    present: Mapping[str, Tensor] = field(default_factory=dict)
    numbers: tuple[int, ...] | None = None

    @classmethod
    def image_text(
        cls,
        image: Tensor,
        tokens: Tensor,
        mask: Tensor,
        label: Tensor,
        study: Tensor,
        row: Tensor,
    ) -> Batch:
        """A batch of films and reports.

        Args:
            image: Float[b, 1, h, w], in [0, 1].
            tokens: Int64[b, l], padded to the longest text of the batch.
            mask: Int64[b, l], 1 = a token, 0 = padding.
            label, study, row: See the class.
        """
        return cls({IMAGE: image, TEXT: Tokens(tokens, mask)}, label, study, row)

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def plain_rows(self) -> list[int]:
        """Row of each sample in the cohort, read from the device only where nobody knows them."""
        return self.row.tolist() if self.numbers is None else list(self.numbers)

    @property
    def image(self) -> Tensor:
        """Float[b, 1, h, w], the films."""
        image = self._input(IMAGE)
        assert not isinstance(image, Tokens | Series)
        return image

    @property
    def tokens(self) -> Tensor:
        """Int64[b, l], the reports' tokens."""
        return self._text().ids

    @property
    def mask(self) -> Tensor:
        """Int64[b, l], where the reports have tokens."""
        return self._text().mask

    def there(self, *modalities: str) -> Tensor:
        """Bool[b], which samples have all of some modalities; one that is not said to be missing is there."""
        have = self.row >= 0
        for modality in modalities:
            if modality in self.present:
                have = have & self.present[modality]
        return have

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with each of its tensors changed."""
        inputs: dict[str, Inputs] = {}
        for name, values in self.inputs.items():
            inputs[name] = each_tensor(values, change)

        present = {name: change(there) for name, there in self.present.items()}
        return Batch(inputs, change(self.label), change(self.study), change(self.row), present)

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        return replace(self.each(lambda tensor: tensor.to(device)), numbers=self.numbers)

    def select(self, samples: Tensor | slice) -> Batch:
        """Some samples of the batch, by their places in it."""
        return self.each(lambda tensor: tensor[samples])

    def with_inputs(self, **inputs: Inputs) -> Batch:
        """The same samples with other inputs in some modalities."""
        return replace(self, inputs={**self.inputs, **inputs})

    def _input(self, modality: str) -> Inputs:
        if modality not in self.inputs:
            raise MethodError(Fault(f"the samples have no {modality}"))
        return self.inputs[modality]

    def _text(self) -> Tokens:
        text = self._input(TEXT)
        assert isinstance(text, Tokens)
        return text


@dataclass(frozen=True)
class Outputs:
    """What a model returns for a batch of b samples; `image_text` makes one of two heads and three embeddings.

    Args:
        logits: Float[b, k] by head.
        embedding: Float[b, d] by modality, and "joint"; what a model does not have is not there (an ensemble has none).
    """

    logits: Mapping[str, Tensor]
    embedding: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def image_text(
        cls,
        image_logits: Tensor,
        text_logits: Tensor,
        image_embedding: Tensor | None = None,
        text_embedding: Tensor | None = None,
        joint_embedding: Tensor | None = None,
    ) -> Outputs:
        """Outputs of an image and a text head; None = the model has no such embedding."""
        embedding = {IMAGE: image_embedding, TEXT: text_embedding, JOINT: joint_embedding}
        there = {name: values for name, values in embedding.items() if values is not None}
        return cls({IMAGE: image_logits, TEXT: text_logits}, there)

    @classmethod
    def from_named(cls, values: Mapping[str, Tensor]) -> Outputs:
        """What `named` gave."""
        return cls(*parted(values))

    def named(self) -> dict[str, Tensor]:
        """All of them by array name ("image_logits", "joint_embedding"), logits first."""
        return named(self.logits, self.embedding)

    def of_those_there(self, present: Mapping[str, Tensor]) -> Outputs:
        """Each head and embedding of the samples alone that have its modality; they may differ in length then.

        Args:
            present: Bool[b] by modality; one that is not named is there for all.
        """

        def chosen(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: tensor[present[name]] if name in present else tensor
                for name, tensor in values.items()
            }

        return Outputs(chosen(self.logits), chosen(self.embedding))

    def each(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """The same outputs, each changed; logits come first."""
        return Outputs.from_named({name: change(value) for name, value in self.named().items()})

    @property
    def image_logits(self) -> Tensor:
        """Float[b, k] of the image head."""
        return self.head(IMAGE)

    @property
    def text_logits(self) -> Tensor:
        """Float[b, k] of the text head."""
        return self.head(TEXT)

    @property
    def image_embedding(self) -> Tensor | None:
        """Float[b, d]; None = the model has none."""
        return self.embedding.get(IMAGE)

    @property
    def text_embedding(self) -> Tensor | None:
        """Float[b, d]; None = the model has none."""
        return self.embedding.get(TEXT)

    @property
    def joint_embedding(self) -> Tensor | None:
        """Float[b, d]; None = the model has none."""
        return self.embedding.get(JOINT)

    def head(self, name: str) -> Tensor:
        """Float[b, k], the logits of one head.

        Raises:
            MethodError: The model has no such head.
        """
        if name not in self.logits:
            raise MethodError(Fault(f"the model has no {name} head"))
        return self.logits[name]


class Model(Protocol):
    """Anything that maps a batch to outputs."""

    def __call__(self, batch: Batch) -> Outputs: ...


class Epochs(Protocol):
    """Batches over one set of rows, epoch by epoch; the order is a pure function of the epoch."""

    @property
    def rows(self) -> Ints: ...

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, /) -> Iterator[Batch]: ...


class Recorder(Protocol):
    """Watches training step by step (Amnesiac unlearning logs the updates of each patient group).

    Its state is saved with the training's after each epoch; an interrupted training takes it back and goes on. State
    holds tensors and plain values only; what is too large for that is written to the disk as it comes.
    """

    def before_step(self, model: Any, batch: Batch) -> None: ...

    def after_step(self, model: Any, batch: Batch) -> None: ...

    def after_epoch(self, model: Any, optimiser: Any, done: int) -> None:
        """Called with the number of epochs done: 0 before the first, also where a training will be resumed."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...
