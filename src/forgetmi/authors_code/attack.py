"""The release's membership attack: a support vector machine on losses averaged over batches of 32 images."""

from __future__ import annotations

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
    """What the attack said.

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
    """Fit on retain (member) against test (non-member) and ask about forget.

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
    sets = {"retain": retain, "test": test, "forget": forget}
    faults = [
        Fault(
            f"the attack needs losses of the {name} set",
            why="it is empty" if not len(losses) else "a loss is not finite",
        )
        for name, losses in sets.items()
        if not len(losses) or not np.isfinite(losses).all()
    ]
    if faults:
        raise EvaluationError(faults)
    inside, outside, asked = (
        _units(np.asarray(losses, np.float64), unit, size) for losses in sets.values()
    )
    machine = SVC(C=SVM_C, kernel="rbf", gamma="auto").fit(
        np.concatenate([inside, outside])[:, None], np.repeat([1, 0], [len(inside), len(outside)])
    )
    return BatchMeanAttack(
        float(machine.predict(asked[:, None]).mean()), (len(inside), len(outside), len(asked)), unit
    )


def _units(losses: Floats, unit: str, size: int) -> Floats:
    if unit == "sample":
        return losses
    return np.array([losses[start : start + size].mean() for start in range(0, len(losses), size)])


def image_losses(signals: Signals, rows: Ints) -> Floats:
    """Cross-entropy of the image head, nats, of the given cohort rows in that order.

    Raises:
        EvaluationError: A row has no label.
    """
    chosen = signals.select(rows)
    unknown = int((chosen.label < 0).sum())
    if unknown:
        raise EvaluationError(
            Fault(f"{unknown} images have no label", why="the release's attack needs all of them")
        )
    logits = chosen.image_logits
    top = logits.max(axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return normaliser - logits[np.arange(len(logits)), chosen.label]
