"""The evaluation in words: differences with their resolution, never a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.core.scores import Failed, Score
from forgetmi.report.number_text import many, plain, signed, with_interval
from forgetmi.report.readings import NOT_RESOLVABLE, Reading, resolvable, told_apart
from forgetmi.report.terms import head_name, set_name


def sentence(reading: Reading, *, digits: int = 2) -> str:
    """Before, after and retrained on one measure, and what the intervals allow to say."""
    start = _start(reading)
    original, unlearned = reading.original, reading.unlearned

    # A model without a value
    if not isinstance(original, Score):
        return f"{start}: not measured for the original model: {_reason(original)}"
    if not isinstance(unlearned, Score):
        return f"{start}: not measured for the unlearned model: {_reason(unlearned)}"

    # Before and after
    before = plain(original.value, digits)
    text = f"{start} was {before} and is now {with_interval(unlearned, digits)}"
    if reading.retrained is None:
        return f"{text}; there is no retrained model to compare with."

    # The retrained models' range, and what is resolvable
    models = many(len(reading.retrains), "retrained model")
    patients = many(unlearned.patients, "patient")
    return (
        f"{text}; {models} {_range(reading, digits)}. "
        f"With {patients} {_resolution(original, unlearned, reading.retrains)}."
    )


def nearer(readings: Sequence[Reading]) -> str:
    """How many measures lie nearer to the retrained models than to the original, and how many are not resolvable."""
    complete = near = apart = 0
    for reading in readings:
        original, unlearned, retrained = reading.original, reading.unlearned, reading.retrained
        if not isinstance(original, Score) or not isinstance(unlearned, Score) or not retrained:
            continue

        # Distance to both
        to_retrained = abs(unlearned.value - retrained[0])
        to_original = abs(unlearned.value - original.value)
        complete += 1
        near += to_retrained < to_original
        apart += told_apart(unlearned, reading.retrains)

    if not complete:
        return "no measure has a value for the original, the unlearned and a retrained model."
    lie = "lies" if near == 1 else "lie"
    return (
        f"{near} of {many(complete, 'measure')} {lie} nearer to the mean of the retrained models than to "
        f"the original; on {complete - apart} of {complete} the difference to them is {NOT_RESOLVABLE}."
    )


def largest_change(readings: Sequence[Reading]) -> str:
    """The largest change between original and unlearned among some measures."""
    largest: tuple[Reading, Score, Score] | None = None
    size = -1.0
    for reading in readings:
        original, unlearned = reading.original, reading.unlearned
        if not isinstance(original, Score) or not isinstance(unlearned, Score):
            continue

        # The first of equal changes
        change = abs(unlearned.value - original.value)
        if change > size:
            largest, size = (reading, original, unlearned), change

    if largest is None:
        return "no measure has a value for both the original and the unlearned model."
    reading, original, unlearned = largest
    change = signed(unlearned.value - original.value)
    apart = told_apart(unlearned, [original])
    return (
        f"the largest change is {change} ({reading.label}, {set_name(reading.on)}: {plain(original.value, 3)} "
        f"before, {plain(unlearned.value, 3)} now), {resolvable(apart)}."
    )


def _start(reading: Reading) -> str:
    """Which measure a sentence is about."""
    # "" = the measure has no set, or no head
    group = f"On the {set_name(reading.on)}, " if reading.on else ""
    head = f" of the {head_name(reading.head)}" if reading.head else ""
    return group + reading.term + head


def _reason(score: Failed | None) -> str:
    return score.reason if score else "no value was given"


def _range(reading: Reading, digits: int) -> str:
    """What the retrained models reach."""
    # One retrained model has no range
    values = [score.value for score in reading.retrains]
    low, high = plain(min(values), digits), plain(max(values), digits)
    if len(values) == 1:
        return f"reaches {low}"
    return f"reach {low} to {high}"


def _resolution(original: Score, unlearned: Score, retrains: Sequence[Score]) -> str:
    # Against the original, and against the retrained models
    moved = told_apart(unlearned, [original])
    away = told_apart(unlearned, retrains)

    if not moved and not away:
        return "neither the change from the original nor the difference to the retrained models is resolvable"
    return (
        f"the change from the original is {resolvable(moved)}, "
        f"the difference to the retrained models {resolvable(away)}"
    )
