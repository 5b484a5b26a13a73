"""What the numbers say, in words: differences with their resolution, never a verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score

NOT_RESOLVABLE = "not resolvable"
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"  # not text
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)  # bidirectional controls


@dataclass(frozen=True)
class Term:
    """How a measure is called in a report, and what it means for a reader who is no engineer."""

    label: str
    meaning: str


_GAP = (
    "Mean difference to the retrained models over five measures (AUC and F1 on withdrawn and on test patients, "
    "membership flag rate). An average: it can be small while single predictions are far off."
)
_FLOOR, _LARGEST = "Own gap, mean", "Own gap, largest"
TERMS = {
    "auc": Term(
        "AUC", "How well the model puts the right class first: 0.5 is guessing, 1 is perfect."
    ),
    "f1": Term(
        "F1",
        "How well the chosen classes match the labels, averaged over the classes: 1 is perfect.",
    ),
    "accuracy": Term("Accuracy", "Share of images whose class the model gets right."),
    "pairwise_auc": Term("Pairwise AUC", "AUC of each pair of grades, averaged."),
    "ordinal_auc": Term("Ordinal AUC", "AUC of being above each grade, averaged."),
    "severity_mse": Term(
        "Severity error", "Mean squared error of the expected grade: 0 is perfect."
    ),
    "sample_mia": Term(
        "Membership flag rate",
        "Share of images that a membership test takes for training data. Its "
        "target is the rate of never-seen patients and of retrained models, not 0.",
    ),
    "never_seen_flag_rate": Term(
        "Flag rate, never-seen",
        "The same share for patients whom no model was trained on: the false alarms of the test.",
    ),
    "loss_auc": Term(
        "Loss AUC",
        "How often an image is more familiar to the model than one of a never-seen patient: "
        "0.5 is no difference; below 0.5 gives a patient away as well.",
    ),
    "pair_auc": Term(
        "Pairing AUC", "The same for how tightly image and report are linked: 0.5 is no difference."
    ),
    "gap": Term("Gap to retraining", _GAP),
    "gap_joint": Term("Gap to retraining", _GAP),
    "gap_floor": Term(_FLOOR, ""),
    "gap_joint_floor": Term(_FLOOR, ""),
    "gap_floor_largest": Term(_LARGEST, ""),
    "gap_joint_floor_largest": Term(_LARGEST, ""),
    "jsf": Term(
        "JSf",
        "Mean disagreement with the retrained models, image by image (Jensen-Shannon divergence): "
        "0 is the same prediction, 0.69 is certain of different classes.",
    ),
    "loss_spearman": Term(
        "Rank agreement of losses",
        "Whether the same images are easy and hard as for the retrained "
        "models (Spearman correlation): 1 is the same order, 0 is no relation.",
    ),
    "original_symmetric_kl": Term(
        "Divergence from the original",
        "How much predictions differ from the original’s: "
        "0 is the same; differences of confident predictions weigh heavily.",
    ),
    "original_cosine": Term(
        "Angle to the original", "One minus the cosine of the outputs: 0 is the same direction."
    ),
}
HEADS = {"image": "image head", "text": "report head", "both": "both heads"}
SETS = {
    "forget": "withdrawn patients",
    "test": "never-seen test patients",
    "retain": "remaining patients",
}


@dataclass(frozen=True)
class Reading:
    """One measure for the original, the unlearned and the retrained models; None = that model does not have it.

    Args:
        name, head, on: Which measure, of which head, on which set.
        original, unlearned: Score, or why there is none.
        retrains: Scores of the retrained models.
        failed: The retrained models' failures.
    """

    name: str
    head: str
    on: str
    original: Score | Failed | None
    unlearned: Score | Failed | None
    retrains: tuple[Score, ...]
    failed: tuple[Failed, ...]

    @property
    def term(self) -> str:
        """The measure's name."""
        return term(self.name)

    @property
    def label(self) -> str:
        """The measure's name with its head."""
        return label(self)

    @property
    def meaning(self) -> str:
        """The measure in plain words."""
        return TERMS[self.name].meaning if self.name in TERMS else ""

    @property
    def retrained(self) -> tuple[float, float, float] | None:
        """Mean, lowest and highest of the retrained models."""
        values = [score.value for score in self.retrains]
        return (float(np.mean(values)), min(values), max(values)) if values else None

    @property
    def counts(self) -> tuple[int, int] | None:
        """Patients and images the unlearned model's score (or any other) rests on."""
        for score in (self.unlearned, self.original, *self.retrains):
            if isinstance(score, Score):
                return score.patients, score.images
        return None


