"""The frozen original: a deep copy that shares no storage with the student, and its outputs computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch, Model, Outputs
from forgetmi.core.devices import is_accelerator
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.core.modalities import IMAGE, JOINT, LOGITS, TEXT
from forgetmi.core.signals import Signals
from forgetmi.model.modes import evaluating
from forgetmi.unlearning.loaders import GuardedLoader

M = TypeVar("M", bound=nn.Module)
DIFFERENT = "the original's outputs for these images are different now"


def frozen(model: M) -> M:
    """A deep copy in eval mode without gradients; parameters and buffers never change again."""
    copied = copy.deepcopy(model).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied


@dataclass(frozen=True)
class OutputTable:
    """Outputs of a frozen model, one row per sample, looked up by cohort row.

    Args:
        position: Int64[largest row + 1], where each row is in the table, -1 = it is not.
        outputs: Of n samples.
    """

    position: Tensor
    outputs: Outputs

    @property
    def image(self) -> Tensor:
        """Float[n, d], image embeddings."""
        return self._embedding(IMAGE)

    @property
    def text(self) -> Tensor:
        """Float[n, d], text embeddings."""
        return self._embedding(TEXT)

    @property
    def joint(self) -> Tensor:
        """Float[n, d], joint embeddings."""
        return self._embedding(JOINT)

    @property
    def image_logits(self) -> Tensor:
        """Float[n, k] of the image head."""
        return self.outputs.image_logits

    @property
    def text_logits(self) -> Tensor:
        """Float[n, k] of the text head."""
        return self.outputs.text_logits

    def replaced(
        self,
        *,
        embedding: Mapping[str, Tensor],
        logits: Mapping[str, Tensor] | None = None,
    ) -> OutputTable:
        """The same samples with other values of some embeddings and heads.

        Args:
            embedding: Float[n, d] by name.
            logits: Float[n, k] by head; None = all stay.
        """
        outputs = Outputs(
            {**self.outputs.logits, **(logits or {})}, {**self.outputs.embedding, **embedding}
        )
        return OutputTable(self.position, outputs)

    def of(self, rows: Tensor) -> Outputs:
        """The stored outputs of the given rows.

        Of rows on an accelerator they are looked up there, without waiting for it. What was never computed is then not
        a number, and neither is the loss it gets into, which stops the method.

        Raises:
            KeyError: A row on the processor was never computed.
        """
        if is_accelerator(rows.device):
            return self._of_rows_there(rows)
        unknown = bool((rows >= len(self.position)).any())
        if unknown or bool((self.position[rows] < 0).any()):
            raise KeyError("no stored output for a row asked for")

        # The rows' places in the table.
        positions = self.position[rows]
        return self.outputs.each(lambda values: values[positions])

    def _of_rows_there(self, rows: Tensor) -> Outputs:
        """The same for rows on an accelerator."""
        position = self._position_there
        places = position[rows.clamp(max=len(position) - 1)]
        known = (places >= 0) & (rows < len(position))

        # A row that is not there takes the first one's place, and none of its values.
        places = places.clamp(min=0)
        known = known[:, None]
        return self.outputs.each(lambda values: values[places].where(known, torch.nan))

    @cached_property
    def _position_there(self) -> Tensor:
        """The positions on the device of the outputs."""
        first = next(iter(self.outputs.named().values()))
        return self.position.to(first.device)

    def select(self, rows: Ints) -> OutputTable:
        """A table of the given rows alone, in that order.

        Raises:
            KeyError: A row was never computed.
        """
        selected = torch.tensor(rows)
        return OutputTable(_positions(selected), self.of(selected))

    def _embedding(self, name: str) -> Tensor:
        if name not in self.outputs.embedding:
            raise MethodError(Fault(f"the model has no {name} embedding"))
        return self.outputs.embedding[name]


def table_from_signals(
    signals: Signals,
    rows: Ints,
    *,
    weights: str,
    cohort: str,
    device: torch.device | str = "cpu",
    scale: Scale = AS_IT_IS,
) -> OutputTable:
    """The original's stored outputs for some rows, as a table.

    Args:
        signals: Of the original.
        rows: Rows of the table; nothing about others gets into it.
        weights: Digest of the original's weights.
        cohort: Digest of the cohort.
        device: Device of the table.
        scale: Of labels that are values; the table has predictions in the units of training, as the model gives them.

    Raises:
        MethodError: The signals are of another model or cohort, damaged, or lack a row or the embeddings.
    """
    # All reasons at once.
    columns = signals.named().values()
    reasons: list[str] = []
    if signals.model != weights:
        reasons.append("they are of another model, or made before its gate was fitted")
    if signals.cohort != cohort:
        reasons.append("they are of another cohort")
    if not {*signals.logits, JOINT} <= set(signals.embedding):
        reasons.append("they hold no embeddings")
    if any(_damaged(column, len(signals.row)) for column in columns):
        reasons.append("they are damaged")
    if not np.isin(rows, signals.row).all():
        reasons.append("some forgotten, retained or validation images are not in them")
    if reasons:
        raise _unfit(", ".join(reasons))

    # Only the given rows.
    selected = signals.select(rows)
    tensors: dict[str, Tensor] = {}
    for name, values in selected.named().items():
        if name.endswith(LOGITS):
            values = scale.standard(values)
        tensors[name] = torch.tensor(values, dtype=torch.float32, device=device)
    return OutputTable(_positions(torch.tensor(rows)), Outputs.from_named(tensors))


@torch.no_grad()
def check(table: OutputTable, model: nn.Module, batch: Batch) -> None:
    """Check that a table holds a model's outputs for a batch, to 1 % of the largest value.

    Raises:
        MethodError: It does not.
    """
    # The model's outputs now, and the stored ones.
    with evaluating(model):
        computed = model(batch)
    stored = table.of(batch.row).named()

    for name, expected in computed.named().items():
        value = stored.get(name)
        if value is None or value.shape != expected.shape:
            raise _unfit(DIFFERENT)

        # Relative to the largest output.
        tolerance = 0.01 * expected.abs().max()
        close = (value - expected).abs() <= tolerance
        if not bool(close.all()):
            raise _unfit(DIFFERENT)


def _damaged(column: np.ndarray, rows: int) -> bool:
    """Whether a column is not a finite value for each row."""
    return not (len(column) == rows and column.ndim == 2 and np.isfinite(column).all())


def _unfit(reason: str) -> MethodError:
    return MethodError(
        Fault(
            "the original's signals do not fit",
            why=reason,
            do="Run the original over this cohort: forgetmi predict.",
        )
    )


def looked_up_or_run(teacher: Model, cached: OutputTable | None) -> Model:
    """The original as a function of unchanged batches: its cached outputs where the run was given them, else a run."""
    if cached is None:
        return teacher
    return lambda batch: cached.of(batch.row)


def outputs_of(
    teacher: nn.Module, loader: GuardedLoader, rows: Ints, cached: OutputTable | None
) -> OutputTable:
    """The original's outputs for some unchanged samples: cached where the run was given them, else computed.

    Args:
        teacher: The frozen original.
        loader: The set the rows are of.
        rows: Fixed rows in a fixed order.
        cached: `forgetmi.unlearning.context.Context.cached`.

    Raises:
        MethodError: A row is not of this set.
    """
    if cached is None:
        return tabulate(teacher, loader.batches(rows))
    return cached.select(loader.own(rows))


@torch.no_grad()
def tabulate(teacher: nn.Module, batches: Iterable[Batch]) -> OutputTable:
    """Run a frozen model once over some batches and keep its outputs.

    The batches must not depend on what was computed before (fixed rows in a fixed order), or a resumed run would round
    differently.

    Args:
        teacher: A frozen model (see `frozen`).
        batches: The samples; a row that occurs twice keeps its last output.
    """
    # Batch by batch, in order.
    rows: list[Tensor] = []
    outputs: list[Outputs] = []
    for batch in batches:
        rows.append(batch.row)
        outputs.append(teacher(batch))

    # One tensor for each of them.
    columns: dict[str, Tensor] = {}
    for name in outputs[0].named():
        columns[name] = torch.cat([part.named()[name] for part in outputs])
    return OutputTable(_positions(torch.cat(rows).cpu()), Outputs.from_named(columns))


def _positions(rows: Tensor) -> Tensor:
    """Position of each row in a table, -1 = none."""
    position = torch.full((int(rows.max()) + 1,), -1, dtype=torch.long)
    position[rows] = torch.arange(len(rows))
    return position
