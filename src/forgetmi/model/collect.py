"""Run a model over batches and keep its outputs as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch, Model
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.signals import Signals
from forgetmi.model.modes import evaluating

_EMBEDDINGS = ("image_embedding", "text_embedding", "joint_embedding")


class BatchSource(Protocol):
    """Anything that makes a batch of cohort rows (`forgetmi.data.loaders.SampleStore`)."""

    def batch(self, rows: Ints) -> Batch: ...


def collect(
    model: Model,
    records: BatchSource,
    rows: Ints,
    *,
    cohort: Cohort,
    model_digest: str,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
) -> Signals:
    """Run a model once over rows of a cohort and keep everything the metrics and attacks need.

    The only place of the evaluation that touches a model; use it once per model and save the result. Rows are
    batched by length of their report, which saves padding, and come back in the order asked for.

    Args:
        model: Maps a `Batch` to `Outputs`. A torch module is put into evaluation mode and restored afterwards.
        records: Makes the batches, without perturbation.
        rows: Int[n], distinct rows of the cohort.
        cohort: The cohort the rows belong to.
        model_digest: Digest of the model's weights.
        batch_size: Images per forward pass, >= 1.
        on_batch: Called after each batch with the number of rows done.

    Returns:
        Logits as float64[n, k], embeddings as float32[n, d] or None where the model has none.

    Raises:
        EvaluationError: No rows, or a row asked for twice.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows) or len(np.unique(rows)) != len(rows):
        raise EvaluationError(Fault("the rows to measure must be distinct and at least one"))
    length = np.array([len(cohort.report[row]) for row in rows])
    order = np.lexsort((rows, length))
    collected: dict[str, list[Tensor]] = {}
    module = (
        model if isinstance(model, nn.Module) else nn.Module()
    )  # a plain function has neither mode nor device
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    with evaluating(module), torch.inference_mode():
        for at in range(0, len(rows), batch_size):
            outputs = model(records.batch(rows[order[at : at + batch_size]]).to(device))
            for name in ("image_logits", "text_logits", *_EMBEDDINGS):
                value = getattr(outputs, name)
                if value is not None:
                    exact = torch.float32 if name in _EMBEDDINGS else torch.float64
                    collected.setdefault(name, []).append(value.to("cpu", exact))
            if on_batch is not None:
                on_batch(min(at + batch_size, len(rows)))
    back = np.argsort(order)
    arrays = {name: torch.cat(parts).numpy()[back] for name, parts in collected.items()}
    return Signals(
        model=model_digest,
        cohort=cohort.digest,
        row=rows,
        patient=cohort.patient[rows],
        study=cohort.study[rows],
        label=cohort.label[rows],
        image_logits=arrays["image_logits"],
        text_logits=arrays["text_logits"],
        **{name: arrays.get(name) for name in _EMBEDDINGS},
    )