def term(name: str) -> str:
    """A measure's name for readers; unknown ones without underscores."""
    return TERMS[name].label if name in TERMS else name.replace("_", " ")


def label(one: Score | Failed | Reading) -> str:
    """A measure's name with its head."""
    return f"{term(one.name)}, {HEADS.get(one.head, one.head)}" if one.head else term(one.name)


def read(
    evaluation: Evaluation,
    names: Iterable[str] | None = None,
    *,
    on: Iterable[str] | None = None,
    heads: Iterable[str] | None = None,
) -> list[Reading]:
    """All readings of a run's models, in the evaluation's order, that match; None = any.

    Args:
        evaluation: All scores.
        names, on, heads: Measures, sets and heads to keep.
    """
    wanted = [None if one is None else set(one) for one in (names, heads, on)]
    keys = dict.fromkeys(
        (s.name, s.head, s.on)
        for model, scores in evaluation.scores.items()
        if model in ("original", "unlearned") or is_retrained(model)
        for s in scores
    )
    kept = [
        key
        for key in keys
        if all(w is None or part in w for part, w in zip(key, wanted, strict=True))
    ]
    return [_reading(evaluation, *key) for key in kept]


def _reading(evaluation: Evaluation, name: str, head: str, on: str) -> Reading:
    def of(model: str) -> Score | Failed | None:
        found = [
            s
            for s in evaluation.scores.get(model, ())
            if (s.name, s.head, s.on) == (name, head, on)
        ]
        return found[0] if found else None

    retrains = [of(model) for model in evaluation.scores if is_retrained(model)]
    return Reading(
        name,
        head,
        on,
        of("original"),
        of("unlearned"),
        tuple(s for s in retrains if isinstance(s, Score)),
        tuple(s for s in retrains if isinstance(s, Failed)),
    )


def told_apart(one: Score, others: Sequence[Score]) -> bool:
    """Whether the intervals allow to tell a model from others on one measure.

    They do when the model's 95 % interval stays clear of the range of the others' values and its value lies in none of
    the others' intervals. The rule is the same in both directions and errs towards "not resolvable": intervals over
    the same patients are correlated, which it does not use.

    Args:
        one: The model's score.
        others: One or more scores of the same measure.

    Returns:
        False also where an interval is missing.
    """
    if one.interval is None or any(other.interval is None for other in others) or not others:
        return False
    low, high = min(other.value for other in others), max(other.value for other in others)
    clear = one.interval[1] < low or one.interval[0] > high
    return clear and not any(
        o.interval[0] <= one.value <= o.interval[1] for o in others if o.interval is not None
    )


@dataclass(frozen=True)
class ScoreDifference:
    """A model's value minus the others' mean, and whether the intervals allow to tell them apart."""

    text: str
    resolvable: bool

    @property
    def words(self) -> str:
        """ "resolvable" or "not resolvable"."""
        return "resolvable" if self.resolvable else NOT_RESOLVABLE


def difference(
    one: Score | Failed | None, others: Sequence[Score | Failed | None]
) -> ScoreDifference | None:
    """How a model differs from others on one measure; None where a value is missing."""
    scores = [other for other in others if isinstance(other, Score)]
    if not isinstance(one, Score) or not scores:
        return None
    return ScoreDifference(
        signed(one.value - float(np.mean([s.value for s in scores]))), told_apart(one, scores)
    )


def clean(text: str) -> str:
    """Text from outside without control characters, halves of letters and marks that turn the reading direction."""
    return _UNWANTED.sub("", text)


def brief(text: str, letters: int = 22) -> str:
    """Text that fits beside a figure; the end of a longer one is cut."""
    whole = " ".join(clean(text).split())
    return whole if len(whole) <= letters else whole[: letters - 1] + "…"


