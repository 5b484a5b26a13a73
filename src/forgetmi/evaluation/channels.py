"""The channels a patient can be given away by: image head, text head, both heads, and the image-report link."""

from __future__ import annotations

from typing import Literal

from forgetmi.core.arrays import Floats
from forgetmi.core.signals import Signals
from forgetmi.evaluation.link import contrast
from forgetmi.evaluation.signals import log_probabilities, margin

Channel = Literal["image", "text", "both", "link"]
CHANNELS: tuple[Channel, ...] = ("image", "text", "both", "link")


def channel_signal(signals: Signals, channel: str, *, gallery: Signals) -> Floats:
    """One number per image, larger = more like a training sample: the logit margin of a head, or the link's contrast.

    Args:
        signals: n images; of a head's channel all labelled.
        channel: Which: a head of the model, "both" for all of them together, or "link".
        gallery: For the link, signals of the same model whose reports are compared (`forgetmi.evaluation.link`).

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
    if channel == "link":
        return contrast(signals, gallery)

    # The margin of the true class, for a head
    log_probability = log_probabilities(signals, channel)
    return margin(log_probability, signals.label)
