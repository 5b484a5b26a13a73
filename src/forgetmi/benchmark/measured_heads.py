"""The heads and measures of a benchmark's models, from whatever was measured first."""

from __future__ import annotations

from forgetmi.benchmark.results import Results
from forgetmi.core.scores import Evaluation
from forgetmi.evaluation.gaps import GAP_JOINT, single_heads
from forgetmi.report.table_columns import Column, columns_of

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


def columns_of_results(results: Results) -> tuple[Column, ...]:
    """The measures that a benchmark's main table shows, by the task of whatever was measured first."""
    return columns_of(_first(results))


def scored(results: Results) -> frozenset[str]:
    """Names of the scores of whatever was measured first; none where nothing was."""
    scores = _first(results).scores.values()
    return frozenset(score.name for of_model in scores for score in of_model)


def _first(results: Results) -> Evaluation:
    for model in results.models:
        if model.evaluation is not None:
            return model.evaluation
    return Evaluation({})


def joint_head(evaluation: Evaluation) -> str:
    """The name under which all heads together are measured; "" = nothing is."""
    for scores in evaluation.scores.values():
        for score in scores:
            if score.name == GAP_JOINT:
                return score.head
    return ""