def plain(value: float, digits: int = 2) -> str:
    """A number as text, without a minus before zero."""
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference as text, with its sign."""
    text = plain(value, digits)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def with_interval(score: Score, digits: int = 2) -> str:
    """A value with its 95 % interval in words."""
    if score.interval is None:
        return plain(score.value, digits)
    return (
        f"{plain(score.value, digits)} (95 % interval {plain(score.interval[0], digits)} to "
        f"{plain(score.interval[1], digits)})"
    )


def many(number: int, noun: str) -> str:
    """A count with its noun: "1 patient", "1,198 images", "3 studies"."""
    if number == 1:
        return f"1 {noun}"
    return (
        f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("dy") else f"{number:,} {noun}s"
    )


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    if seconds < 120:
        return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def sentence(reading: Reading, *, digits: int = 2) -> str:
    """Before, after and retrained on one measure, and what the intervals allow to say."""
    head = f" of the {HEADS.get(reading.head, reading.head)}" if reading.head else ""
    start = (
        (f"On the {SETS.get(reading.on, reading.on)}, " if reading.on else "") + reading.term + head
    )
    for kind, score in (("original", reading.original), ("unlearned", reading.unlearned)):
        if not isinstance(score, Score):
            return f"{start}: not measured for the {kind} model: {score.reason if score else 'no value was given'}"
    assert isinstance(reading.original, Score)
    assert isinstance(reading.unlearned, Score)
    text = f"{start} was {plain(reading.original.value, digits)} and is now {with_interval(reading.unlearned, digits)}"
    if reading.retrained is None:
        return f"{text}; there is no retrained model to compare with."
    _, low, high = reading.retrained
    n = len(reading.retrains)
    span = (
        f"reaches {plain(low, digits)}"
        if n == 1
        else f"reach {plain(low, digits)} to {plain(high, digits)}"
    )
    moved = told_apart(reading.unlearned, [reading.original])
    away = told_apart(reading.unlearned, reading.retrains)
    if moved or away:
        change, rest = ("resolvable" if found else NOT_RESOLVABLE for found in (moved, away))
        said = f"the change from the original is {change}, the difference to the retrained models {rest}"
    else:
        said = "neither the change from the original nor the difference to the retrained models is resolvable"
    return f"{text}; {many(n, 'retrained model')} {span}. With {many(reading.unlearned.patients, 'patient')} {said}."


def nearer(readings: Sequence[Reading]) -> str:
    """How many measures lie nearer to the retrained models than to the original, and how many are not resolvable."""
    full = [
        r
        for r in readings
        if isinstance(r.original, Score) and isinstance(r.unlearned, Score) and r.retrains
    ]
    if not full:
        return "no measure has a value for the original, the unlearned and a retrained model."
    near = apart = 0
    for r in full:
        assert isinstance(r.original, Score)
        assert isinstance(r.unlearned, Score)
        assert r.retrained is not None
        near += abs(r.unlearned.value - r.retrained[0]) < abs(r.unlearned.value - r.original.value)
        apart += told_apart(r.unlearned, r.retrains)
    lie = "lies" if near == 1 else "lie"
    return (
        f"{near} of {many(len(full), 'measure')} {lie} nearer to the mean of the retrained models than to "
        f"the original; on {len(full) - apart} of {len(full)} the difference to them is {NOT_RESOLVABLE}."
    )


def largest_change(readings: Sequence[Reading]) -> str:
    """The largest change between original and unlearned among some measures."""
    changes = [
        (r.unlearned.value - r.original.value, r)
        for r in readings
        if isinstance(r.original, Score) and isinstance(r.unlearned, Score)
    ]
    if not changes:
        return "no measure has a value for both the original and the unlearned model."
    change, r = max(changes, key=lambda pair: abs(pair[0]))
    assert isinstance(r.original, Score)
    assert isinstance(r.unlearned, Score)
    resolved = "resolvable" if told_apart(r.unlearned, [r.original]) else NOT_RESOLVABLE
    return (
        f"the largest change is {signed(change)} ({r.label}, {SETS.get(r.on, r.on)}: {plain(r.original.value, 3)} "
        f"before, {plain(r.unlearned.value, 3)} now), {resolved}."
    )
