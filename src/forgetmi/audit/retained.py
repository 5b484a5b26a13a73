"""Retained patients: whose membership became easier to tell than retraining would have made it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault


@dataclass(frozen=True, eq=False)
class Rise:
    """One number per retained patient.

    Args:
        score: Float[n], of the channel that rose most: signal under the unlearned model less its mean under retrained
            ones, centred on never-seen patients, in standard deviations of what retrained models differ by.
        channel: Int[n], which channel that is.
        p_adjusted: Float[n], of a score as high, after Benjamini-Hochberg over the patients.
        smallest_p: The smallest p-value before correction that these models and patients can give.
    """

    score: Floats
    channel: Ints
    p_adjusted: Floats
    smallest_p: float


def rise(
    *, unlearned: Floats, retrained: Floats, never_unlearned: Floats, never_retrained: Floats
) -> Rise:
    """Find retained patients who stand out more under the unlearned model than one retrained model does among others.

    The reference are the retrained models themselves, each against the rest, over all retained patients and with the
    same maximum over the channels; a mean of fewer models scatters more, which is allowed for. A shift that
    never-seen patients share tells nothing about membership and is taken off.

    Args:
        unlearned: Float[c, n], signals of n retained patients through c channels.
        retrained: Float[c, r, n], under r >= 2 retrained models.
        never_unlearned, never_retrained: Float[c], Float[c, r], mean signals of never-seen patients.

    Raises:
        EvaluationError: Fewer than two retrained models, or they do not differ.
    """
    # Without two models there is no spread
    models = retrained.shape[1]
    if models < 2:
        raise EvaluationError(Fault("at least two retrained models are needed"))

    # Each retrained model against the others: how much models differ without any unlearning
    changes = []
    for index in range(models):
        changes.append(
            _change(
                retrained[:, index],
                np.delete(retrained, index, 1),
                never_retrained[:, index],
                np.delete(never_retrained, index, 1),
            )
        )
    among = np.stack(changes, axis=1)

    spread = np.sqrt((among**2).mean((1, 2)))
    if not (spread > 0).all():
        raise EvaluationError(
            Fault("the retrained models do not differ", why="there is no scale to judge by")
        )

    # The unlearned model against all retrained ones, on that scale; the largest channel counts
    change = _change(unlearned, retrained, never_unlearned, never_retrained)
    standardised = change / spread[:, None]
    score = standardised.max(0)

    # Empirical p-values: the same largest channel among the retrained models
    null = np.sort((among / spread[:, None, None]).max(0).ravel())
    above = len(null) - np.searchsorted(null, score, "left")
    p = (1 + above) / (1 + len(null))

    return Rise(
        score=score,
        channel=standardised.argmax(0).astype(np.int64),
        p_adjusted=false_discovery_control(p),
        smallest_p=1 / (1 + len(null)),
    )


def _change(model: Floats, others: Floats, never: Floats, never_others: Floats) -> Floats:
    """Float[c, n], signals under one model less their mean under others, centred on never-seen patients.

    Divided by what the mean of few models scatters more.

    Args:
        model, others: Float[c, n], Float[c, r, n].
        never, never_others: Float[c], Float[c, r], mean signals of never-seen patients.
    """
    raw = model - others.mean(1)
    shift = never - never_others.mean(1)
    return (raw - shift[:, None]) / np.sqrt(1 + 1 / others.shape[1])
