"""What an unlearning method says of itself, for tables, help and reports; importing it loads no tensor library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # it describes models, and this module must load without torch
    from forgetmi.unlearning.original import OwnOriginal

Reads = Literal[
    "forget",
    "retain",
    "validation",
    "labels",
    "teacher",
    "recipe",
    "fresh model",
    "training log",
    "pool",
]

# What a method moves, in its class variable ``moves``: decides with which carriers it works
# (`forgetmi.unlearning.carrier_applies`). weights = it trains a copy of the model (also where it does not say);
# embeddings = the same, by losses of the embeddings; chosen weights = the same, of single weights that it chooses;
# afresh = it trains from new weights; mixture = from a mixture of new and old ones; heads = the heads alone, by a
# formula; own layers = layers of its own choice; stored weights = it starts from stored ones; own adapters = it has
# adapters of its own; closed form = it trains nothing.
Moves = Literal[
    "weights",
    "embeddings",
    "chosen weights",
    "afresh",
    "mixture",
    "heads",
    "own layers",
    "stored weights",
    "own adapters",
    "closed form",
]


@dataclass(frozen=True)
class MethodInfo:
    """What a method is, for tables, help and reports.

    Args:
        title: Name as the field writes it.
        paper: Source, short: authors, venue, year, arXiv id.
        summary: One plain sentence that a privacy officer can read.
        reads: What it may read; everything else raises. "teacher": the original's outputs are a goal or a measure (not
            only the student's starting point). "pool": where its options ask for it, what models of a standing pool
            that never saw a patient say of them.
        exact: Whether the result never saw the forgotten patients (exact) or only approximates that.
        cost: Cost per epoch in fine-tune epochs (one forward and backward pass over the retain set), in words.
        suits: For whom it is the right choice, in words.
        deterministic: Whether the result is the same for every seed, but for rounding.
        search: Search space of `forgetmi.search.tune`: a few values of the options that matter most; none that the
            original's training depends on. Empty = there is nothing to tune.
        original: How the original must be trained, where its weights alone are not enough ("training log" in reads).
        reads_signals: Whether it can take the original's outputs for unchanged samples from the original's signals.
        own_epochs: Whether it trains by epochs of its own, as many as its option ``epochs`` says. Such a method runs
            its forward passes in bfloat16 where the recipe does. Another is a closed form, which would lose digits, or
            trains as the recipe says.

    Examples:
        >>> info = MethodInfo(
        ...     title="Fine-tune",
        ...     paper="an example",
        ...     summary="Trains the model further on everyone else.",
        ...     reads=frozenset({"retain", "labels"}),
        ...     exact=False,
        ...     cost="1",
        ...     suits="a first comparison",
        ... )
        >>> info.exact, info.own_epochs
        (False, False)
    """

    title: str
    paper: str
    summary: str
    reads: frozenset[Reads]
    exact: bool
    cost: str
    suits: str
    deterministic: bool = False
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    original: OwnOriginal | None = None
    reads_signals: bool = False
    own_epochs: bool = False
