"""The sentence that each figure is read with, after "What to see"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forgetmi.audit.rows import PatientRow, RelearnCurve
from forgetmi.evaluation.attacks.relearn_area import excess_area
from forgetmi.report.number_text import many, percent, plain, signed
from forgetmi.report.verdict_text import named

NO_LOSS = "No loss could be computed for this head."


# Evaluation


def trade_off(
    before: float, after: float, retrained: Sequence[float], change: float, quality: str = "AUC"
) -> str:
    """Gap to retraining before and after, and what it cost in use.

    Args:
        before, after: Gap of the original and of the unlearned model.
        retrained: Gaps of the retrained models among themselves.
        change: Change of quality on never-seen patients.
        quality: Name of the measure of quality.
    """
    text = f"The gap went from {plain(before, 3)} to {plain(after, 3)}"
    if retrained:
        low, high = plain(min(retrained), 3), plain(max(retrained), 3)
        text += f" (retrained models among themselves: {low} to {high})"
    return f"{text}, and {quality} on never-seen patients changed by {signed(change)}."


def losses(shares: Mapping[str, float], models: Mapping[str, int]) -> str:
    """Median loss of withdrawn patients as a share of never-seen patients'.

    Args:
        shares: Kind of model to that share.
        models: Kind of model to how many there are.
    """
    # A small share needs a digit after the point
    parts = []
    for kind, share in shares.items():
        digits = 0 if share > 0.1 else 1
        noun = "models" if models[kind] > 1 else "model"
        parts.append(f"{plain(100 * share, digits)} % with the {kind} {noun}")

    listed = ", ".join(parts[:-1])
    if len(parts) > 1:
        listed += " and "
    return (
        "The withdrawn patients’ median loss, as a share of the never-seen patients’, is "
        f"{listed}{parts[-1]}."
    )


# Audit


def deltas(inside: int, remembered: int, channels: int) -> str:
    """Channels within the margin, and channels on which the original shows memory."""
    return (
        f"The new model’s whole interval lies within the margin on {inside} of {many(channels, 'channel')}; the "
        f"original’s is above 0 on {remembered}."
    )


def without_false_alarm(rates: Mapping[str, Sequence[float]]) -> str:
    """Share of withdrawn patients an attack finds without any false alarm.

    Args:
        rates: "original", "unlearned" or "retrain" to the rates of its models.
    """
    # In this order
    names = {
        "original": "the original",
        "unlearned": "the new model",
        "retrain": "retrained models",
    }
    parts = []
    for kind, name in names.items():
        if kind not in rates:
            continue

        # Several retrained models give a range
        low, high = percent(min(rates[kind])), percent(max(rates[kind]))
        found = low if low == high else f"{low} to {high}"
        parts.append(f"{found} % with {name}")
    return ", ".join(parts)


def patients(
    *, inside: int, withdrawn: int, never_seen: int, outstanding: Sequence[PatientRow]
) -> str:
    """How many withdrawn patients lie where never-seen ones do, and who stands out.

    Args:
        inside: Withdrawn patients among the middle 95 % of never-seen ones.
        withdrawn, never_seen: How many there are.
        outstanding: Those who stand out after correction.
    """
    return (
        f"{inside} of {many(withdrawn, 'withdrawn patient')} lie where 95 % of {never_seen} never-seen "
        f"patients lie; {_stand_out(outstanding)} after correction."
    )


def furthest(shown: int) -> str:
    """Not all patients are drawn."""
    return f" Drawn: the {shown} furthest up and down."


def first_of(shown: int) -> str:
    """Not all rows are drawn."""
    return f" Drawn: the first {shown}."


def subgroups(*, excluding: int, with_interval: int, too_few: int) -> str:
    """How many subgroups are told apart; about one in twenty is by chance."""
    return (
        f"The interval excludes 0.5 in {excluding} of {many(with_interval, 'subgroup')} with an interval (about one in "
        f"twenty does by chance); in {too_few} there are too few patients to say."
    )


def harm(rows: int, outcomes: str) -> str:
    """How many are served worse."""
    return f"Of {many(rows, 'row')}: {outcomes}."


def relearning(curves: Sequence[RelearnCurve]) -> str:
    """After how many epochs the taught patients' loss is back at the original's, and how much area lies above it."""
    unlearned = [curve for curve in curves if curve.model == "unlearned"]
    retrained = [curve for curve in curves if curve.model.startswith("retrain")]

    parts = []
    if unlearned:
        parts.append(f"the new model {_epochs(unlearned)}")
    if retrained:
        parts.append(f"retrained models {_epochs(retrained)}")

    # 1 = as if never seen
    area, of_retrained = _mean_area(unlearned), _mean_area(retrained)
    if unlearned and of_retrained > 0:
        parts.append(f"area above it {plain(area / of_retrained)} of theirs")
    return "; ".join(parts)


def _mean_area(curves: Sequence[RelearnCurve]) -> float:
    """Mean area between the curves of the taught patients and the original's loss; 0 without curves."""
    areas = [excess_area(np.array(curve.taught), curve.taught_threshold) for curve in curves]
    return float(np.mean(areas)) if areas else 0.0


def _stand_out(outstanding: Sequence[PatientRow]) -> str:
    if not outstanding:
        return "none stands out"
    verb = "stands" if len(outstanding) == 1 else "stand"
    return f"{named(outstanding)} {verb} out"


def _epochs(curves: Sequence[RelearnCurve]) -> str:
    # The same time is said once
    times = set()
    for curve in curves:
        waited = "not within " if curve.censored else ""
        times.add(f"{waited}{many(curve.epochs, 'epoch')}")
    return " or ".join(sorted(times))
