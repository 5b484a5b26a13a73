"""Measured numbers with their intervals, and all of them of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from forgetmi.core.errors import EvaluationError, Fault


@dataclass(frozen=True)
class Score:
    """One measured number with its interval.

    Args:
        name: What was measured, e.g. "auc", "f1", "sample_mia".
        value: The number.
        interval: 95 % interval, bootstrap over patients; None where it is not defined (see `note`).
        patients, images: How many the value rests on.
        better: Which direction is good; "closer" = closer to `reference`.
        reference: The mean over the retrained models, where there are any.
        head: "image", "text" or "both".
        on: The set it was measured on.
        note: One sentence where the number needs it.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    patients: int
    images: int
    better: Literal["higher", "lower", "closer"]
    reference: float | None = None
    head: str = ""
    on: str = ""
    note: str = ""


@dataclass(frozen=True)
class Failed:
    """A measurement that could not be made, and why; never a silent default."""

    name: str
    reason: str
    head: str = ""
    on: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All scores of all models of a run.

    Args:
        scores: Model name ("original", "unlearned", "retrain-0", ...) to its scores.
        notes: What the reader must know about all of them.
    """

    scores: Mapping[str, tuple[Score | Failed, ...]]
    notes: tuple[str, ...] = ()

    def get(self, model: str, name: str, *, head: str = "", on: str = "") -> Score | Failed:
        """One score.

        Raises:
            KeyError: It was not measured.
        """
        for score in self.scores[model]:
            if (score.name, score.head, score.on) == (name, head, on):
                return score
        raise KeyError(f"{model}: {name} (head {head!r}, on {on!r}) was not measured")

    def to_json(self) -> str:
        """Stable JSON; NaN is never written."""
        # Each score with the word that tells it from a failure.
        plain: dict[str, list[dict[str, Any]]] = {}
        for model, scores in self.scores.items():
            plain[model] = [_to_plain(score) for score in scores]

        stored = {"scores": plain, "notes": list(self.notes)}
        text = json.dumps(stored, indent=1, sort_keys=True, allow_nan=False)
        return f"{text}\n"

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Read what `to_json` wrote.

        Raises:
            EvaluationError: It is damaged, or something else.
        """
        try:
            stored = json.loads(text)
            scores = {}
            for model, values in stored["scores"].items():
                scores[model] = tuple(map(_from_plain, values))
            return cls(scores, tuple(stored["notes"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(
                Fault(
                    "the measurement cannot be read",
                    where="metrics.json",
                    why=type(error).__name__,
                    do="Restore the file, or give the run's command again, which makes it anew.",
                )
            ) from error


def _to_plain(score: Score | Failed) -> dict[str, Any]:
    values = {field.name: getattr(score, field.name) for field in fields(score)}
    if isinstance(score, Failed):
        return {"kind": "failed", **values}

    # JSON has no NaN, and a reader must not take one for a measurement.
    if not math.isfinite(score.value):
        raise ValueError(f"{score.name} on {score.on} is not finite; report it as Failed")
    return {"kind": "score", **values}


def _from_plain(values: dict[str, Any]) -> Score | Failed:
    values = dict(values)
    kind = values.pop("kind")
    if kind == "failed":
        return Failed(**values)

    # JSON has lists in place of tuples.
    if values["interval"] is not None:
        values["interval"] = tuple(values["interval"])
    return Score(**values)
