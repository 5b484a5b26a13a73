"""The channels a patient can be given away by: each head, all heads together, and each link between two modalities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypeAlias

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import IMAGE, JOINT, TEXT, TODAYS_HEADS
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.link import contrast
from forgetmi.evaluation.signals import heads_of, predictions
from forgetmi.evaluation.tasks import ClassMeasures

Channel: TypeAlias = str

LINK = "link"

# The channels of a model with an image and a text head
TODAYS_CHANNELS: tuple[Channel, ...] = (*TODAYS_HEADS, "both", LINK)


def channels_of(signals: Signals) -> tuple[Channel, ...]:
    """Every channel of a model: its heads, all of them together, and a link for each pair of embedded modalities.

    A model with an image and a text head has four, also where it lacks embeddings (an ensemble): its link is then a
    channel that cannot be measured.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> channels_of(toy_knowledge().signals["original"])
        ('image', 'text', 'both', 'link')
    """
    modalities = [name for name in signals.embedding if name != JOINT]
    if tuple(signals.logits) == TODAYS_HEADS and set(modalities) <= set(TODAYS_HEADS):
        return TODAYS_CHANNELS
    return (*heads_of(signals), *links_of(modalities))


def links_of(modalities: Sequence[str]) -> tuple[Channel, ...]:
    """The link of each pair of modalities: "link" where there is one pair, else "link-image-text" and so on.

    Examples:
        >>> links_of(("image", "text")), links_of(("image", "text", "table"))
        (('link',), ('link-image-text', 'link-image-table', 'link-text-table'))
    """
    pairs = list(combinations(modalities, 2))
    if len(pairs) == 1:
        return (LINK,)
    return tuple(f"{LINK}-{first}-{second}" for first, second in pairs)


def is_link(channel: Channel) -> bool:
    """Whether a channel is a link between two modalities, which needs no label.

    Examples:
        >>> is_link("link-image-table"), is_link("image")
        (True, False)
    """
    return channel.partition("-")[0] == LINK


def linked(channel: Channel, signals: Signals) -> tuple[str, str]:
    """The two modalities of a link.

    Raises:
        EvaluationError: "link" does not say which, because the model has several pairs.
    """
    named = channel.split("-")[1:]
    if len(named) == 2:
        return named[0], named[1]

    # The only pair there is; without embeddings, today's, whose absence is then reported
    modalities = [name for name in signals.embedding if name != JOINT]
    if len(modalities) > 2:
        links = ", ".join(links_of(modalities))
        raise EvaluationError(Fault("the model has several links", do=f"Name one of: {links}."))
    return (modalities[0], modalities[1]) if len(modalities) == 2 else (IMAGE, TEXT)


def channel_signal(
    signals: Signals, channel: str, *, gallery: Signals, task: TaskMeasures | None = None
) -> Floats:
    """One number per sample, larger = more like a training sample: the task's signal of a head, or a link's contrast.

    Args:
        signals: n samples; of a head's channel all labelled.
        channel: Which: a head of the model, "both" or "all" for all of them together, or a link.
        gallery: For a link, signals of the same model whose reports are compared (`forgetmi.evaluation.link`).
        task: Of the cohort; None = classes, whose signal is the logit margin.

    Raises:
        EvaluationError: Logits are not finite, or the model has no embeddings.

    Examples:
        The original remembers image 0, which was in its training, better than a retrained model does.

        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> signals = toy_knowledge().signals
        >>> for name in ("original", "retrain-0"):
        ...     first = signals[name].select([0])
        ...     print(name, channel_signal(first, "image", gallery=signals[name]).round(1))
        original [6.1]
        retrain-0 [-2.8]
    """
    if is_link(channel):
        return contrast(signals, gallery, pair=linked(channel, signals))

    # What the head says of the true label
    task = task or ClassMeasures()
    return task.signal(predictions(signals, channel, task), signals.label)
