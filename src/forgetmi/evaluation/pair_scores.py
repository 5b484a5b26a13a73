"""What is measured of the links between embeddings: how tight pairs are, and how well found where they are the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import JOINT
from forgetmi.core.scores import Failed
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.channels import channels_of, is_link, linked
from forgetmi.evaluation.link import contrast, retrieval_rank
from forgetmi.evaluation.measured_set import MeasuredSet
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.pair_measures import RECALLED
from forgetmi.evaluation.scores import Measure, measure
from forgetmi.evaluation.signals import heads_of, is_together, pair_cosine
from forgetmi.evaluation.statistics import Metric, PatientSample, weighted_mean


def pair_scores(
    signals: Mapping[str, Signals],
    sets: Mapping[str, MeasuredSet],
    *,
    task: TaskMeasures,
    others: Sequence[Mapping[str, Signals]],
) -> Iterator[Measure | Failed]:
    """How tightly the forgotten are linked, link by link; of the task pairs also recall and distance to retraining.

    Args:
        signals: By set, on all its images.
        sets: Who is in them.
        task: Of the cohort.
        others: The same of the other retrained models.
    """
    for channel in channels_of(signals["forget"]):
        if not is_link(channel):
            continue
        yield _tightness(signals, sets, channel)
        if task.name == "pairs":
            yield from _recall(signals, sets, channel)
            yield _distance(signals, sets, channel, task=task, others=others)


def _named(signals: Signals, channel: str) -> str:
    """The head under which a link's scores stand: all heads together where the link is the only one."""
    together = [head for head in heads_of(signals) if is_together(head)]
    modalities = [name for name in signals.embedding if name != JOINT]
    return together[0] if together and len(modalities) <= 2 else channel


def _complete(
    signals: Signals, measured: MeasuredSet, channel: str
) -> tuple[Signals, PatientSample]:
    """The images of a set that have both sides of a link, and their patients; a label is not needed."""
    both = signals.there(*linked(channel, signals))
    return signals.select(signals.row[both]), measured.all_images.take(both)


def _tightness(
    signals: Mapping[str, Signals], sets: Mapping[str, MeasuredSet], channel: str
) -> Measure | Failed:
    pair = linked(channel, signals["forget"])
    forget, forget_images = _complete(signals["forget"], sets["forget"], channel)
    test, test_images = _complete(signals["test"], sets["test"], channel)

    def pair_auc() -> Metric:
        return partial(membership_auc, pair_cosine(forget, pair), pair_cosine(test, pair))

    first, second = pair
    second = "report" if second == "text" else second
    return measure(
        "pair_auc",
        pair_auc,
        forget_images,
        test_images,
        head=_named(signals["forget"], channel),
        on="forget",
        note=f"P({first}-{second} cosine on forget > on test)",
    )


def _recall(
    signals: Mapping[str, Signals], sets: Mapping[str, MeasuredSet], channel: str
) -> Iterator[Measure | Failed]:
    """Share of each set's images whose own report is among the first of the set's reports."""
    for name, measured in sets.items():
        images, patients = _complete(signals[name], measured, channel)

        def found(among: int, images: Signals = images) -> Metric:
            # Equally near reports count half, so a tied first place is no first place
            ranks = retrieval_rank(images, images, pair=linked(channel, images))
            return partial(weighted_mean, (ranks <= among).astype(np.float64))

        reports = len(np.unique(images.study))
        for among in RECALLED:
            yield measure(
                f"recall_at_{among}",
                partial(found, among),
                patients,
                head=_named(images, channel),
                on=name,
                note=f"among {reports} reports",
            )


def _distance(
    signals: Mapping[str, Signals],
    sets: Mapping[str, MeasuredSet],
    channel: str,
    *,
    task: TaskMeasures,
    others: Sequence[Mapping[str, Signals]],
) -> Measure | Failed:
    """How far the forgotten pairs' margins are from the other retrained models'."""

    _, patients = _complete(signals["forget"], sets["forget"], channel)

    def distance() -> Metric:
        if not others:
            raise EvaluationError(Fault("there is no other retrained model to compare with"))
        own = _margins(signals, channel)
        far = [task.distance(own, _margins(other, channel)) for other in others]
        return partial(weighted_mean, np.mean(far, axis=0))

    return measure(
        "jsf",
        distance,
        patients,
        head=_named(signals["forget"], channel),
        on="forget",
        note=task.distance_note,
    )


def _margins(signals: Mapping[str, Signals], channel: str) -> Floats:
    """Float[n], of the forgotten images among the never-seen patients' reports; without those that lack a side."""
    pair = linked(channel, signals["forget"])
    complete = []
    for name in ("forget", "test"):
        both = signals[name].there(*pair)
        complete.append(signals[name].select(signals[name].row[both]))
    forget, test = complete
    return contrast(forget, test, pair=pair)
