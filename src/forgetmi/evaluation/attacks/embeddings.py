"""The embedding that a channel stands for, of images and of patients: what attacks on representations read."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import JOINT
from forgetmi.core.partition import SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import is_link, linked


def image_embeddings(knowledge: AdversaryKnowledge, model: Signals, set_name: SetName) -> Floats:
    """Float[n, d] of the images of a set: a head's own embedding, the joint one of several heads or of a link.

    Of a link between embeddings that nothing joins, in a model without heads, both side by side.

    Raises:
        EvaluationError: The model has no such embedding, or some are not finite.
    """
    signals = model.select(knowledge.rows(set_name))
    channel = knowledge.channel
    if is_link(channel) and JOINT not in signals.embedding and not signals.logits:
        embedding = _concatenated(signals, linked(channel, signals))
    else:
        embedding = signals.embedding.get(channel if channel in signals.logits else JOINT)

    if embedding is None:
        raise EvaluationError(Fault("the model has no such embedding", why="e.g. an ensemble"))
    if not np.isfinite(embedding).all():
        raise EvaluationError(Fault("some embeddings are not finite", why="the model diverged"))
    return embedding.astype(np.float64)


def patient_embeddings(knowledge: AdversaryKnowledge, set_name: SetName) -> Floats:
    """Float[p, d]: under the attacked model, mean over each patient's images, study by study.

    Raises:
        EvaluationError: See `image_embeddings`.
    """
    images = image_embeddings(knowledge, knowledge.audited, set_name)
    return knowledge.patients(set_name).mean(images.T).T


def require_own_embedding(knowledge: AdversaryKnowledge) -> None:
    """Refuse a link of a model with heads: its embeddings are measured as the heads'.

    Raises:
        EvaluationError: The channel is such a link.
    """
    if is_link(knowledge.channel) and knowledge.audited.logits:
        raise EvaluationError(
            Fault("a link has no embedding of its own", do="Read the heads' lines.")
        )


def _concatenated(signals: Signals, pair: tuple[str, str]) -> Floats | None:
    """Both embeddings of a link, side by side, for a model that has neither heads nor a joint one."""
    both = [signals.embedding[name] for name in pair if name in signals.embedding]
    return np.hstack(both) if len(both) == 2 else None
