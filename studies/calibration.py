"""How often the audit's verdict is wrong, and what it finds, from the stored signals of a benchmark; no model is run.

    python studies/calibration.py [--into docs/audit_checked.md] [--nulls 200] [--replicates 1000] OPTIONS

OPTIONS are those the benchmark was made with (`forgetmi benchmark OPTIONS`), best with several --draws and
--cohort.reference-patients 600. What is measured:

- nulls on the level of signals: never-seen patients are treated as forgotten, as many as in the real forget sets, and
  a retrained model is judged against the other retrained models; nothing can be remembered;
- trained nulls: each retrained model against the others on the patients really forgotten;
- power: the same retrained models with the original's logits mixed in;
- coverage of Delta's interval on Gaussian patients with a known Delta.

A retrained model knows none of the patients, so FORGOTTEN would be right; NOT FORGOTTEN and OVER-FORGOTTEN are false
alarms. On never-seen patients FORGOTTEN cannot be said: the original does not remember them either.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from scipy.stats import norm

from forgetmi.audit.decision import decide
from forgetmi.audit.delta import deltas
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.patient_scores import KnowledgeByChannel, Scored, score_draw
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.audit.verdict import Outcome, Verdict
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.partition import SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.tpr import clopper_pearson
from forgetmi.evaluation.channels import TODAYS_CHANNELS, Channel
from forgetmi.evaluation.patients import Patients
from pages import command, put, rows
from stored_grid import ORIGINAL, ForgetSet, Seen, read_grid, seen_by

RULE = Rule()
LEVEL = AuditSpec().false_discovery
WEIGHTS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
OUTCOMES: tuple[Outcome, ...] = ("NOT FORGOTTEN", "OVER-FORGOTTEN", "FORGOTTEN", "NOT RESOLVABLE")
WIDTHS = {"forget sets": (1, 4), "retrained": (2, 3)}
Draws = Mapping[Channel, list[ForgetDraw]]


@dataclass(frozen=True, eq=False)
class Population:
    """The never-seen patients of one forget set, under its retrained models and the original, through each channel.

    Args:
        one: The forget set.
    """

    one: ForgetSet

    @property
    def forgotten(self) -> int:
        """Patients really forgotten."""
        return len(self.one.knowledge["link"].patients("forget"))

    @cached_property
    def signals(self) -> dict[Channel, Floats]:
        """Float[m, p]: the original's, then each retrained model's."""
        names = (ORIGINAL, *self.one.retrains)
        return {
            channel: np.stack([seen.signal(seen.signals[name], "holdout") for name in names])
            for channel, seen in self.knowledge.items()
        }

    @cached_property
    def correct(self) -> dict[Channel, Floats]:
        """Float[m, p]: share of images predicted right."""
        return {
            channel: np.stack(
                [
                    self.people.mean(
                        seen.log_probabilities(seen.signals[name], "holdout").argmax(1)
                        == seen.label("holdout")
                    )
                    for name in (ORIGINAL, *self.one.retrains)
                ]
            )
            for channel, seen in self.knowledge.items()
            if channel != "link"
        }

    @cached_property
    def people(self) -> Patients:
        """The held-out and the reference patients."""
        return self.knowledge["image"].patients("holdout")

    @cached_property
    def knowledge(self) -> dict[Channel, AdversaryKnowledge]:
        sets = self.one.partition
        labelled = np.sort(np.concatenate([sets.holdout, sets.reference]))
        labelled = labelled[self.one.cohort.label[labelled] >= 0]
        every = replace(sets, holdout=labelled, reference=labelled[:0])
        return {
            channel: replace(seen, partition=every) for channel, seen in self.one.knowledge.items()
        }

    def seen(self, asked: Ints, others: Ints, audited: int) -> dict[Channel, Seen]:
        """The same for the scores of single patients."""
        names = (ORIGINAL, *self.one.retrains)
        sides = {"forget": asked, "holdout": others}
        every = self.people
        people = {
            on: Patients(
                every.code[at],
                every.studies[at],
                every.images[at],
                every.label[at],
                every.average[at],
            )
            for on, at in sides.items()
        }
        return {
            channel: Seen(
                cast(Mapping[SetName, Patients], people),
                {
                    name: {cast(SetName, on): values[at] for on, at in sides.items()}
                    for name, values in zip(names, signal, strict=True)
                },
                names[1 + audited],
            )
            for channel, signal in self.signals.items()
        }

    def draw(self, channel: Channel, asked: Ints, others: Ints, audited: int) -> ForgetDraw:
        """Some never-seen patients in the place of the forgotten; `audited` is a retrained model, from 0."""
        at = np.concatenate([asked, others])
        signal = self.signals[channel][:, at]
        rest = [1 + r for r in range(len(self.one.retrains)) if r != audited]
        return ForgetDraw(
            patient=self.people.code[at],
            members=len(asked),
            studies=self.people.studies[at],
            label=self.people.label[at],
            unlearned=signal[1 + audited],
            original=signal[0],
            retrained=signal[rest],
            correct=self.correct[channel][[1 + audited, *rest]][:, at]
            if channel != "link"
            else None,
        )


def nulls(groups: Sequence[Sequence[Population]], count: int) -> Iterator[Verdict]:
    """Verdicts on retrained models with never-seen patients in the place of the forgotten ones.

    Args:
        groups: Forget sets that are pooled; taken in turn.
        count: How many.
    """
    for number in range(count):
        group = groups[number % len(groups)]
        generator = numpy_generator(RULE.seed, "calibration", "null", number)
        people = [one.forgotten for one in group]
        outside = len(group[0].one.knowledge["link"].patients("holdout"))
        order = generator.permutation(len(group[0].people))
        order = order[: sum(people) + outside]  # fewer where the cohort has no reference patients
        parts = np.split(order, np.cumsum(people))
        audited = [int(generator.integers(len(one.one.retrains))) for one in group]
        yield decide(
            RULE,
            {
                channel: [
                    one.draw(channel, part, parts[-1], which)
                    for one, part, which in zip(group, parts, audited, strict=False)
                ]
                for channel in TODAYS_CHANNELS
            },
        )


@dataclass(frozen=True, eq=False)
class Mixed:
    """A retrained model with the original mixed in, judged against the other retrained models.

    Args:
        one: The forget set.
        name: The retrained model.
    """

    one: ForgetSet
    name: str

    def draws(self, weight: float) -> dict[Channel, ForgetDraw]:
        """Through each channel; logits are mixed, of the link the signals, since embeddings share no space."""
        kept = self.one.signals[self.name]
        other = self.one.signals[ORIGINAL]
        mixed = kept.replaced(
            image_logits=_mix(kept.image_logits, other.image_logits, weight),
            text_logits=_mix(kept.text_logits, other.text_logits, weight),
        )
        found: dict[Channel, ForgetDraw] = {}
        for channel, seen in self.one.knowledge.items():
            seen = seen.with_target(self.name)
            if channel == "link":
                link = forget_draw(seen)
                found[channel] = replace(
                    link, unlearned=_mix(link.unlearned, link.original, weight)
                )
            else:
                signals: dict[str, Signals] = {**seen.signals, self.name: mixed}
                found[channel] = forget_draw(replace(seen, signals=signals))
        return found


def _mix(one: Floats, other: Floats, weight: float) -> Floats:
    return (1 - weight) * one + weight * other


def trained(
    groups: Sequence[Sequence[ForgetSet]], weight: float, *, pooled: bool
) -> Iterator[Verdict]:
    """Verdicts on retrained models with the original mixed in, on the patients really forgotten.

    Args:
        groups: Forget sets of a training seed.
        weight: Of the original, 0..1; 0 = the trained nulls.
        pooled: Whether a training seed's sets are judged together, retrained model by retrained model.
    """
    for group in groups:
        for judged in [group] if pooled else [[one] for one in group]:
            for name in judged[0].retrains:
                each = [Mixed(one, name).draws(weight) for one in judged]
                yield decide(
                    RULE, {channel: [one[channel] for one in each] for channel in TODAYS_CHANNELS}
                )


@dataclass(frozen=True)
class Gaussian:
    """Patients with Gaussian signals: what is common to all models has variance 1, as has what is a model's own.

    Args:
        sets: Forget sets pooled, of 16 patients each; 67 never-seen patients common to all.
        retrained: Retrained models a set.
        shift: Of the forgotten patients under the unlearned model.
        spread: Standard deviation of the retrained models' own shifts around 0.
    """

    sets: int
    retrained: int
    shift: float
    spread: float = 0.2
    forgotten: int = 16
    never_seen: int = 67

    @property
    def delta(self) -> float:
        """Exact: a difference of two patients has variance 4, and a retrained model's shift adds its own."""
        return float(norm.cdf(self.shift / 2) - 0.5)

    def sample(self, generator: np.random.Generator) -> list[ForgetDraw]:
        """One replicate."""
        studies, label = (generator.integers(low, 4, self.never_seen) for low in (1, 0))
        common, found = generator.normal(size=self.never_seen), []
        for at in range(self.sets):
            inside = np.arange(self.forgotten + self.never_seen) < self.forgotten
            own = np.concatenate([generator.normal(size=self.forgotten), common])
            signal = own + generator.normal(size=(2 + self.retrained, len(own)))
            signal[2:] += inside * self.spread * generator.normal(size=(self.retrained, 1))
            signal[:2] += inside * self.shift
            found.append(
                ForgetDraw(
                    patient=np.concatenate(
                        [1000 * (at + 1) + np.arange(self.forgotten), np.arange(self.never_seen)]
                    ),
                    members=self.forgotten,
                    studies=np.concatenate([generator.integers(1, 4, self.forgotten), studies]),
                    label=np.concatenate([generator.integers(0, 4, self.forgotten), label]),
                    unlearned=signal[0],
                    original=signal[1],
                    retrained=signal[2:],
                )
            )
        return found


