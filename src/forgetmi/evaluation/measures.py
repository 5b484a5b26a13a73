"""What is measured of one model: each function yields the measures of one kind, in the order of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.scores import Failed
from forgetmi.evaluation.attacks.svm_loss import sample_mia
from forgetmi.evaluation.distance import cosine_distance
from forgetmi.evaluation.measured_model import MeasuredModel, Predictions
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.pair_scores import pair_scores
from forgetmi.evaluation.scores import Measure, measure
from forgetmi.evaluation.signals import Head, is_together
from forgetmi.evaluation.statistics import Metric, weighted_mean, weighted_spearman


def measure_model(
    model: MeasuredModel,
    *,
    original: MeasuredModel | None,
    retrained: Sequence[MeasuredModel],
    seed: int,
) -> Iterator[Measure | Failed]:
    """Every measure of a model but the gap.

    Args:
        model: The model.
        original: The model to measure the distance to; None = none is measured.
        retrained: The other retrained models.
        seed: Root seed of the attack's splits.
    """
    # Of the pairs, then of each head
    yield from pair_scores(
        model.all_images, model.sets, task=model.task, others=[one.all_images for one in retrained]
    )
    for head in model.heads:
        yield from _utility(model, head)
        yield from _membership(model, head, seed=seed)
        yield from _to_retrained(model, head, retrained)
        if original is not None:
            yield from _to_original(model, head, original)


def _utility(model: MeasuredModel, head: Head) -> Iterator[Measure | Failed]:
    """How well a head predicts each set."""
    for name in model.sets:
        predicted = model.predictions[head, name]
        columns = predicted.signals.classes

        # Every metric of the task, with what its reader must know
        for score in (*model.task.scores(), *model.task.single_scores(columns)):
            yield measure(
                score,
                partial(_of_predictions, score, predicted),
                model.images(head, name),
                head=head,
                on=name,
                note=model.task.note(score, columns, predicted.signals.label, model.names),
            )


def _of_predictions(name: str, predicted: Predictions) -> Metric:
    """A metric of predictions as a function of the weights alone."""
    return predicted.task.score(name, predicted.values, predicted.signals.label)


def _membership(model: MeasuredModel, head: Head, *, seed: int) -> Iterator[Measure | Failed]:
    """What the SVM attack and the loss alone tell about membership."""
    yield from _svm_attack(model, head, seed=seed)

    def loss_auc(name: str) -> Metric:
        own = model.predictions[head, name].margin
        return partial(membership_auc, own, model.predictions[head, "test"].margin)

    # Never-seen images are the other side of both comparisons
    test = model.images(head, "test")
    yield measure(
        "loss_auc",
        partial(loss_auc, "forget"),
        model.images(head, "forget"),
        test,
        head=head,
        on="forget",
        note="P(loss on forget < loss on test)",
    )

    # Retained patients are not resampled: they are thousands, and nothing is decided by them.
    yield measure(
        "loss_auc",
        partial(loss_auc, "retain"),
        model.images(head, "retain"),
        test.without_resamples(),
        head=head,
        on="retain",
        note="P(loss on retain < loss on test)",
    )


def _svm_attack(model: MeasuredModel, head: Head, *, seed: int) -> Iterator[Measure | Failed]:
    """Share of forgotten images flagged as members, and of never-seen images as its target."""
    forget, test = model.images(head, "forget"), model.images(head, "test")
    try:
        # Reading raises where logits are not finite
        losses = {name: model.predictions[head, name].loss for name in model.sets}
        decisions = sample_mia(
            retain=losses["retain"],
            forget=losses["forget"],
            never_seen=losses["test"],
            patient=test.patient,
            seed=seed,
        )
    except EvaluationError as error:
        yield Failed("sample_mia", str(error), head, "forget")
        yield Failed("never_seen_flag_rate", str(error), head, "test")
        return

    # The attack is fixed; intervals come from resampled patients alone
    first, second = decisions.sizes
    note = f"attacks fitted on {first} and {second} images a side"
    yield measure(
        "sample_mia",
        lambda: decisions.flag_rate,
        forget,
        head=head,
        on="forget",
        note=f"{note}; target: never_seen_flag_rate",
    )
    yield measure(
        "never_seen_flag_rate",
        lambda: decisions.never_seen_flag_rate,
        test,
        head=head,
        on="test",
        note=note,
    )


def _to_retrained(
    model: MeasuredModel, head: Head, retrained: Sequence[MeasuredModel]
) -> Iterator[Measure | Failed]:
    """How alike predictions and losses on the forget set are to the other retrained models'."""
    # Only the forget set is compared
    forget = model.images(head, "forget")
    own = model.predictions[head, "forget"]
    others = [other.predictions[head, "forget"] for other in retrained]

    def jsf() -> Metric:
        _require(others)

        # Per image, averaged over the retrained models
        divergences = [model.task.distance(own.values, other.values) for other in others]
        return partial(weighted_mean, np.mean(divergences, axis=0))

    def spearman() -> Metric:
        _require(others)

        # Losses are computed once, correlations for every resample
        other_losses = [other.loss for other in others]

        def mean_correlation(weights: Floats) -> Floats:
            loss = own.loss
            return np.mean(
                [weighted_spearman(loss, other, weights) for other in other_losses], axis=0
            )

        return mean_correlation

    yield measure("jsf", jsf, forget, head=head, on="forget", note=model.task.distance_note)
    yield measure("loss_spearman", spearman, forget, head=head, on="forget")


def _require(others: Sequence[Predictions]) -> None:
    if not others:
        raise EvaluationError(Fault("there is no other retrained model to compare with"))


def _to_original(
    model: MeasuredModel, head: Head, original: MeasuredModel
) -> Iterator[Measure | Failed]:
    """How far predictions are from the original's."""
    for name in model.sets:
        # Both models on the same images
        images = model.images(head, name)
        own = model.predictions[head, name]
        originals = original.predictions[head, name]
        yield measure(
            "original_symmetric_kl",
            partial(_mean_divergence, own, originals),
            images,
            head=head,
            on=name,
            note="nats",
        )

        # The mean of all heads has probabilities, no logits; a single logit has no angle.
        if not is_together(head) and own.signals.classes > 1:
            yield measure(
                "original_cosine",
                partial(_mean_cosine, own, originals),
                images,
                head=head,
                on=name,
                note="1 - cosine of the logits",
            )


def _mean_divergence(own: Predictions, originals: Predictions) -> Metric:
    return partial(weighted_mean, own.task.divergence(own.values, originals.values))


def _mean_cosine(own: Predictions, originals: Predictions) -> Metric:
    return partial(weighted_mean, cosine_distance(own.logits, originals.logits))
