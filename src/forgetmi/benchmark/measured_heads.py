"""The heads that a benchmark's models are measured by, from whatever was measured first."""

from __future__ import annotations

from forgetmi.benchmark.results import Results
from forgetmi.core.scores import Evaluation
from forgetmi.evaluation.gaps import GAP_JOINT, single_heads

# What nothing measured is shown as: the heads of today's models
_NOTHING = (("image", "text"), "both")


def heads_of_results(results: Results) -> tuple[tuple[str, ...], str]:
    """The single heads of a benchmark's models, and the name of all of them together; "" = there is only one.

    Args:
        results: Of a grid, whose models have the same heads.
    """
    for model in results.models:
        if model.evaluation is not None:
            return single_heads(model.evaluation), joint_head(model.evaluation)
    return _NOTHING


def joint_head(evaluation: Evaluation) -> str:
    """The name under which all heads together are measured; "" = nothing is."""
    for scores in evaluation.scores.values():
        for score in scores:
            if score.name == GAP_JOINT:
                return score.head
    return ""
