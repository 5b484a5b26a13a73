"""The audit's verdict on models whose answer is known, from the stored signals of a benchmark; no model is run.

    python studies/planted.py [--into docs/audit_checked.md] OPTIONS

OPTIONS are those the benchmark was made with (`forgetmi benchmark OPTIONS`), best with several --draws, which are
pooled, and --cohort.reference-patients 600. The cases, per training seed:

- identity: the original handed out as unlearned; must be NOT FORGOTTEN;
- NegGrad+ at the rate asked for; must be OVER-FORGOTTEN;
- each retrained model against the others; must not be NOT FORGOTTEN;
- every other method: whatever it is;
- one remembered patient: a retrained model to which one patient's memory is added;
- a near-duplicate: such a patient with a copy under a retained one; must be named as the reason.

Exit status 1 when a case that must hold does not; the table is written all the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.auditor import audit
from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import forget_draw
from forgetmi.audit.patient_scores import KnowledgeByChannel, score_draw
from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.audit.verdict import Outcome, Verdict
from forgetmi.core.arrays import Ints
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.channels import TODAYS_CHANNELS, Channel
from pages import command, put, rows
from stored_grid import LEGEND, ORIGINAL, SHORT, ForgetSet, Seen, read_grid, seen_by

RULE = Rule()
LEVEL = AuditSpec().false_discovery
MUST_BE: Mapping[str, Outcome] = {"neg_grad_plus": "OVER-FORGOTTEN"}
NEVER: Outcome = "NOT FORGOTTEN"
STRENGTHS = (
    None,
    3.0,
    5.0,
    8.0,
)  # standard deviations added; None = what the original knows of the patient
REFERENCES = (0, 150, 300, 600)


@dataclass(frozen=True)
class Case:
    """A line of the first table."""

    name: str
    seed: int
    sets: int
    verdict: Verdict
    expected: str
    right: bool | None

    def cells(self) -> list[str]:
        """As words."""
        found = []
        for one in self.verdict.channels:
            change = one.deltas and one.deltas.unlearned
            found.append(
                SHORT[one.outcome]
                + (
                    f" {change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
                    if change
                    else ""
                )
            )
        right = {True: "yes", False: "**no**", None: ""}[self.right]
        return [
            self.name,
            str(self.seed),
            f"{self.verdict.forgotten} ({self.sets})",
            self.verdict.outcome,
            *found,
            self.expected,
            right,
        ]


def judge(sets: Sequence[ForgetSet], target: str) -> Verdict:
    """The verdict on one model of each set, pooled."""
    return decide(
        RULE,
        {
            channel: [forget_draw(one.knowledge[channel].with_target(target)) for one in sets]
            for channel in TODAYS_CHANNELS
        },
    )


def cases(seed: int, sets: Sequence[ForgetSet], settings: Mapping[str, str]) -> Iterator[Case]:
    """The models as they are."""
    verdict = judge(sets, ORIGINAL)
    yield Case("identity (the original)", seed, len(sets), verdict, NEVER, verdict.outcome == NEVER)
    for name in sets[0].retrains:
        verdict = judge(sets, name)
        yield Case(
            f"{name} against the others",
            seed,
            len(sets),
            verdict,
            f"never {NEVER}",
            verdict.outcome != NEVER,
        )
    for label, kind in settings.items():
        there = [one for one in sets if label in one.signals]
        if there:
            verdict, expected = judge(there, label), MUST_BE.get(kind)
            yield Case(
                label,
                seed,
                len(there),
                verdict,
                expected or "reported",
                None if expected is None else verdict.outcome == expected,
            )


def fewer(one: ForgetSet, count: int) -> Partition:
    """The partition with that many reference patients, drawn at random."""
    reference, patient = one.partition.reference, one.partition.patient
    people = np.unique(patient[reference])
    kept = numpy_generator(one.seed, "planted", "references", one.draw).permutation(people)[:count]
    return replace(one.partition, reference=reference[np.isin(patient[reference], kept)])


def planted(
    seen: Mapping[Channel, Seen], at: int, strength: float | None
) -> Mapping[Channel, Seen]:
    """The audited retrained model with one patient's memory added on every channel."""
    found: dict[Channel, Seen] = {}
    for channel, one in seen.items():
        signal = one.values[one.audited]["forget"].copy()
        if strength is None:
            signal[at] = one.values[ORIGINAL]["forget"][at]
        else:
            others = np.mean([one.values[name]["holdout"] for name in one.retrained], axis=0)
            signal[at] += strength * np.std(one.values[one.audited]["holdout"] - others)
        found[channel] = replace(
            one, values={**one.values, one.audited: {**one.values[one.audited], "forget": signal}}
        )
    return found


def single(sets: Sequence[ForgetSet], references: Sequence[int]) -> list[list[object]]:
    """How often one remembered patient is named, over every forgotten patient in turn."""
    table = []
    for count in references:
        hits, first, false, tried, compared = (dict.fromkeys(STRENGTHS, 0) for _ in range(5))
        for one in sets:
            names = [ORIGINAL, *one.retrains]
            partition = fewer(one, count)
            seen: dict[Channel, Seen] = {
                channel: seen_by(knowledge, names, partition, audited=one.retrains[0])
                for channel, knowledge in one.knowledge.items()
            }
            for strength in STRENGTHS:
                for at in range(len(seen["link"].patients("forget"))):
                    scored = score_draw(
                        cast(KnowledgeByChannel, planted(seen, at, strength)), level=LEVEL
                    )["any"]
                    named = scored.scores.remembered_adjusted <= LEVEL
                    place = int(
                        np.flatnonzero(
                            scored.forgotten == seen["link"].patients("forget").code[at]
                        )[0]
                    )
                    hits[strength] += bool(named[place])
                    first[strength] += int(np.argmax(scored.scores.forgotten)) == place
                    false[strength] += int(named.sum() - named[place])
                    tried[strength] += 1
                    compared[strength] = max(compared[strength], int(scored.scores.compared.max()))
        for strength in STRENGTHS:
            table.append(
                [
                    "as the original remembers" if strength is None else f"+{strength:g} sd",
                    count,
                    compared[strength],
                    tried[strength],
                    f"{hits[strength] / tried[strength]:.0%}",
                    f"{first[strength] / tried[strength]:.0%}",
                    f"{false[strength] / tried[strength]:.2f}",
                ]
            )
    return table


