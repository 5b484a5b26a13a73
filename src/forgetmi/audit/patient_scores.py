"""Forgotten patients scored against never-seen ones, through each channel and by the channel that tells most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np

from forgetmi.audit.rows import ScoredChannel
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError
from forgetmi.core.partition import SetName
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.patients import PatientScores, score_patients

C = TypeVar("C", bound=str)
KnowledgeByChannel = Mapping[Channel, AdversaryKnowledge]  # the same evidence through each channel


@dataclass(frozen=True, eq=False)
class Scored:
    """Forgotten patients and the never-seen ones they are compared with, through one channel or "any".

    Args:
        forgotten, never_seen: Int[f], Int[m], patient codes.
        scores: Their scores, in that order.
    """

    forgotten: Ints
    never_seen: Ints
    scores: PatientScores


def through(knowledge: AdversaryKnowledge, channels: Sequence[C]) -> dict[C, AdversaryKnowledge]:
    """The same evidence through each channel."""
    return {channel: knowledge.with_channel(channel) for channel in channels}


def score_draw(
    knowledge_by_channel: KnowledgeByChannel, *, level: float
) -> dict[ScoredChannel, Scored]:
    """Score the forgotten patients of one forget set through every channel, and by the channel that tells most.

    "any" is the largest of a patient's standardised scores, standardised again on never-seen patients, for whom the
    same largest score is taken: one test a patient, whatever the channels have in common.

    Args:
        knowledge_by_channel: One forget set.
        level: See `forgetmi.evaluation.patients.score_patients`.

    Returns:
        Empty where no channel can be measured.
    """
    # Each channel by itself; the study counts are needed again for "any"
    scored: dict[ScoredChannel, Scored] = {}
    studies_of: dict[int, int] = {}

    for channel, knowledge in knowledge_by_channel.items():
        try:
            code, studies, result = _score_channel(knowledge, level=level)
        except EvaluationError:
            continue  # the verdict says which channels cannot be measured, and why
        scored[channel] = result
        studies_of |= dict(zip(code.tolist(), studies.tolist(), strict=True))

    if scored:
        scored["any"] = _score_any(list(scored.values()), studies_of, level=level)
    return scored


def standing_out(
    scored: Mapping[ScoredChannel, Scored], *, level: float
) -> tuple[set[int], set[int]]:
    """Codes of the patients who are remembered, and of those forgotten too visibly, after correction for all."""
    if "any" not in scored:
        return set(), set()

    code = scored["any"].forgotten
    scores = scored["any"].scores
    remembered = code[scores.remembered_adjusted <= level]
    over_forgotten = code[scores.over_forgotten_adjusted <= level]
    return set(remembered.tolist()), set(over_forgotten.tolist())


def values_of(code: Ints, values: Floats, wanted: Ints) -> Floats:
    """Values of the wanted patient codes.

    Args:
        code, values: Int[p], Float[p]; each code once.
        wanted: Int[w], all of them among `code`.
    """
    order = np.argsort(code)
    position = np.searchsorted(code[order], wanted)
    return values[order[position]]


def _score_channel(knowledge: AdversaryKnowledge, *, level: float) -> tuple[Ints, Ints, Scored]:
    """Patient codes and study counts, forgotten first, and their scores through one channel.

    Raises:
        EvaluationError: The channel is undefined for some model.
    """
    sets: tuple[SetName, ...] = ("forget", *knowledge.never_seen)
    sides = [knowledge.patients(name) for name in sets]
    members = len(sides[0])

    # Patient signals under the unlearned model and under every retrained one
    signals = []
    for model in (knowledge.audited, *knowledge.retrained):
        signals.append(np.concatenate([knowledge.signal(model, name) for name in sets]))
    signal = np.stack(signals)

    # Never-seen patients with few studies scatter more
    studies = np.concatenate([side.studies for side in sides])
    scores = score_patients(
        unlearned=signal[0],
        retrained=signal[1:],
        studies=studies,
        level=level,
        forgotten=np.arange(signal.shape[1]) < members,
    )

    code = np.concatenate([side.code for side in sides])
    return code, studies, Scored(code[:members], code[members:], scores)


def _score_any(
    channels: Sequence[Scored], studies_of: Mapping[int, int], *, level: float
) -> Scored:
    """The largest score of each patient over the channels, standardised again."""
    # Patients whom every channel scores
    forgotten = reduce(np.intersect1d, [channel.forgotten for channel in channels])
    never_seen = reduce(np.intersect1d, [channel.never_seen for channel in channels])

    # Their largest score
    of_forgotten, of_never_seen = [], []
    for channel in channels:
        scores = channel.scores
        of_forgotten.append(values_of(channel.forgotten, scores.forgotten, forgotten))
        of_never_seen.append(values_of(channel.never_seen, scores.never_seen, never_seen))
    largest = np.concatenate([np.max(of_forgotten, axis=0), np.max(of_never_seen, axis=0)])

    # The maximum has another distribution than a single score: standardise on never-seen patients once more
    code = np.concatenate([forgotten, never_seen])
    scores = score_patients(
        unlearned=largest,
        retrained=np.zeros((1, len(code))),
        level=level,
        studies=np.array([studies_of[patient] for patient in code.tolist()]),
        forgotten=np.arange(len(code)) < len(forgotten),
    )
    return Scored(forgotten, never_seen, scores)
