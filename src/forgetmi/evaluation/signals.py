"""Run a model once over the rows that are measured, and what follows directly from its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn

from forgetmi.errors import EvaluationError, Fault
from forgetmi.model.modes import evaluating
from forgetmi.types import Batch, Cohort, Floats, Ints, Model, Signals

Head = Literal["image", "text", "both"]
HEADS: tuple[Head, ...] = ("image", "text", "both")
_EMBEDDINGS = ("image_embedding", "text_embedding", "joint_embedding")


class BatchSource(Protocol):
    """Anything that makes a batch of cohort rows (`forgetmi.batch.loaders.Records`)."""

    def batch(self, rows: Ints) -> Batch: ...


def collect(
    model: Model, records: BatchSource, rows: Ints, *, cohort: Cohort, model_digest: str, batch_size: int = 64,
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
    module = model if isinstance(model, nn.Module) else nn.Module()  # a plain function has neither mode nor device
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    with evaluating(module), torch.inference_mode():
        for at in range(0, len(rows), batch_size):
            outputs = model(records.batch(rows[order[at:at + batch_size]]).to(device))
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
        model=model_digest, cohort=cohort.digest, row=rows, patient=cohort.patient[rows], study=cohort.study[rows],
        label=cohort.label[rows], image_logits=arrays["image_logits"], text_logits=arrays["text_logits"],
        **{name: arrays.get(name) for name in _EMBEDDINGS},
    )


def log_probabilities(signals: Signals, head: Head) -> Floats:
    """Log-probabilities of a head; "both" is the log of the mean of both heads' probabilities.

    Returns:
        Float[n, k].

    Raises:
        EvaluationError: Logits are not finite (the model diverged).
    """
    if head == "both":
        image, text = log_probabilities(signals, "image"), log_probabilities(signals, "text")
        return np.logaddexp(image, text) - np.log(2)
    logits = signals.image_logits if head == "image" else signals.text_logits
    bad = int((~np.isfinite(logits).all(1)).sum())
    if bad:
        raise EvaluationError(Fault(f"the {head} logits of {bad} of {len(logits)} images are not finite",
                                    why="the model diverged"))
    return log_softmax(logits, axis=1)


def margin(log_probability: Floats, label: Ints) -> Floats:
    """Logit margin phi = log p_y - log(1 - p_y): larger = more like a training sample (Carlini et al. 2022, LiRA).

    Computed as log p_y - logsumexp of the other classes, exact also where p_y rounds to 1.

    Args:
        log_probability: Float[n, k].
        label: Int[n], 0..k-1, none unknown.
    """
    others = np.array(log_probability)
    at = np.arange(len(label))
    others[at, label] = -np.inf
    return log_probability[at, label] - logsumexp(others, axis=1)


def cross_entropy(log_probability: Floats, label: Ints) -> Floats:
    """Loss of each sample, -log p_y = log(1 + exp(-phi)) in nats; Float[n]."""
    return np.logaddexp(0.0, -margin(log_probability, label))


def pair_cosine(signals: Signals) -> Floats:
    """Cosine between each image's embedding and its own report's: how tightly the pair is linked; Float[n].

    Raises:
        EvaluationError: The model has no embeddings (an ensemble), of unequal width, zero, or not finite.
    """
    image, text = signals.image_embedding, signals.text_embedding
    if image is None or text is None:
        raise EvaluationError(Fault("the model has no embeddings", why="e.g. an ensemble"))
    if image.shape != text.shape:
        raise EvaluationError(Fault("image and text embeddings differ in width", why=f"{image.shape} and {text.shape}"))
    a, b = image.astype(np.float64), text.astype(np.float64)
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not np.isfinite(norm).all() or not norm.all():
        raise EvaluationError(Fault("some embeddings are zero or not finite", why="the model diverged or collapsed"))
    return (a * b).sum(1) / norm
