"""The sentences that belong to every verdict: what could be shown at all, what was left out, who was harmed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from forgetmi.audit.rows import Control, DrawSummary, HarmRow, PatientRow, RetainedRisk
from forgetmi.audit.verdict import Verdict

UNCHANGED = (
    0.8  # share of the original's separation from which on nothing was forgotten to speak of
)


def statements(
    verdict: Verdict,
    *,
    draws: Sequence[DrawSummary],
    controls: Sequence[Control],
    patients: Sequence[PatientRow],
    harm: Sequence[HarmRow],
    retained: Sequence[RetainedRisk],
    level: float,
) -> tuple[str, ...]:
    """Everything a reader must know beside the verdict, the rule's own statements first.

    Args:
        verdict: By the rule.
        draws, controls, patients, harm, retained: As in `forgetmi.audit.result.Audit`.
        level: Share of wrongly named patients among those named.
    """
    return (
        *verdict.statements,
        *_earlier(draws),
        *_duplicates(patients, draws),
        *_unchanged(verdict),
        *_named(patients, level),
        *_controls(controls),
        *_harm(harm),
        *_retained(retained),
    )


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _earlier(draws: Sequence[DrawSummary]) -> Iterator[str]:
    for one in draws:
        if one.earlier:
            what = "this verdict" if len(draws) == 1 else f"what {one.name} adds to this verdict"
            yield (
                f"{_count(one.earlier, 'patient', 'patients')} whom earlier requests had forgotten "
                f"{'is' if one.earlier == 1 else 'are'} not part of {what}: it is about those who are forgotten "
                "now."
            )


def _duplicates(patients: Sequence[PatientRow], draws: Sequence[DrawSummary]) -> Iterator[str]:
    kept = [row.patient for row in patients if row.near_duplicate]
    if kept:
        yield (
            f"Near-duplicate retained: {_count(len(kept), 'withdrawn patient has', 'withdrawn patients have')} a "
            f"copy under a retained patient ({_list(kept)}). What the model knows of it, it knows from the copy, as "
            "a retrained model does: this is no failure to forget, and they are not part of the verdict."
        )
    seen = {patient for one in draws for patient in one.left_out}
    if seen:
        yield (
            f"{_count(len(seen), 'patient', 'patients')} counted as never seen had a copy of something withdrawn "
            f"and {'was' if len(seen) == 1 else 'were'} left out of the comparison."
        )


def _unchanged(verdict: Verdict) -> Iterator[str]:
    tested = [
        one.deltas
        for one in verdict.channels
        if one.deltas is not None and one.deltas.original.low > 0
    ]
    if tested and all(one.unlearned.value >= UNCHANGED * one.original.value for one in tested):
        yield (
            "Did not forget: on every channel where the original remembers these patients, the unlearned model "
            f"gives them away at least {UNCHANGED:.0%} as much as the original does."
        )


def _named(patients: Sequence[PatientRow], level: float) -> Iterator[str]:
    scored = [row for row in patients if not row.near_duplicate and "any" in row.channels]
    if not scored:
        return
    for flag, what in (
        ("remembered", "is still remembered"),
        ("over_forgotten", "was forgotten too visibly"),
    ):
        named = [row.patient for row in scored if getattr(row, flag)]
        if named:
            yield f"Single patients: {what} after correction for all patients asked about: {_list(named)}."
    asked = max(sum(row.draw == draw for row in scored) for draw in {row.draw for row in scored})
    compared = min(row.channels["any"].compared for row in scored)
    if 1 / (compared + 1) > level / asked:
        yield (
            f"A single remembered patient among {asked} could not have been named: that takes "
            f"{int(asked / level + 0.5)} never-seen patients to compare with, there are {compared}."
        )


def _controls(controls: Sequence[Control]) -> Iterator[str]:
    wrong = [
        one.model for one in controls if one.model != "original" and one.outcome == "NOT FORGOTTEN"
    ]
    if wrong:
        yield (
            f"The same rule calls {_list(wrong)}, trained without these patients, NOT FORGOTTEN: retrained models "
            "differ too much among themselves to be a reference."
        )


def _harm(harm: Sequence[HarmRow]) -> Iterator[str]:
    for name, rows in (
        ("all held-out patients", [row for row in harm if not row.column]),
        ("subgroups", [row for row in harm if row.column]),
    ):
        worse = [row for row in rows if row.outcome == "harmed"]
        if worse:
            yield (
                f"Harm to {name}: "
                + "; ".join(
                    f"{row.column + ' ' + row.value + ', ' if row.column else ''}{row.head} {row.metric} "
                    f"{row.difference:+.3f} against retraining (margin {row.margin:g})"
                    for row in worse
                )
                + "."
            )
        unclear = [row for row in rows if row.outcome == "not resolvable"]
        if unclear:
            yield (
                f"Harm to {name} cannot be ruled out in {len(unclear)} of {len(rows)} comparisons: their intervals "
                "reach beyond the margin."
            )


def _retained(retained: Sequence[RetainedRisk]) -> Iterator[str]:
    risen = [row for one in retained for row in one.risen]
    if risen:
        yield (
            f"{_count(len(risen), 'retained patient is', 'retained patients are')} easier to recognise as training "
            "patients after unlearning than retraining would make them."
        )
    blind = [one for one in retained if one.smallest_p > 0.05 / one.patients and not one.risen]
    if blind:
        yield (
            "A single retained patient at higher risk could not have been named: too few retrained models to "
            "compare with; only several at once would show."
        )


def _list(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
