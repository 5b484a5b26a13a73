"""The frozen original: a deep copy that shares no storage with the student, and its outputs computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch, Model, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.signals import Signals
from forgetmi.model.modes import evaluating
from forgetmi.unlearning.loaders import GuardedLoader

M = TypeVar("M", bound=nn.Module)
COLUMNS = (
    "image_embedding",
    "text_embedding",
    "joint_embedding",
    "image_logits",
    "text_logits",
)  # as in Table


def frozen(model: M) -> M:
    """A deep copy in eval mode without gradients; parameters and buffers never change again."""
    copied = copy.deepcopy(model).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied


@dataclass(frozen=True)
class Table:
    """Outputs of a frozen model, one row per sample, looked up by cohort row.

    Args:
        position: Int64[largest row + 1], -1 where a row is not held.
        image, text, joint: Float[n, d] embeddings.
        image_logits, text_logits: Float[n, k].
    """

    position: Tensor
    image: Tensor
    text: Tensor
    joint: Tensor
    image_logits: Tensor
    text_logits: Tensor

    def of(self, rows: Tensor) -> Outputs:
        """The stored outputs of the given rows.

        Raises:
            KeyError: A row was never computed.
        """
        rows = rows.cpu()
        if bool((rows >= len(self.position)).any()) or bool((self.position[rows] < 0).any()):
            raise KeyError("no stored output for a row asked for")
        at = self.position[rows]
        return Outputs(
            self.image_logits[at],
            self.text_logits[at],
            self.image[at],
            self.text[at],
            self.joint[at],
        )

    def select(self, rows: Ints) -> Table:
        """A table of the given rows alone, in that order.

        Raises:
            KeyError: A row was never computed.
        """
        said = self.of(torch.tensor(rows))
        return Table(_position(torch.tensor(rows)), *(getattr(said, name) for name in COLUMNS))


def table_from_signals(
    signals: Signals,
    rows: Ints,
    *,
    weights: str,
    cohort: str,
    device: torch.device | str = "cpu",
) -> Table:
    """What the original said of some rows when it was evaluated, as a table.

    Args:
        signals: Of the original.
        rows: Rows to hold; nothing about others gets into the table.
        weights: Digest of the original's weights.
        cohort: Digest of the cohort.
        device: Where the table shall be.

    Raises:
        MethodError: The signals are of another model or cohort, damaged, or lack a row or the embeddings.
    """
    columns = [getattr(signals, name) for name in COLUMNS]
    why = {
        "they are of another model, or made before its gate was fitted": signals.model != weights,
        "they are of another cohort": signals.cohort != cohort,
        "they hold no embeddings": any(column is None for column in columns),
        "they are damaged": any(
            column is not None
            and not (
                len(column) == len(signals.row) and column.ndim == 2 and np.isfinite(column).all()
            )
            for column in columns
        ),
        "some forgotten, retained or validation images are not in them": not np.isin(
            rows, signals.row
        ).all(),
    }
    _refuse([reason for reason, holds in why.items() if holds])
    said = signals.select(rows)
    return Table(
        _position(torch.tensor(rows)),
        *(
            torch.tensor(getattr(said, name), dtype=torch.float32, device=device)
            for name in COLUMNS
        ),
    )


@torch.no_grad()
def check(table: Table, model: nn.Module, batch: Batch) -> None:
    """See whether a table holds what a model says of a batch, to 1 % of the largest value.

    Raises:
        MethodError: It does not.
    """
    with evaluating(model):
        held, said = table.of(batch.row), model(batch)
    for name in COLUMNS:
        one, other = getattr(held, name), getattr(said, name)
        if one.shape != other.shape or not bool(
            ((one - other).abs() <= 0.01 * other.abs().max()).all()
        ):
            _refuse(["the original says something else of these images now"])


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise MethodError(
            Fault(
                "the original's signals do not fit",
                why=", ".join(reasons),
                do="Run the original over this cohort: forgetmi predict.",
            )
        )


def looked_up_or_run(teacher: Model, cached: Table | None) -> Model:
    """The original, for batches as they are: looked up where its outputs were handed to the run, else run."""
    return teacher if cached is None else lambda batch: cached.of(batch.row)


def outputs_of(
    teacher: nn.Module, loader: GuardedLoader, rows: Ints, cached: Table | None
) -> Table:
    """What the original says of some samples as they are: looked up where it was handed to the run, else computed.

    Args:
        teacher: The frozen original.
        loader: The set the rows are of.
        rows: Fixed rows in a fixed order.
        cached: `forgetmi.unlearning.context.Context.cached`.

    Raises:
        MethodError: A row is not of this set.
    """
    return (
        tabulate(teacher, loader.batches(rows))
        if cached is None
        else cached.select(loader.own(rows))
    )


@torch.no_grad()
def tabulate(teacher: nn.Module, batches: Iterable[Batch]) -> Table:
    """Run a frozen model once over some batches and keep its outputs.

    The batches must not depend on what was computed before (fixed rows in a fixed order), or a resumed run would round
    differently.

    Args:
        teacher: A frozen model (see `frozen`).
        batches: The samples; a row that occurs twice keeps its last output.
    """
    rows, outputs = [], []
    for batch in batches:
        rows.append(batch.row.cpu())
        outputs.append(teacher(batch))
    return Table(
        _position(torch.cat(rows)),
        *(torch.cat([getattr(output, name) for output in outputs]) for name in COLUMNS),
    )


def _position(rows: Tensor) -> Tensor:
    """Where each row is held, -1 = nowhere."""
    position = torch.full((int(rows.max()) + 1,), -1, dtype=torch.long)
    position[rows] = torch.arange(len(rows))
    return position