def coverage(case: Gaussian, *, replicates: int, resamples: int) -> tuple[int, int, int, float]:
    """Replicates whose interval holds Delta, lies above it, lies below it; and the mean half-width."""
    low, high = np.array(
        [
            (found.low, found.high)
            for number in range(replicates)
            for found in [
                deltas(
                    case.sample(numpy_generator(RULE.seed, "calibration", "coverage", number)),
                    level=RULE.level,
                    resamples=resamples,
                    seed=number,
                ).unlearned
            ]
        ]
    ).T
    return (
        int(((low <= case.delta) & (case.delta <= high)).sum()),
        int((low > case.delta).sum()),
        int((high < case.delta).sum()),
        float((high - low).mean() / 2),
    )


def share(hits: int, of: int) -> str:
    """A share with its Clopper-Pearson interval."""
    low, high = clopper_pearson(hits, of)
    return f"{hits / of:.1%} [{low:.1%}, {high:.1%}]"


def counted(verdicts: Iterable[Verdict]) -> tuple[Counter[Outcome], int, dict[Channel, float]]:
    """Outcomes, how many verdicts, and the mean Delta of each channel."""
    every = list(verdicts)
    found: dict[Channel, list[float]] = {}
    for one in every:
        for channel in one.channels:
            if channel.deltas is not None:
                found.setdefault(channel.channel, []).append(channel.deltas.unlearned.value)
    return (
        Counter(one.outcome for one in every),
        len(every),
        {channel: float(np.mean(values)) for channel, values in found.items()},
    )


