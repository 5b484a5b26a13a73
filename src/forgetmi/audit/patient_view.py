"""One forgotten patient seen closely: how familiar to each model, and which of their images is remembered most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel, channel_signal, channels_of
from forgetmi.evaluation.signals import heads_of, predictions

_LEAST_SPREAD = 1e-9  # models that do not differ on never-seen images


@dataclass(frozen=True)
class ChannelView:
    """One patient through one channel.

    Args:
        channel: Which.
        familiar: Model ("original", "unlearned", "retrain-0" ...) to the share of never-seen patients, 0..1, who are
            less familiar to that model than this patient is; equally familiar ones count half.
        never_seen: Patients compared with.
    """

    channel: Channel
    familiar: Mapping[str, float]
    never_seen: int


@dataclass(frozen=True)
class ImageView:
    """One image and its report through the channel on which it is remembered most.

    Args:
        row: Of the cohort.
        study: Keyed digest.
        channel: The channel with the largest excess.
        before, excess: How much more familiar it is to the original, and to the unlearned model, than to the retrained
            models on average, beyond what never-seen images are, in standard deviations of these under the same model.
    """

    row: int
    study: str
    channel: Channel
    before: float
    excess: float


@dataclass(frozen=True)
class PatientView:
    """One forgotten patient.

    Args:
        patient: Keyed digest.
        studies, images: How many.
        channels: Each channel that could be measured.
        remembered: Their images, the most remembered first.
        predicted: Head to (images whose class the original predicts as most retrained models do, the same of the
            unlearned model, images); empty where labels are not one class of several.
    """

    patient: str
    studies: int
    images: int
    channels: tuple[ChannelView, ...]
    remembered: tuple[ImageView, ...]
    predicted: Mapping[str, tuple[int, int, int]]


def patient_view(run: AuditedRun, digest: str, *, task: str, seed: int = 0) -> PatientView:
    """Look at one forgotten patient of a finished run; no model is run.

    Args:
        run: The run.
        digest: The patient's keyed digest, whole.
        task: Name of the cohort's task.
        seed: Root seed of subsamples.
    """
    partition = run.partition.of_request()
    knowledge = run.knowledge(partition, seed=seed, task=task)
    original = run.signals[ORIGINAL]

    # The patient's rows, and their code
    forgotten = original.select(partition.forget)
    own = forgotten.select(forgotten.row[forgotten.patient == digest])
    code = int(partition.patient[own.row[0]])

    channels: list[ChannelView] = []
    images: list[ImageView] = []
    for channel in channels_of(original):
        through = knowledge.with_channel(channel)
        try:
            channels.append(_channel_view(through, code))
            images += _image_views(through, own)
        except EvaluationError:
            continue  # a channel that cannot be measured says nothing of anybody

    return PatientView(
        patient=digest,
        studies=len(np.unique(own.study)),
        images=len(own),
        channels=tuple(channels),
        remembered=_most_remembered(images),
        predicted=_predicted(knowledge, own.row),
    )


def _channel_view(knowledge: AdversaryKnowledge, code: int) -> ChannelView:
    """How familiar a patient is to each model, among never-seen patients.

    Raises:
        EvaluationError: The channel is undefined for some model, or says nothing of this patient.
    """
    place = np.flatnonzero(knowledge.patients("forget").code == code)
    if not len(place) or not knowledge.never_seen:
        raise EvaluationError(Fault("the channel says nothing of this patient"))

    familiar, compared = {}, 0
    for name in (ORIGINAL, UNLEARNED, *retrained_names(knowledge.signals)):
        model = knowledge.signals[name]
        own = float(knowledge.signal(model, "forget")[place[0]])
        others = [knowledge.signal(model, on) for on in knowledge.never_seen]
        never_seen = np.concatenate(others)
        familiar[name] = float(np.mean(never_seen < own) + np.mean(never_seen == own) / 2)
        compared = len(never_seen)
    return ChannelView(knowledge.channel, familiar, compared)


def _image_views(knowledge: AdversaryKnowledge, own: Signals) -> list[ImageView]:
    """A patient's images through one channel, each against the retrained models.

    Raises:
        EvaluationError: The channel is undefined for some model.
    """
    rows = np.intersect1d(knowledge.rows("forget"), own.row)
    never_seen = np.concatenate([knowledge.rows(on) for on in knowledge.never_seen])
    if not knowledge.retrained or not len(rows):
        return []

    # Of images of people whom no model saw: how much models differ by chance
    before, after = _above_retrained(knowledge, rows)
    by_chance = _above_retrained(knowledge, never_seen)
    usual = np.mean(by_chance, axis=1)
    scale = np.maximum(np.std(by_chance, axis=1), _LEAST_SPREAD)

    views = []
    for place, row in enumerate(rows.tolist()):
        views.append(
            ImageView(
                row=row,
                study=str(own.select(np.array([row])).study[0]),
                channel=knowledge.channel,
                before=float((before[place] - usual[0]) / scale[0]),
                excess=float((after[place] - usual[1]) / scale[1]),
            )
        )
    return views


def _above_retrained(knowledge: AdversaryKnowledge, rows: Ints) -> Floats:
    """Float[2, n]: the signal of rows under the original and the unlearned model, less the retrained models' mean."""

    def signal(model: Signals) -> Floats:
        gallery, task = knowledge.gallery(model), knowledge.measures
        return channel_signal(model.select(rows), knowledge.channel, gallery=gallery, task=task)

    retrained = np.mean([signal(model) for model in knowledge.retrained], axis=0)
    models = (knowledge.signals[ORIGINAL], knowledge.signals[UNLEARNED])
    return np.stack([signal(model) - retrained for model in models])


def _most_remembered(images: Sequence[ImageView]) -> tuple[ImageView, ...]:
    """Each image by the channel on which it exceeds the retrained models most; the largest first."""
    largest: dict[int, ImageView] = {}
    for view in images:
        if view.row not in largest or view.excess > largest[view.row].excess:
            largest[view.row] = view
    return tuple(sorted(largest.values(), key=lambda view: -view.excess))


def _predicted(knowledge: AdversaryKnowledge, rows: Ints) -> dict[str, tuple[int, int, int]]:
    """Head to how many images two models predict as most retrained models do, and of how many."""
    if not knowledge.measures.one_class or not knowledge.retrained:
        return {}

    counts = {}
    for head in heads_of(knowledge.signals[ORIGINAL]):
        votes = np.stack([_classes(knowledge, model, head, rows) for model in knowledge.retrained])
        common = np.array([np.bincount(column).argmax() for column in votes.T])
        before = _classes(knowledge, knowledge.signals[ORIGINAL], head, rows)
        after = _classes(knowledge, knowledge.signals[UNLEARNED], head, rows)
        counts[head] = (int(np.sum(before == common)), int(np.sum(after == common)), len(rows))
    return counts


def _classes(knowledge: AdversaryKnowledge, model: Signals, head: str, rows: Ints) -> Ints:
    """Int[n], the class that a head predicts of each row."""
    return predictions(model.select(rows), head, knowledge.measures).argmax(axis=1)
