"""How far the predictions of two models are apart on the same images."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault


def cosine_distance(a: Floats, b: Floats) -> Floats:
    """1 - cosine of two models' logits, per image (the Forget-MI release reports its mean on the retain set).

    The one distance here that changes when a constant is added to the logits of an image.

    Args:
        a, b: Float[n, k] logits.

    Returns:
        Float[n], 0 (same direction) to 2.

    Raises:
        EvaluationError: Some logits are all zero.

    Examples:
        >>> cosine_distance(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 3.0]]))
        array([1., 0.])
    """
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not norm.all():
        raise EvaluationError(
            Fault("the logits of some images are all zero, which have no direction")
        )

    cosine = (a * b).sum(1) / norm
    return 1 - cosine


def symmetric_kl(log_p: Floats, log_q: Floats) -> Floats:
    """KL(p || q) + KL(q || p) in nats, per image (Jeffreys divergence).

    Args:
        log_p, log_q: Float[n, k] log-probabilities.

    Examples:
        >>> symmetric_kl(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])).round(3)
        array([0.275])
    """
    return ((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q)).sum(1)


def jensen_shannon(log_p: Floats, log_q: Floats) -> Floats:
    """Jensen-Shannon divergence in nats, per image: 0 (same prediction) to ln 2 (Lin 1991).

    Written in the difference of the log-probabilities, so that equal predictions give exactly 0.

    Args:
        log_p, log_q: Float[n, k] log-probabilities.

    Examples:
        >>> jensen_shannon(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])).round(3)
        array([0.034])
    """
    difference = log_q - log_p

    # KL divergence of each prediction from the mean of both; that mean is never computed.
    from_p = np.exp(log_p) * (np.log(2) - np.logaddexp(0.0, difference))
    from_q = np.exp(log_q) * (np.log(2) - np.logaddexp(0.0, -difference))

    return np.clip((from_p + from_q).sum(1) / 2, 0.0, np.log(2))