def false_alarms(
    groups: Sequence[Sequence[ForgetSet]],
    populations: Sequence[Sequence[Population]],
    count: int,
) -> list[list[object]]:
    """One line a kind of null and a number of sets pooled."""
    apart = [[one] for group in populations for one in group]
    table: list[list[object]] = []
    for name, found in (
        ("never-seen patients, one set", nulls(apart, count)),
        ("never-seen patients, sets of a seed pooled", nulls(populations, count)),
        ("retrained, one set", trained(groups, 0.0, pooled=False)),
        ("retrained, sets of a seed pooled", trained(groups, 0.0, pooled=True)),
    ):
        outcomes, number, _ = counted(found)
        table.append([name, number, *(share(outcomes[outcome], number) for outcome in OUTCOMES)])
    return table


def naming(populations: Sequence[Population], count: int) -> list[list[object]]:
    """How often the list of single patients holds anybody: one line a kind of null."""
    found: dict[str, list[Scored]] = {"never-seen patients": [], "retrained": []}
    for number in range(count):
        population = populations[number % len(populations)]
        generator = numpy_generator(RULE.seed, "calibration", "naming", number)
        order = generator.permutation(len(population.people))
        size = population.forgotten
        seen = population.seen(
            order[:size], order[size:], int(generator.integers(len(population.one.retrains)))
        )
        found["never-seen patients"].append(
            score_draw(cast(KnowledgeByChannel, seen), level=LEVEL)["any"]
        )
    for one in (population.one for population in populations):
        for name in one.retrains:
            seen = {
                channel: seen_by(knowledge, [ORIGINAL, *one.retrains], one.partition, audited=name)
                for channel, knowledge in one.knowledge.items()
            }
            found["retrained"].append(
                score_draw(cast(KnowledgeByChannel, seen), level=LEVEL)["any"]
            )
    table: list[list[object]] = []
    for name, scored in found.items():
        remembered, over = (
            [int((values <= LEVEL).sum()) for values in each]
            for each in zip(
                *(
                    (one.scores.remembered_adjusted, one.scores.over_forgotten_adjusted)
                    for one in scored
                ),
                strict=True,
            )
        )
        table.append(
            [
                name,
                len(scored),
                min(int(one.scores.compared.min()) for one in scored),
                *(share(sum(each > 0 for each in of), len(scored)) for of in (remembered, over)),
                max(remembered),
            ]
        )
    return table


