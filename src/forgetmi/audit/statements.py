"""Every sentence of a signed audit: reasons of the channels, what could be shown at all, what was left out or harmed.

Digests and signatures cover these sentences: changing one changes every record that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.rows import Control, DrawSummary, HarmRow, PatientRow, RetainedRisk
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import Verdict
from forgetmi.evaluation.channels import Channel

UNCHANGED = 0.8  # share of the original's separation from which on nothing was forgotten
UNVERIFIABLE = (
    "Nothing could be measured against retrained models: whether these patients were forgotten is "
    "unverifiable."
)


# Reasons of a channel's outcome


def more_separable(change: DeltaEstimate) -> str:
    """NOT FORGOTTEN."""
    return f"more separable than under retraining: {_estimate(change)}"


def less_separable(change: DeltaEstimate) -> str:
    """OVER-FORGOTTEN by separability."""
    return f"less separable than under retraining: {_estimate(change)}"


def less_accurate(loss: DeltaEstimate) -> str:
    """OVER-FORGOTTEN by accuracy."""
    return f"accuracy on forgotten images below retraining's: {_estimate(loss)}"


def equivalent(rule: Rule, change: DeltaEstimate) -> str:
    """FORGOTTEN."""
    return f"within {rule.margin:g} of retraining: {_estimate(change)}"


def too_wide(change: DeltaEstimate) -> str:
    """NOT RESOLVABLE."""
    return f"the interval is too wide to tell: {_estimate(change)}"


def _estimate(number: DeltaEstimate) -> str:
    return f"{number.value:+.3f} [{number.low:+.3f}, {number.high:+.3f}]"


def no_verdict(reason: str) -> str:
    """NOT RESOLVABLE, because it is not known who is never seen."""
    return f"no verdict: {reason}"


# What the data could show at all


def refused(reason: str) -> str:
    """Why there is no verdict, whatever was measured."""
    return (
        f"No verdict is given: {reason}. Patients who are called never seen here may have been trained on. Name those "
        "it was trained on (--given.trained-on), or add patients whom it cannot have seen (split: reference)."
    )


def power(forgotten: int, effective: float, detectable: float) -> str:
    """The smallest AUC that so many patients can tell from chance."""
    return (
        f"With {forgotten} forgotten patients and never-seen ones worth {effective:.0f}, an AUC below {detectable:.2f} "
        "cannot be told from 0.5."
    )


def width(rule: Rule, half_width: float) -> Iterator[str]:
    """Whether the widest interval could lie within the margin."""
    if half_width >= rule.margin:
        yield (
            f"The intervals reach up to {half_width:.2f} to either side, the margin is {rule.margin:g}: FORGOTTEN "
            "could not have been shown. More forgotten patients (several disjoint forget draws) narrow them."
        )


def memory(silent: Sequence[Channel], *, any_memory: bool) -> Iterator[str]:
    """On which channels the original shows no memory of the patients.

    Args:
        silent: These channels.
        any_memory: Whether it shows some on another.
    """
    if not any_memory:
        yield "The original shows no memory of these patients, so there was nothing to test."
    elif silent:
        yield (
            f"The original shows no memory of these patients on: {', '.join(silent)}; nothing was tested there."
        )


def loose_rule(rule: Rule, there: Sequence[Channel]) -> Iterator[str]:
    """In what the declared rule asks for less than the default one.

    Args:
        rule: As declared.
        there: Every channel of the model.
    """
    # Margins wider than the default
    margins = (
        ("AUC", rule.margin, Rule.margin),
        ("accuracy on forgotten images", rule.forget_margin, Rule.forget_margin),
    )
    for measure, margin, default in margins:
        if margin > default:
            yield (
                f"The rule allows a difference up to {margin:g} in {measure}, more than the {default:g} "
                "of the default rule."
            )

    # Channels left out
    judged = rule.judged(there)
    not_judged = [channel for channel in there if channel not in judged]
    if not_judged:
        yield (
            f"The rule does not judge: {', '.join(not_judged)}. What can be told there is no part of the "
            "verdict."
        )

    # Less confidence
    if rule.level < Rule.level:
        yield (
            f"The rule's confidence is {rule.level:g}, less than the {Rule.level:g} of the default rule."
        )


# What belongs to every verdict


def statements(
    verdict: Verdict,
    *,
    draws: Sequence[DrawSummary],
    controls: Sequence[Control],
    patients: Sequence[PatientRow],
    harm: Sequence[HarmRow],
    retained: Sequence[RetainedRisk],
    level: float,
    not_applicable: Sequence[str] = (),
    pooled: int = 0,
) -> tuple[str, ...]:
    """Everything a reader must know with the verdict, the rule's own statements first.

    Args:
        verdict: By the rule.
        draws, controls, patients, harm, retained: As in `forgetmi.audit.result.Audit`.
        level: Share of wrongly named patients among those named.
        not_applicable: What the audit has not, because of the labels' task (`forgetmi.audit.task_limits`).
        pooled: Forget sets whose references are those of a standing pool.
    """
    return (
        *verdict.statements,
        *_of_pool(pooled, len(draws)),
        *_earlier(draws),
        *_copies_retained(patients),
        *_never_seen_left_out(draws),
        *_unchanged(verdict),
        *_named(patients, level),
        *_controls(controls),
        *_harm("all held-out patients", [row for row in harm if not row.column]),
        *_harm("subgroups", [row for row in harm if row.column]),
        *_retained(retained),
        *not_applicable,
    )


def _of_pool(pooled: int, draws: int) -> Iterator[str]:
    if not pooled:
        return
    which = "The references" if pooled == draws else f"The references of {pooled} of {draws} runs"
    yield (
        f"{which} were not retrained for this request: of each patient they say what models of a standing pool say "
        "that never saw the patient, each trained on a part of the training side. What is called retraining is that."
    )


def _earlier(draws: Sequence[DrawSummary]) -> Iterator[str]:
    for draw in draws:
        if not draw.earlier:
            continue

        patients = _count(draw.earlier, "patient", "patients")
        verb = "is" if draw.earlier == 1 else "are"
        place = "this verdict" if len(draws) == 1 else f"what {draw.name} adds to this verdict"
        yield (
            f"{patients} whom earlier requests had forgotten {verb} not part of {place}: "
            "it is about those who are forgotten now."
        )


def _copies_retained(patients: Sequence[PatientRow]) -> Iterator[str]:
    names = [row.patient for row in patients if row.near_duplicate]
    if names:
        patients_have = _count(len(names), "withdrawn patient has", "withdrawn patients have")
        yield (
            f"Near-duplicate retained: {patients_have} a "
            f"copy under a retained patient ({_list(names)}). What the model knows of it, it knows from the copy, as "
            "a retrained model does: this is no failure to forget, and they are not part of the verdict."
        )


def _never_seen_left_out(draws: Sequence[DrawSummary]) -> Iterator[str]:
    # The same patient may be left out of several draws
    seen: set[str] = set()
    for draw in draws:
        seen |= set(draw.left_out)

    if seen:
        patients = _count(len(seen), "patient", "patients")
        verb = "was" if len(seen) == 1 else "were"
        yield (
            f"{patients} counted as never seen had a copy of something withdrawn "
            f"and {verb} left out of the comparison."
        )


def _unchanged(verdict: Verdict) -> Iterator[str]:
    # Channels on which the original remembers the patients
    remembering = []
    for channel in verdict.channels:
        if channel.deltas is not None and channel.deltas.original.low > 0:
            remembering.append(channel.deltas)

    unchanged = [
        deltas.unlearned.value >= UNCHANGED * deltas.original.value for deltas in remembering
    ]
    if remembering and all(unchanged):
        yield (
            "Did not forget: on every channel where the original remembers these patients, the unlearned model "
            f"gives them away at least {UNCHANGED:.0%} as much as the original does."
        )


def _named(patients: Sequence[PatientRow], level: float) -> Iterator[str]:
    scored = [row for row in patients if not row.near_duplicate and "any" in row.channels]
    if not scored:
        return

    # Single patients who stand out
    remembered = [row.patient for row in scored if row.remembered]
    if remembered:
        yield (
            "Single patients: is still remembered after correction for all patients asked about: "
            f"{_list(remembered)}."
        )
    over_forgotten = [row.patient for row in scored if row.over_forgotten]
    if over_forgotten:
        yield (
            "Single patients: was forgotten too visibly after correction for all patients asked about: "
            f"{_list(over_forgotten)}."
        )

    # Whether a single one could have been named in the largest draw
    draws = [row.draw for row in scored]
    largest = max(draws.count(draw) for draw in set(draws))
    compared = min(row.channels["any"].compared for row in scored)
    if 1 / (compared + 1) > level / largest:
        yield (
            f"A single remembered patient among {largest} could not have been named: that takes "
            f"{int(largest / level + 0.5)} never-seen patients to compare with, there are {compared}."
        )


def _controls(controls: Sequence[Control]) -> Iterator[str]:
    wrong = []
    for control in controls:
        if control.model != "original" and control.outcome == "NOT FORGOTTEN":
            wrong.append(control.model)

    if wrong:
        yield (
            f"The same rule calls {_list(wrong)}, trained without these patients, NOT FORGOTTEN: retrained models "
            "differ too much among themselves to be a reference."
        )


def _harm(group: str, rows: Sequence[HarmRow]) -> Iterator[str]:
    # Shown harm, each with its loss
    worse = [_loss(row) for row in rows if row.outcome == "harmed"]
    if worse:
        yield f"Harm to {group}: {'; '.join(worse)}."

    # Harm that the data cannot rule out
    unclear = [row for row in rows if row.outcome == "not resolvable"]
    if unclear:
        yield (
            f"Harm to {group} cannot be ruled out in {len(unclear)} of {len(rows)} comparisons: their intervals "
            "reach beyond the margin."
        )


def _loss(row: HarmRow) -> str:
    subgroup = f"{row.column} {row.value}, " if row.column else ""
    return (
        f"{subgroup}{row.head} {row.metric} "
        f"{row.difference:+.3f} against retraining (margin {row.margin:g})"
    )


def _retained(retained: Sequence[RetainedRisk]) -> Iterator[str]:
    risen = sum(len(risk.risen) for risk in retained)
    if risen:
        patients_are = _count(risen, "retained patient is", "retained patients are")
        yield (
            f"{patients_are} easier to recognise as training "
            "patients after unlearning than retraining would make them."
        )

    # Too few retrained models for a single patient's p-value to survive correction
    blind = []
    for risk in retained:
        if risk.smallest_p > 0.05 / risk.patients and not risk.risen:
            blind.append(risk)
    if blind:
        yield (
            "A single retained patient at higher risk could not have been named: too few retrained models to "
            "compare with; only several at once would show."
        )


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _list(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    shown = ", ".join(names[:most])
    if len(names) > most:
        shown += f" and {len(names) - most} more"
    return shown
