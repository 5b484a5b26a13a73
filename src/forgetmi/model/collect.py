"""Run a model over batches and keep its outputs as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch, Model, Outputs
from forgetmi.core.cohort import Cohort
from forgetmi.core.devices import is_accelerator, steps_between_reads
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.core.modalities import LOGITS, parted
from forgetmi.core.signals import Signals
from forgetmi.model.modes import evaluating
from forgetmi.model.output_arrays import OutputArrays


class BatchSource(Protocol):
    """Anything that makes a batch of cohort rows (`forgetmi.data.loaders.SampleStore`)."""

    def batch(self, rows: Ints) -> Batch: ...

    def batches(self, plan: Sequence[Ints], *, device: Any) -> Iterator[Batch]:
        """Batches on an accelerator, read ahead."""
        ...


def collect(
    model: Model,
    records: BatchSource,
    rows: Ints,
    *,
    cohort: Cohort,
    model_digest: str,
    batch_size: int = 64,
    scale: Scale = AS_IT_IS,
    on_batch: Callable[[int], None] | None = None,
) -> Signals:
    """Run a model once over rows of a cohort and keep all outputs that metrics and attacks read.

    The only place of the evaluation that touches a model; use it once per model and save the result. Rows are
    batched by length of their report, which saves padding, and come back in the given order.

    Args:
        model: Maps a `Batch` to `Outputs`. A torch module is put into evaluation mode and restored afterwards.
        records: Makes the batches, without perturbation.
        rows: Int[n], distinct rows of the cohort.
        cohort: The cohort the rows belong to.
        model_digest: Digest of the model's weights.
        batch_size: Images per forward pass, >= 1.
        scale: Of labels that are values: what the model predicts is kept in the cohort's units.
        on_batch: Called after each batch with the number of rows done.

    Returns:
        Logits as float64[n, k], embeddings as float32[n, d] where the model has them.

    Raises:
        EvaluationError: No rows, or a row given twice.
    """
    rows = np.asarray(rows, np.int64)
    # Signals are looked up by row, so each row comes once.
    if not len(rows) or len(np.unique(rows)) != len(rows):
        raise EvaluationError(Fault("the rows to measure must be distinct and at least one"))

    # Reports of one length in a batch, which saves padding.
    lengths = np.array([len(cohort.report[row]) for row in rows])
    order = np.lexsort((rows, lengths))

    # A plain function has neither mode nor device.
    module = model if isinstance(model, nn.Module) else nn.Module()
    weights = module.parameters()
    device = next((weight.device for weight in weights), torch.device("cpu"))

    starts = range(0, len(rows), batch_size)
    plan = [rows[order[start : start + batch_size]] for start in starts]

    # Outputs stay on the device for some batches: reading them waits for all that was launched.
    outputs = OutputArrays(order)
    waiting: list[Outputs] = []
    with evaluating(module), torch.inference_mode():
        done = 0
        for batch in _batches(records, plan, device):
            waiting.append(model(batch))
            done += len(batch)
            if len(waiting) >= steps_between_reads(device):
                _keep(outputs, waiting)
                waiting = []
            if on_batch is not None:
                on_batch(done)

        _keep(outputs, waiting)

    logits, embedding = parted(outputs.arrays())
    logits = {head: scale.units(values) for head, values in logits.items()}
    return Signals(
        model=model_digest,
        cohort=cohort.digest,
        row=rows,
        patient=cohort.patient[rows],
        study=cohort.study[rows],
        label=cohort.label[rows],
        logits=logits,
        embedding=embedding,
        present={name: there[rows] for name, there in cohort.present.items()},
    )


def _batches(records: BatchSource, plan: Sequence[Ints], device: torch.device) -> Iterator[Batch]:
    """The batches of a plan, on the model's device."""
    if is_accelerator(device):
        return records.batches(plan, device=device)
    return (records.batch(rows) for rows in plan)


def _keep(collected: OutputArrays, batches: Sequence[Outputs]) -> None:
    """Add the outputs of some batches, on the processor; logits in float64, of which measures take differences."""
    if not batches:
        return

    # All are joined before the first is read, which waits for the device.
    names = list(batches[0].named())
    joined = [torch.cat([outputs.named()[name] for outputs in batches]) for name in names]
    read: dict[str, Any] = {}
    for name, values in zip(names, joined, strict=True):
        kind = torch.float64 if name.endswith(LOGITS) else torch.float32
        read[name] = values.to("cpu", kind).numpy()
    collected.add(read)
