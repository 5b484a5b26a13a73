"""What unlearning asks of a model besides its outputs: its parts, their layers, and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor, nn

    from forgetmi.core.batch import Batch, Outputs

# How the parts of a model are called: "tower:image", "head:image", and the one that joins the embeddings
TOWER = "tower:"
HEAD = "head:"
JOIN = "join"

# What belongs to no tower, no head and no join, and is trained with the rest
REST = "rest"

# Modules with public weights that belong to no tower
PUBLIC = "public"


@dataclass(frozen=True)
class Part:
    """Some tensors of a model that belong together.

    Args:
        names: Of its parameters and buffers.
        saw_patients: Whether they were ever trained on patients of the cohort; False for frozen public weights.
        fresh: From a seed to the values that they would have in a new model (values of other parts may be among them);
            None = nobody knows how to make it anew.
    """

    names: tuple[str, ...]
    saw_patients: bool = True
    fresh: Callable[[int], Mapping[str, Tensor]] | None = None


# What a method may need of a model or its task; see `forgetmi.unlearning.applies`
Need = Literal[
    "paper's model",
    "heads",
    "own heads",
    "embeddings",
    "joint",
    "joined",
    "pair",
    "stages",
    "words",
    "noise",
    "text",
    "convolutions",
    "fresh",
    "public towers",
    "classes",
    "predictions",
    "states",
]


class Net(Protocol):
    """A model that methods can take apart; every module of this package that predicts is one, but for ensembles."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads of a batch."""
        ...

    @property
    def heads(self) -> Mapping[str, nn.Linear]:
        """Linear heads that make logits of the embedding of the same name; none, where logits are made otherwise."""
        ...

    @property
    def logit_names(self) -> tuple[str, ...]:
        """Names of the heads in its outputs, in their order."""
        ...

    @property
    def embedding_widths(self) -> Mapping[str, int]:
        """Width of each embedding in its outputs, by name and in their order."""
        ...

    @property
    def joining(self) -> tuple[str, ...]:
        """Names of modules that join the embeddings, which no training loss reaches; they are fitted on their own."""
        ...

    @property
    def joins(self) -> bool:
        """Whether `joined` is known."""
        ...

    @property
    def words(self) -> str:
        """Name of the table of word embeddings; empty = there is none, or it is not known."""
        ...

    def parts(self) -> Mapping[str, Part]:
        """All its tensors, each in one part: "tower:image", "head:image", "join", "rest"."""
        ...

    def stages(self, modality: str) -> tuple[str, ...]:
        """Names of modules from a modality's input to its output, its head last; empty = not known."""
        ...

    def embed(self, batch: Batch, modality: str) -> Tensor:
        """A modality's input as numbers that can be disturbed: pixels, values, or word embeddings."""
        ...

    def joined(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """The joint embedding of given embeddings, which may be of different samples."""
        ...

    def __call__(self, batch: Batch, /, *, text_inputs: Tensor | None = None) -> Outputs:
        """Its outputs; of the texts' word embeddings where these are given."""
        ...