def power(groups: Sequence[Sequence[ForgetSet]]) -> list[list[object]]:
    """One line a weight."""
    table: list[list[object]] = []
    for weight in WEIGHTS:
        line: list[object] = [f"{weight:g}"]
        mean: dict[Channel, float] = {}
        for pooled in (False, True):
            outcomes, number, mean = counted(trained(groups, weight, pooled=pooled))
            line.append(f"{share(outcomes['NOT FORGOTTEN'], number)} of {number}")
        table.append([*line, *(f"{mean[channel]:+.2f}" for channel in TODAYS_CHANNELS)])
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--into", type=Path, help="page to write the tables into, between its marks"
    )
    parser.add_argument(
        "--nulls", type=int, default=200, help="nulls on the level of signals, each kind"
    )
    parser.add_argument("--replicates", type=int, default=1000, help="replicates for the coverage")
    parser.add_argument(
        "--resamples", type=int, default=500, help="bootstrap resamples of a replicate"
    )
    own, options = parser.parse_known_args(argv)
    grid = read_grid(options, prog="calibration.py")
    groups = [sets for _, sets in grid.by_seed()]
    populations = [[Population(one) for one in group] for group in groups]
    alarms, found = false_alarms(groups, populations, own.nulls), power(groups)
    named = naming([one for group in populations for one in group], own.nulls)
    covered: list[list[object]] = []
    for case in (
        Gaussian(sets, retrained, shift)
        for sets in WIDTHS["forget sets"]
        for retrained in WIDTHS["retrained"]
        for shift in (0.0, 1.0)
    ):
        inside, above, below, half = coverage(
            case, replicates=own.replicates, resamples=own.resamples
        )
        covered.append(
            [
                case.sets,
                case.retrained,
                f"{case.delta:.3f}",
                share(inside, own.replicates),
                f"{above / own.replicates:.1%}",
                f"{below / own.replicates:.1%}",
                f"{half:.3f}",
            ]
        )
    text = "\n".join(
        [
            f"`{command('calibration', [*(argv or sys.argv[1:])])}`",
            "",
            f"{grid.said(methods=False)} The rule is the default one, on all four channels; shares with their "
            "Clopper-Pearson interval. Intervals of the lines on retrained models are too narrow: their verdicts share "
            "models and patients.",
            "",
            "False alarms: retrained models, of which none knows the patients, judged against the "
            "other retrained models.",
            "",
            *rows(["patients", "n", *OUTCOMES], alarms),
            "",
            "Single patients: the same nulls, one forget set at a time, judged patient by patient "
            "after correction for all "
            "patients of the set; a set with anybody named is a false alarm.",
            "",
            *rows(
                [
                    "patients",
                    "sets",
                    "compared, least",
                    'somebody "remembered"',
                    'somebody "forgotten too visibly"',
                    'most named "remembered" in a set',
                ],
                named,
            ),
            "",
            "Power: the same retrained models with the original's logits mixed in (of the link: its "
            "signal), judged on the "
            "patients really forgotten. Delta is the mean over the pooled verdicts.",
            "",
            *rows(
                [
                    "weight of the original",
                    "NOT FORGOTTEN, one set",
                    "NOT FORGOTTEN, sets of a seed pooled",
                    *(f"Delta {channel}" for channel in TODAYS_CHANNELS),
                ],
                found,
            ),
            "",
            f"Coverage of the {RULE.level:.0%} interval: {own.replicates} replicates a line with "
            f"{own.resamples} resamples "
            "each; Gaussian patients, 16 forgotten ones a set and 67 never-seen ones, retrained "
            "models that differ by 0.2 "
            "standard deviations of what is a model's own.",
            "",
            *rows(
                [
                    "sets pooled",
                    "retrained models",
                    "Delta",
                    "covered",
                    "interval above Delta",
                    "interval below Delta",
                    "half-width",
                ],
                covered,
            ),
        ]
    )
    put(own.into, {"calibration": text})
    return 0


if __name__ == "__main__":
    sys.exit(main())
