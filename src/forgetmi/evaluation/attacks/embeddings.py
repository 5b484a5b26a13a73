"""The embedding that a channel stands for, of images and of patients: what attacks on representations read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import JOINT
from forgetmi.core.partition import SetName
from forgetmi.core.pooled_signals import PooledSignals
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import is_link, linked


def patient_embeddings(
    knowledge: AdversaryKnowledge, set_name: SetName, models: Sequence[Signals] = ()
) -> list[Floats]:
    """Float[p, d] under each model: mean over a patient's images, study by study.

    A head's channel means its own embedding; that of several heads, or a link's, the joint one. In a model without
    heads and without a joint one a link means both of its embeddings, side by side.

    Args:
        knowledge: Whose channel it is.
        set_name: The patients.
        models: Which models; none given = the attacked one.

    Raises:
        EvaluationError: A model has no such embedding, some are not finite, or its rows are those of several models.
    """
    rows, patients = knowledge.rows(set_name), knowledge.patients(set_name)
    embeddings = []
    for model in models or (knowledge.audited,):
        _require_one_space(model)
        images = _of_images(model.select(rows), knowledge.channel)
        embeddings.append(patients.mean(images.T).T)
    return embeddings


def _require_one_space(model: Signals) -> None:
    """Refuse a reference out of a pool: its rows come from models whose embeddings lie in spaces of their own."""
    if isinstance(model, PooledSignals) and len(np.unique(model.member)) > 1:
        raise EvaluationError(
            Fault(
                "the reference's embeddings are those of several models",
                why="they lie in spaces of their own, and rows of different ones cannot be compared",
                do="Retrain references for this request.",
            )
        )


def _of_images(signals: Signals, channel: str) -> Floats:
    """Float[n, d] of all samples."""
    if is_link(channel) and JOINT not in signals.embedding and not signals.logits:
        embedding = _concatenated(signals, linked(channel, signals))
    else:
        embedding = signals.embedding.get(channel if channel in signals.logits else JOINT)

    if embedding is None:
        raise EvaluationError(Fault("the model has no such embedding", why="e.g. an ensemble"))
    if not np.isfinite(embedding).all():
        raise EvaluationError(Fault("some embeddings are not finite", why="the model diverged"))
    return embedding.astype(np.float64)


def require_own_embedding(knowledge: AdversaryKnowledge) -> None:
    """Refuse a link of a model with heads: its embeddings are measured as the heads'.

    Raises:
        EvaluationError: The channel is such a link.
    """
    if is_link(knowledge.channel) and knowledge.audited.logits:
        raise EvaluationError(
            Fault("a link has no embedding of its own", do="Read the heads' lines.")
        )


def _concatenated(signals: Signals, pair: tuple[str, str]) -> npt.NDArray[Any] | None:
    """Both embeddings of a link, side by side, for a model that has neither heads nor a joint one."""
    both = [signals.embedding[name] for name in pair if name in signals.embedding]
    return np.hstack(both) if len(both) == 2 else None
