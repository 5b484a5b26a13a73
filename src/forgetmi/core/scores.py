"""Measured numbers with their intervals, and all of them of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from forgetmi.core.errors import EvaluationError, Fault, SpecError
from forgetmi.core.json_text import parse_json, read_json
from forgetmi.core.notebook import html_table, number, span
from forgetmi.core.plain_text import Source
from forgetmi.core.serialization import from_plain

if TYPE_CHECKING:  # a table is made only where one is asked for
    from pandas import DataFrame

_WHAT = "the measurement"
_DO = "Restore the file, or give the run's command again, which makes it anew."


# What an evaluation can be drawn as
PLOTS = ("losses", "trade_off", "patients")


class Picture(Protocol):
    """A figure that a notebook shows by itself; see `forgetmi.report.picture.SvgPicture`."""

    def _repr_html_(self) -> str: ...

    def save(self, path: Path | str) -> Path:
        """Write it as an SVG file."""
        ...


class Draw(Protocol):
    """Draws an evaluation from the outputs it was measured on."""

    def __call__(self, evaluation: Evaluation, kind: str) -> Picture: ...


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        place = "".join(f", {word}" for word in (self.head, self.on) if word)
        interval = f" ({span(self.interval)})" if self.interval else ""
        reference = f", retrained {self.reference:.3f}" if self.reference is not None else ""
        return f"Score({self.name}{place}: {self.value:.3f}{interval}{reference})"

    def _repr_html_(self) -> str:
        return html_table("Score", _COLUMNS[1:], [_cells("", self)[1:]])


@dataclass(frozen=True)
class Failed:
    """A measurement that could not be made, and why; never a silent default."""

    name: str
    reason: str
    head: str = ""
    on: str = ""


_COLUMNS = ("model", "measure", "head", "on", "value", "95 % interval", "retrained", "patients")


def _cells(model: str, score: Score | Failed) -> tuple[str, ...]:
    """A score as a row of a table."""
    place = (model, score.name, score.head, score.on)
    if isinstance(score, Failed):
        return (*place, f"not measured: {score.reason}", "", "", "")
    value, interval = number(score.value), span(score.interval)
    return (*place, value, interval, number(score.reference), str(score.patients))


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All scores of all models of a run.

    Args:
        scores: Model name ("original", "unlearned", "retrain-0", ...) to its scores.
        notes: What the reader must know about all of them.
        draw: Draws it, where the outputs it was measured on are at hand; no part of what is stored.
    """

    scores: Mapping[str, tuple[Score | Failed, ...]]
    notes: tuple[str, ...] = ()
    draw: Draw | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        count = sum(map(len, self.scores.values()))
        return f"Evaluation({', '.join(self.scores) or 'no model'}: {count} scores)"

    def _repr_html_(self) -> str:
        rows = []
        for model, scores in self.scores.items():
            rows += [_cells(model, score) for score in scores]
        return html_table("Scores with 95 % intervals over patients", _COLUMNS, rows)

    def rows(self) -> list[dict[str, Any]]:
        """One plain row per model and score; failed ones keep their reason.

        Returns:
            Rows with the same columns: model, name, head, on, value, low, high, patients, images, better, reference,
            note, failed. A missing number is None.
        """
        # The columns of a score; a failed one has only some of them
        columns = [column.name for column in fields(Score)]
        rows = []
        for model, scores in self.scores.items():
            for score in scores:
                stored = asdict(score)
                row = {"model": model}
                row |= {name: stored.get(name) for name in columns}
                row["failed"] = stored.get("reason")

                # The interval becomes two columns.
                bounds = row.pop("interval") or (None, None)
                row["low"], row["high"] = bounds
                rows.append(row)
        return rows

    def to_frame(self) -> DataFrame:
        """A pandas data frame with the columns of `rows`.

        Examples:
            >>> evaluation = Evaluation({"original": (Failed("auc", "no labels", "image", "test"),)})
            >>> evaluation.to_frame()[["model", "name", "failed"]].values.tolist()
            [['original', 'auc', 'no labels']]
        """
        from pandas import DataFrame

        columns = [column.name for column in fields(Score) if column.name != "interval"]
        return DataFrame(self.rows(), columns=["model", *columns, "low", "high", "failed"])

    def plot(self, kind: str = "losses") -> Picture:
        """Draw it.

        Args:
            kind: "losses" (loss distributions of withdrawn and never-seen patients under each model), "trade_off"
                (distance to retraining against use) or "patients" (each withdrawn patient among never-seen ones).

        Returns:
            A picture that a notebook shows by itself; `save` writes it as SVG.

        Raises:
            EvaluationError: There is no such kind, or it was read from a file, without the outputs it was measured on.
        """
        if kind not in PLOTS:
            raise EvaluationError(
                Fault("there is no such plot", do=f"Choose one of {', '.join(PLOTS)}.")
            )
        if self.draw is None:
            raise EvaluationError(
                Fault(
                    "the evaluation cannot be drawn",
                    why="it was read from a file, without the outputs it was measured on",
                    do="Measure the stored signals again: forgetmi.evaluate.",
                )
            )
        return self.draw(self, kind)

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
