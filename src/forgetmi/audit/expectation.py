"""What an audit can show at all, said before anything is measured: the interval to expect, and whether it will do."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from forgetmi.audit.rule import Rule

# How far apart two retrained models rank a never-seen patient, as a standard deviation on a scale from 0 to 1: the
# image head's in `forgetmi demo` (the others' are .23). Models that agree more give narrower intervals.
USUAL_SPREAD = 0.24
LEAST = 2  # forgotten patients, never-seen patients and retrained models without which nothing is measured
MOST_PATIENTS = 100_000


@dataclass(frozen=True)
class Expectation:
    """What the audit of a withdrawal is expected to show, at best.

    Args:
        patients: Who withdraw.
        never_seen: Patients they are compared with, counted as equally weighted ones.
        retrained: Models retrained without them.
        margin: Of the rule.
        channels: How many the rule judges.
        spread: Standard deviation of the difference of a never-seen patient's rank (0 to 1) under two retrained models.
        half_width: Of the interval of a channel, if the new model is as near to retraining as retrained models are to
            each other; None = nothing can be measured.
        can_show: Whether FORGOTTEN can be said then.
        chance: Probability that it is said then, if channels err independently.
        patients_needed: Fewest patients with whom FORGOTTEN can be said; None = no number of patients is enough.
        lacking: What is missing to measure anything, in words; "" = nothing is.
    """

    patients: int
    never_seen: float
    retrained: int
    margin: float
    channels: int
    spread: float
    half_width: float | None
    can_show: bool
    chance: float
    patients_needed: int | None
    lacking: str = ""


def expectation(
    *,
    patients: int,
    never_seen: float,
    retrained: int,
    rule: Rule,
    spread: float = USUAL_SPREAD,
) -> Expectation:
    """What an audit can show with so many patients and models.

    Use it before a withdrawal is carried out: where FORGOTTEN cannot be shown, that is known beforehand.

    S is the mean over forgotten patients of their rank among the never-seen ones. Of two models that differ by `spread`
    s, one audited against r retrained ones, the difference of S has the variance s^2/2 (1 + 1/r) (1/n + 1/m); the
    verdict's bootstrap adds that of drawing the retrained models, s^2/2 (1/r) (1/n + 1/m).

    Args:
        patients: n, who withdraw, >= 0.
        never_seen: m, whom they are compared with, as equally weighted ones, >= 0.
        retrained: r, models retrained without them, >= 0.
        rule: Margin and level of the verdict.
        spread: s, in [0, 0.6].

    Examples:
        >>> few = expectation(patients=3, never_seen=42, retrained=3, rule=Rule())
        >>> round(few.half_width, 2), few.can_show, few.patients_needed
        (0.26, False, 33)
    """
    lacking = _lacking(patients, never_seen, retrained)
    half_width = None
    chance = 0.0
    if not lacking:
        half_width = _half_width(patients, never_seen, retrained, rule, spread)
        chance = _chance(half_width, retrained, rule)

    return Expectation(
        patients=patients,
        never_seen=never_seen,
        retrained=retrained,
        margin=rule.margin,
        channels=len(rule.channels),
        spread=spread,
        half_width=half_width,
        can_show=half_width is not None and half_width < rule.margin,
        chance=chance,
        patients_needed=_patients_needed(never_seen, retrained, rule, spread),
        lacking=lacking,
    )


def sentences(expected: Expectation) -> list[str]:
    """The expectation in words, for whoever decides."""
    if expected.lacking:
        return [f"This audit cannot say FORGOTTEN: {expected.lacking}."]

    assert expected.half_width is not None
    who = _count(expected.patients, "patient")
    numbers = (
        f"the interval is expected to reach at least {expected.half_width:.2f} to either side, the margin is "
        f"{expected.margin:g}"
    )

    # What is said if the new model is as near to retraining as can be
    if expected.can_show:
        percent = round(100 * expected.chance)
        odds = f"about {percent} %" if percent else "less than 1 %"
        return [
            f"With {who} this audit could say FORGOTTEN: {numbers}. Where the new model is as near to retraining as "
            f"retrained models are to each other, it would say so in {odds} of such withdrawals."
        ]

    first = f"With {who} this audit cannot say FORGOTTEN: {numbers}"
    if expected.patients_needed is None:
        more = "no number of patients would do: more never-seen patients or retrained models are needed"
    else:
        more = f"with {expected.patients_needed} it could"
    return [f"{first}; {more}. Memory that is left can be found all the same, if it is large."]


def _lacking(patients: int, never_seen: float, retrained: int) -> str:
    """What is missing to measure anything."""
    found = {
        "retrained model": retrained,
        "forgotten patient": patients,
        "never-seen patient": int(never_seen),
    }
    short = [_count(number, name) for name, number in found.items() if number < LEAST]
    if not short:
        return ""
    return f"it takes at least {LEAST} of each, and there {_is(short)} {', '.join(short)}"


def _half_width(
    patients: float, never_seen: float, retrained: int, rule: Rule, spread: float
) -> float:
    variance = spread**2 / 2 * (1 + 2 / retrained) * (1 / patients + 1 / never_seen)
    return _z(rule) * sqrt(variance)


def _chance(half_width: float, retrained: int, rule: Rule) -> float:
    """Probability that the interval of every channel lies within the margin."""
    from scipy.stats import norm

    room = rule.margin - half_width
    if room <= 0:
        return 0.0

    # What the number itself varies by, without the bootstrap's own part
    share = (1 + 1 / retrained) / (1 + 2 / retrained)
    error = half_width / _z(rule) * sqrt(share)
    one = 1.0 if error == 0 else float(2 * norm.cdf(room / error) - 1)
    return one ** len(rule.channels)


def _patients_needed(never_seen: float, retrained: int, rule: Rule, spread: float) -> int | None:
    """Fewest patients whose interval is narrower than the margin."""
    if never_seen < LEAST or retrained < LEAST:
        return None

    # What is left of the margin for 1 / patients
    per_patient = _z(rule) ** 2 * spread**2 / 2 * (1 + 2 / retrained)
    if per_patient == 0:
        return LEAST
    left = rule.margin**2 / per_patient - 1 / never_seen
    if left <= 1 / MOST_PATIENTS:
        return None
    return max(LEAST, ceil(1 / left + 1e-9))


def _z(rule: Rule) -> float:
    """Half-width of the rule's interval in standard errors."""
    from scipy.stats import norm

    return float(norm.ppf((1 + rule.level) / 2))


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _is(counts: list[str]) -> str:
    return "is" if len(counts) == 1 and counts[0].startswith("1 ") else "are"
