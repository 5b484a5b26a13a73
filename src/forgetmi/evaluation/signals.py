"""What follows directly from a model's outputs: log-probabilities, margins, losses, and image-report cosines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np

from forgetmi.core.arrays import Flags, Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures

# The name of one head of a model, or "both" (of two) or "all" (of more) for all of them together
Head: TypeAlias = str
BOTH = "both"
ALL = "all"


def heads_of(signals: Signals) -> tuple[Head, ...]:
    """The heads a model is measured by: each of its own, and all together where there are several.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> heads_of(toy_knowledge().signals["original"])
        ('image', 'text', 'both')
    """
    own = tuple(signals.logits)
    if len(own) < 2:
        return own
    return (*own, BOTH if len(own) == 2 else ALL)


def is_together(head: Head) -> bool:
    """Whether a name stands for all heads of a model together.

    Examples:
        >>> is_together("both"), is_together("image")
        (True, False)
    """
    return head in (BOTH, ALL)


def has_inputs(signals: Signals, head: Head) -> Flags:
    """Bool[n], which rows have what a head reads; of all heads together, what at least one of them reads.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> bool(has_inputs(toy_knowledge().signals["original"], "both").all())
        True
    """
    if not is_together(head):
        return signals.there(head)
    return np.any([signals.there(one) for one in signals.logits], axis=0)


def finite_logits(signals: Signals, head: Head) -> Floats:
    """Float[n, k], the logits of a single head.

    Raises:
        EvaluationError: They are not finite (the model diverged), or the model has no such head.
    """
    logits = signals.of_head(head)
    bad = int((~np.isfinite(logits).all(1)).sum())
    if bad:
        raise EvaluationError(
            Fault(
                f"the {head} logits of {bad} of {len(logits)} images are not finite",
                why="the model diverged",
            )
        )
    return logits


def predictions(signals: Signals, head: Head, task: TaskMeasures) -> Floats:
    """What one head, or all heads together, predict, in the form that the task measures.

    A row that lacks the modality of some heads is predicted by the others alone.

    Args:
        signals: n samples.
        head: A head of the model, or "both" or "all".
        task: The cohort's task.

    Returns:
        Float[n, ...]; see `forgetmi.core.task.TaskMeasures.predictions`.

    Raises:
        EvaluationError: Logits are not finite, or the model has no such head.
    """
    if not is_together(head):
        return task.predictions(finite_logits(signals, head))
    single = [predictions(signals, one, task) for one in signals.logits]
    return _of_those_there(signals, single, task.together)


def log_probabilities(signals: Signals, head: Head) -> Floats:
    """Log-probabilities of a head; "both" is the log of the mean of all heads' probabilities.

    Returns:
        Float[n, k].

    Raises:
        EvaluationError: Logits are not finite (the model diverged), or the model has no such head.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> original = toy_knowledge().signals["original"]
        >>> np.exp(log_probabilities(original.select([0]), "both")).round(3)
        array([[0.999, 0.001, 0.001]])
    """
    if is_together(head):
        single = [log_probabilities(signals, one) for one in signals.logits]
        return _of_those_there(signals, single, mean_probability)
    return log_softmax(finite_logits(signals, head))


def _of_those_there(
    signals: Signals, single: Sequence[Floats], together: Callable[[Sequence[Floats]], Floats]
) -> Floats:
    """What all heads predict together, row by row of the heads whose modality the row has; of all where it has none."""
    everyone = together(single)
    there = np.array([signals.there(head) for head in signals.logits])
    there |= ~there.any(axis=0)
    if there.all():
        return everyone

    # Rows that lack the same modalities at once
    found = np.array(everyone)
    for pattern in np.unique(there, axis=1).T:
        rows = (there == pattern[:, None]).all(axis=0)
        heads = [place for place, has in enumerate(pattern) if has]
        found[rows] = together([single[head][rows] for head in heads])
    return found


def mean_probability(single: Sequence[Floats]) -> Floats:
    """Logarithm of the mean of several heads' probabilities, from their logarithms Float[n, k]."""
    return reduce(np.logaddexp, single) - np.log(len(single))


def log_softmax(logits: Floats) -> Floats:
    """Float[n, k], log-probabilities of a softmax over finite logits Float[n, k]."""
    # Imported here, because specifications import this module and need no scipy.
    from scipy import special

    return special.log_softmax(logits, axis=1)


def margin(log_probability: Floats, label: Ints) -> Floats:
    """Logit margin phi = log p_y - log(1 - p_y): larger = more like a training sample (Carlini et al. 2022, LiRA).

    Computed as log p_y - logsumexp of the other classes, exact also where p_y rounds to 1.

    Args:
        log_probability: Float[n, k].
        label: Int[n], 0..k-1, none unknown.

    Examples:
        >>> margin(np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0, 1])).round(3)
        array([ 0.   , -2.197])
    """
    images = np.arange(len(label))

    # Every class but the true one
    others = np.array(log_probability)
    others[images, label] = -np.inf
    from scipy.special import logsumexp  # here for the same reason

    return log_probability[images, label] - logsumexp(others, axis=1)


def cross_entropy(log_probability: Floats, label: Ints) -> Floats:
    """Loss of each sample, -log p_y = log(1 + exp(-phi)) in nats; Float[n].

    Examples:
        >>> cross_entropy(np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0, 1])).round(3)
        array([0.693, 2.303])
    """
    return np.logaddexp(0.0, -margin(log_probability, label))


def pair_cosine(signals: Signals, pair: tuple[str, str] = (IMAGE, TEXT)) -> Floats:
    """Cosine between each image's embedding and its own report's: how tightly the pair is linked; Float[n].

    Args:
        signals: n samples.
        pair: Names of the two modalities.


    Raises:
        EvaluationError: The model has no embeddings (an ensemble), of unequal width, zero, or not finite.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> original = toy_knowledge().signals["original"]
        >>> pair_cosine(original.select([0, 1])).round(2)
        array([0.99, 0.94])
    """
    image, text = (signals.embedding.get(name) for name in pair)
    if image is None or text is None:
        raise EvaluationError(Fault("the model has no embeddings", why="e.g. an ensemble"))
    if image.shape != text.shape:
        raise EvaluationError(
            Fault(
                f"{pair[0]} and {pair[1]} embeddings differ in width",
                why=f"{image.shape} and {text.shape}",
            )
        )

    # In double precision: float32 rounds near 1
    image, text = image.astype(np.float64), text.astype(np.float64)
    norm = np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1)
    if not np.isfinite(norm).all() or not norm.all():
        raise EvaluationError(
            Fault("some embeddings are zero or not finite", why="the model diverged or collapsed")
        )

    return (image * text).sum(1) / norm
