"""The release's membership attack: a support vector machine on losses averaged over batches of 32 images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.svm import SVC

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.svm_loss import SVM_C

NOTE = (
    "Not comparable between models or forget sets: one unscaled loss, means of batches, no class weights. With "
    "equal loss distributions everything is called a member and the score is 1."
)


@dataclass(frozen=True)
class BatchMeanAttack:
    """Result of the attack.

    Args:
        score: Share of the forgotten units called members, 0 to 1.
        units: How many units (batches or images) of retain, test and forget it rests on.
        unit: batch or sample.
        comparable: Always False.
        note: Why.
    """

    score: float
    units: tuple[int, int, int]
    unit: Literal["batch", "sample"]
    comparable: bool = False
    note: str = NOTE


def batch_mean_attack(
    *,
    retain: Floats,
    test: Floats,
    forget: Floats,
    unit: Literal["batch", "sample"] = "batch",
    size: int = 32,
) -> BatchMeanAttack:
    """Fit on retain (member) against test (non-member) and classify forget.

    Use it only to compare with the paper's Table 1; forgetting is measured by
    `forgetmi.evaluation.attacks.svm_loss.sample_mia`.

    Args:
        retain, test, forget: Image cross-entropies in file order, nats.
        unit: batch (the release) or sample (what the paper's text says).
        size: Images of a batch; the last one may be smaller.

    Raises:
        EvaluationError: A set is empty or a loss is not finite.

    Source: evaluation/eval_unlearning of the Forget-MI release (arXiv 2506.23145): SVC with C = 3, radial basis kernel,
    gamma "auto", on one unscaled number.
    """
    _check_losses({"retain": retain, "test": test, "forget": forget})

    # One number a unit: the loss of an image, or the mean of a batch in file order.
    members = _units(retain, unit, size)
    non_members = _units(test, unit, size)
    forgotten = _units(forget, unit, size)

    # A support vector machine on that number alone, unscaled and without class weights.
    losses = np.concatenate([members, non_members])[:, None]
    labels = np.repeat([1, 0], [len(members), len(non_members)])
    machine = SVC(C=SVM_C, kernel="rbf", gamma="auto").fit(losses, labels)

    # The score is the share of forgotten units that it calls members.
    called_members = machine.predict(forgotten[:, None])
    units = (len(members), len(non_members), len(forgotten))
    return BatchMeanAttack(float(called_members.mean()), units, unit)


def _check_losses(sets: Mapping[str, Floats]) -> None:
    faults = []
    for name, losses in sets.items():
        problem = ""
        if not len(losses):
            problem = "it is empty"
        elif not np.isfinite(losses).all():
            problem = "a loss is not finite"
        if problem:
            faults.append(Fault(f"the attack needs losses of the {name} set", why=problem))

    if faults:
        raise EvaluationError(faults)


def _units(losses: Floats, unit: str, size: int) -> Floats:
    """Losses of images, or their means over batches; the last batch may be smaller."""
    losses = np.asarray(losses, np.float64)
    if unit == "sample":
        return losses

    means = []
    for start in range(0, len(losses), size):
        batch = losses[start : start + size]
        means.append(batch.mean())
    return np.array(means)


def image_losses(signals: Signals, rows: Ints) -> Floats:
    """Cross-entropy of the image head, nats, of the given cohort rows in that order.

    Raises:
        EvaluationError: A row has no label.
    """
    # An image without a label has no cross-entropy.
    chosen = signals.select(rows)
    unknown = int((chosen.label < 0).sum())
    if unknown:
        raise EvaluationError(
            Fault(f"{unknown} images have no label", why="the release's attack needs all of them")
        )

    # Log of the sum of exponentials, with the largest logit taken out so that nothing overflows.
    logits = chosen.image_logits
    top = logits.max(axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))

    true_logit = logits[np.arange(len(logits)), chosen.label]
    return normaliser - true_logit
