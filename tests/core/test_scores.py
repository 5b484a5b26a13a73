"""Scores as JSON."""

from __future__ import annotations

import pytest

from forgetmi.core.scores import Evaluation, Failed, Score


def test_evaluations_survive_json_and_refuse_nan() -> None:
    score = Score("auc", 0.5, (0.4, 0.6), 3, 9, "closer", 0.55, "image", "forget")
    whole = Evaluation({"original": (score, Failed("f1", "no labels", "image", "test"))}, ("note",))
    assert Evaluation.from_json(whole.to_json()) == whole
    with pytest.raises(ValueError, match="not finite"):
        Evaluation({"m": (Score("auc", float("nan"), None, 1, 1, "higher"),)}).to_json()
    with pytest.raises(KeyError):
        whole.get("original", "auc", head="text", on="forget")