def duplicate(one: ForgetSet) -> tuple[list[object], bool]:
    """One patient remembered, then the same with a copy listed under a retained patient.

    The logits of one forgotten patient's images are raised at the true class in both heads until they are as sure as
    the surest training image: what a model knows of images that it was trained on under another name.
    """
    forgotten = one.knowledge["link"].patients("forget").code
    code = int(forgotten[0])
    models = {name: one.signals[name] for name in (ORIGINAL, *one.retrains[1:])}
    known = remembering(
        one.signals[one.retrains[0]],
        one.partition.forget[one.partition.patient[one.partition.forget] == code],
    )
    draw = AuditedRun("planted", one.partition, {**models, "unlearned": known})
    retained = int(one.partition.patient[one.partition.retain[0]])
    copy = NearDuplicate("same image", 1.0, one.digest(code), one.digest(retained), "retain")
    declared = AuditSpec(rule=RULE, attacks=("population",))
    without, listed = (
        audit([each], cohort=one.cohort, declared=declared, seed=one.seed)
        for each in (draw, replace(draw, duplicates=(copy,)))
    )
    patient = one.digest(code)
    named, reason = (
        _says(without, "Single patients", patient),
        _says(listed, "Near-duplicate retained", patient),
    )
    failure = _says(listed, "Single patients", patient) or listed.outcome == NEVER
    right = named and reason and not failure and listed.verdict.forgotten == len(forgotten) - 1
    return [
        one.seed,
        one.draw,
        without.outcome,
        _yes(named),
        listed.outcome,
        _yes(reason),
        _yes(failure),
        f"{without.verdict.forgotten} / {listed.verdict.forgotten}",
        "yes" if right else "**no**",
    ], right


def remembering(signals: Signals, images: Ints) -> Signals:
    """The same model, sure of the true class on some images."""
    at = np.isin(signals.row, images) & (signals.label >= 0)
    changed = []
    for logits in (signals.image_logits, signals.text_logits):
        raised = np.array(logits)
        raised[at, signals.label[at]] += np.ptp(logits)
        changed.append(raised)
    return signals.replaced(image_logits=changed[0], text_logits=changed[1])


def _says(found: Audit, begin: str, patient: str) -> bool:
    return any(said.startswith(begin) and patient in said for said in found.statements)


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables; 1 where a case that must hold does not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--into", type=Path, help="page to write the tables into, between its marks"
    )
    own, options = parser.parse_known_args(argv)
    grid = read_grid(options, prog="planted.py")
    found = [case for seed, sets in grid.by_seed() for case in cases(seed, sets, grid.settings)]
    copied = [duplicate(sets[0]) for _, sets in grid.by_seed()]
    most = max(len(np.unique(one.partition.patient[one.partition.reference])) for one in grid.sets)
    references = sorted({min(count, most) for count in REFERENCES})
    holdout = len(grid.sets[0].knowledge["link"].patients("holdout"))
    wrong = [case for case in found if case.right is False]
    text = "\n".join(
        [
            f"`{command('planted', [*(argv or sys.argv[1:])])}`",
            "",
            f"{grid.said(methods=True)} Forget sets of a training seed are pooled; the rule is the "
            f"default one. {LEGEND}. "
            f"Numbers are Delta with its {RULE.level:.0%} interval; n = forgotten patients (sets).",
            "",
            *rows(
                ["case", "seed", "n", "verdict", *TODAYS_CHANNELS, "expected", "as expected"],
                [case.cells() for case in found],
            ),
            "",
            f"{len(found)} cases, {sum(case.right is not None for case in found)} with a known answer, {len(wrong)} of "
            "these otherwise than expected.",
            "",
            "One remembered patient: a retrained model judged against the others, with the memory of "
            "one forgotten patient "
            "added on every channel - what the original's signals are, or so many standard "
            "deviations (of the difference "
            f"between retrained models on never-seen patients). Every forgotten patient in turn; {holdout} never-seen "
            'patients besides the reference ones. "Compared": the most never-seen patients a p-value rests on.',
            "",
            *rows(
                [
                    "memory",
                    "reference patients",
                    "compared",
                    "patients tried",
                    "named",
                    "highest score",
                    "others named, mean",
                ],
                single(grid.sets, references),
            ),
            "",
            "A near-duplicate: one forgotten patient's images are known to the model as surely as "
            "anything is, first as "
            "such, then with a copy listed under a retained patient.",
            "",
            *rows(
                [
                    "seed",
                    "draw",
                    "verdict",
                    "named as remembered",
                    "verdict, copy listed",
                    "copy named as the reason",
                    "counted as a failure",
                    "patients in the verdict",
                    "as expected",
                ],
                [line for line, _ in copied],
            ),
        ]
    )
    put(own.into, {"planted": text})
    return int(bool(wrong) or not all(right for _, right in copied))


if __name__ == "__main__":
    sys.exit(main())
