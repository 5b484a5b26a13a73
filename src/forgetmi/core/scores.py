"""Measured numbers with their intervals, and all of them of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from forgetmi.core.errors import EvaluationError, Fault, SpecError
from forgetmi.core.json_text import parse_json, read_json
from forgetmi.core.plain_text import Source
from forgetmi.core.serialization import from_plain

_WHAT = "the measurement"
_DO = "Restore the file, or give the run's command again, which makes it anew."


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
        head: A head, all of them together ("both", "all"), or a link between two modalities.
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
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            EvaluationError: It is damaged, or something else.
        """
        where = "metrics.json"
        stored = parse_json(text, where=where, what=_WHAT, do=_DO, error=EvaluationError)
        return cls._from_plain(stored, where)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of what `to_json` wrote.

        Args:
            path: The metrics.json of a run, or a file like it.

        Raises:
            EvaluationError: It is missing, damaged, or something else.
        """
        stored = read_json(path, what=_WHAT, do=_DO, error=EvaluationError)
        return cls._from_plain(stored, path.name)

    @classmethod
    def _from_plain(cls, values: Any, where: str) -> Self:
        """Scores of each model, told apart from failures by their kind."""
        try:
            stored = from_plain(_Stored, values, where=where, complete=True)
            scores = {}
            for model, entries in stored.scores.items():
                scores[model] = tuple(_from_plain(entry, where) for entry in entries)
        except SpecError as error:
            why = "; ".join(fault.what for fault in error.faults[:3])
            raise Source(where, _WHAT, _DO, EvaluationError).refused(why) from None
        return cls(scores, stored.notes)


@dataclass(frozen=True)
class _Stored:
    """The form of metrics.json."""

    scores: Mapping[str, tuple[Any, ...]]
    notes: tuple[str, ...]


def _to_plain(score: Score | Failed) -> dict[str, Any]:
    values = {field.name: getattr(score, field.name) for field in fields(score)}
    if isinstance(score, Failed):
        return {"kind": "failed", **values}

    # JSON has no NaN, and a reader must not take one for a measurement.
    if not math.isfinite(score.value):
        raise ValueError(f"{score.name} on {score.on} is not finite; report it as Failed")
    return {"kind": "score", **values}


def _from_plain(values: Any, where: str) -> Score | Failed:
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in ("score", "failed"):
        raise SpecError(
            Fault("a score is neither measured nor failed", where=where, why="its kind", do=_DO)
        )

    # The kind tells the class, and is no field of it.
    rest = {name: value for name, value in values.items() if name != "kind"}
    return from_plain(Score if kind == "score" else Failed, rest, where=where, complete=True)
