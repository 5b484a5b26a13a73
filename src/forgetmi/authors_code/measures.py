"""What the release's evaluation means to compute: as published, it cannot run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.authors_code.attack import BatchMeanAttack, batch_mean_attack, image_losses
from forgetmi.core.arrays import Ints
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.distance import cosine_distance
from forgetmi.evaluation.signals import log_probabilities
from forgetmi.evaluation.utility import auc_per_class, macro_f1


@dataclass(frozen=True)
class ReleaseMeasures:
    """One model's numbers, all of its image head.

    Args:
        auc_forget, auc_test: Mean of the four one-vs-rest AUCs, each rounded to 4 decimals; None where a class is
            absent.
        f1_forget, f1_test: Macro F1, 4 decimals.
        attack: The membership attack on batch means.
        dissimilarity: 1 - mean cosine of the logits to the retrained model's on retained images; None without one.
    """

    auc_forget: float | None
    auc_test: float | None
    f1_forget: float
    f1_test: float
    attack: BatchMeanAttack
    dissimilarity: float | None


def release_measures(
    signals: Signals,
    partition: Partition,
    *,
    retrained: Signals | None = None,
) -> ReleaseMeasures:
    """Measure one model as the release intends to; everything else uses `forgetmi.evaluation`.

    Args:
        signals: The model's outputs; images without a label are left out.
        partition: Its holdout is the test set.
        retrained: A retrained model's outputs; None = there is none.

    Raises:
        EvaluationError: A set has no labelled image.

    Source: evaluation/eval_unlearning of the Forget-MI release (arXiv 2506.23145). Its errors are not reproduced: it
    cannot be imported, and where it could it would score class numbers as if they were probabilities.
    """
    forget = _labelled(signals, partition.forget)
    retain = _labelled(signals, partition.retain)
    test = _labelled(signals, partition.holdout)

    # The membership attack on means of batches.
    attack = batch_mean_attack(
        retain=image_losses(signals, retain),
        test=image_losses(signals, test),
        forget=image_losses(signals, forget),
    )

    # Image logits of retained samples against those of a retrained model.
    dissimilarity = None
    if retrained is not None:
        distances = cosine_distance(
            signals.select(partition.retain).image_logits,
            retrained.select(partition.retain).image_logits,
        )
        dissimilarity = float(np.mean(distances))

    # Utility on forgotten and on test images.
    of_forget, of_test = signals.select(forget), signals.select(test)
    return ReleaseMeasures(
        _auc(of_forget),
        _auc(of_test),
        _f1(of_forget),
        _f1(of_test),
        attack,
        dissimilarity,
    )


def _labelled(signals: Signals, rows: Ints) -> Ints:
    return rows[signals.select(rows).label >= 0]


def _auc(signals: Signals) -> float | None:
    probabilities = np.exp(log_probabilities(signals, "image"))
    per_class = auc_per_class(probabilities, signals.label)[0]

    # A class without an image has no AUC, so that the mean has none either.
    mean = float(per_class.round(4).mean())
    return mean if np.isfinite(mean) else None


def _f1(signals: Signals) -> float:
    probabilities = np.exp(log_probabilities(signals, "image"))
    score = macro_f1(probabilities, signals.label)[0]
    return round(float(score), 4)
