"""How often the representation residual and the ignorance verifiers are wrong, and what they find: nothing is trained.

    python studies/attack_calibration.py RUN [RUN ...] --verifiers POOL [POOL ...] [--into docs/attacks.md]

RUNs are finished runs with retrained models, POOLs their verifiers (`forgetmi shadows RUN --out POOL --models 3
--retained-share 0.15`), in the same order.

- residual, made-up embeddings: a place that is known, retrained models scattered around it, and an audited model that
  kept a known share of the way; also what the mean of the retrained models in both factors would have given;
- residual, trained models: each retrained model against the others, with the original's embeddings mixed in;
- ignorance: sets as large as the forget set of which a known share are retained patients, whom the retrained models
  know and no verifier does, and the others never-seen ones.

An alarm is an interval (95 %) that lies above 0 (residual), or that does not hold .5 (ignorance).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedding_attacks import knowledge_of, planted
from forgetmi.core.arrays import Floats
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackOutput, AttackResult
from forgetmi.evaluation.attacks.embeddings import patient_embeddings
from forgetmi.evaluation.attacks.ignorance import Ignorance
from forgetmi.evaluation.attacks.representation_residual import (
    RepresentationResidual,
    rotation,
    to_go_and_way,
)
from forgetmi.evaluation.attacks.run import run_on
from forgetmi.evaluation.attacks.tpr import clopper_pearson
from forgetmi.evaluation.signals import heads_of
from forgetmi.evaluation.statistics import draws, interval, ratio, resample_patients
from forgetmi.run.shadow_plan import Plan, inside
from forgetmi.run.shadows import PLAN, read_verifiers
from forgetmi.run.spec import spec_of
from pages import command, put, rows

KEPT = (0.0, 0.1, 0.2, 0.35, 0.5)  # of the way from the place of retraining to the original
SHARES = (0.0, 0.25, 0.5, 1.0)  # of retained patients in a planted set
PATIENTS, WIDTH = 19, 16
NOISE = 0.5  # variance of a training, as a share of the squared way


@dataclass(frozen=True)
class MadeUp:
    """Embeddings of patients, each of whom retraining moves somewhere else.

    Args:
        retrained: Retrained models.
        common: Share of a training's variance that all patients have in common.
        kept: Share of the way that the audited model kept.
    """

    retrained: int
    common: float
    kept: float

    def sample(self, generator: np.random.Generator) -> tuple[Floats, Floats, list[Floats]]:
        """The audited, the original's and the retrained embeddings."""
        way = generator.normal(size=(PATIENTS, WIDTH))
        trained = [self._noise(generator) for _ in range(1 + self.retrained)]
        return self.kept * way + trained[0], way, trained[1:]

    def _noise(self, generator: np.random.Generator) -> Floats:
        own, shared = generator.normal(size=(PATIENTS, WIDTH)), generator.normal(size=WIDTH)
        mixed = np.sqrt(1 - self.common) * own + np.sqrt(self.common) * shared
        return np.sqrt(NOISE) * mixed


def made_up(case: MadeUp, replicates: int) -> list[object]:
    """One line: mean of the value, and with the mean of the retrained models; alarms; coverage."""
    values, plain, alarms, covered = [], [], 0, 0
    for number in range(replicates):
        generator = numpy_generator(0, "attack calibration", "residual", number)
        audited, original, retrained = case.sample(generator)
        to_go, way = to_go_and_way(audited, original, retrained)
        sample = resample_patients(np.arange(PATIENTS), resamples=500, generator=generator)
        found = draws(sample, lambda weights, a=to_go, b=way: ratio(weights @ a, weights @ b))
        bounds, _ = interval(found, patients=PATIENTS)
        values.append(found[0])
        target = np.mean(retrained, axis=0)
        plain.append(ratio(*(one.sum() for one in to_go_and_way(audited, original, [target]))))
        if bounds is not None:
            alarms += bounds[0] > 0
            covered += bounds[0] <= case.kept <= bounds[1]
    return [
        case.retrained,
        f"{case.common:.0%}",
        f"{case.kept:.2f}",
        f"{np.nanmean(values):.3f}",
        f"{np.mean(plain):.3f}",
        share(alarms, replicates),
        share(covered, replicates),
    ]


def share(hits: int, of: int) -> str:
    """A share with its Clopper-Pearson interval."""
    low, high = clopper_pearson(int(hits), of)
    return f"{hits / of:.0%} [{low:.0%}, {high:.0%}]"


def mixed(knowledge: AdversaryKnowledge, name: str, weight: float) -> AdversaryKnowledge:
    """A retrained model is attacked, whose embeddings of the forgotten lie nearer to the original's by some weight."""
    head = knowledge.channel if knowledge.channel != "both" else "joint"
    own, original = knowledge.signals[name], knowledge.signals[ORIGINAL]
    turn, back = _coordinates(knowledge, own, original)
    embedding = np.array(own.embedding[head], float)
    at = np.isin(own.row, knowledge.partition.forget)
    there = np.array(original.embedding[head], float)[np.isin(original.row, own.row[at])]
    embedding[at] = (1 - weight) * embedding[at] + weight * ((there - back[0]) @ turn + back[1])
    moved = replace(own, embedding={**own.embedding, head: embedding.astype(np.float32)})
    return replace(knowledge, signals={**knowledge.signals, name: moved}, target=name)


def _coordinates(
    knowledge: AdversaryKnowledge, own: Signals, original: Signals
) -> tuple[Floats, tuple[Floats, Floats]]:
    """The rotation from the original's coordinates into a model's, and both centres, as retained patients say."""
    theirs, mine = patient_embeddings(knowledge, "retain", (original, own))
    return rotation(theirs, mine), (theirs.mean(0), mine.mean(0))


def trained(every: Sequence[AdversaryKnowledge], head: str, weight: float) -> list[object]:
    """One line: the values of all retrained models, and alarms."""
    found: list[AttackOutput] = []
    for knowledge in every:
        seen = knowledge.with_channel(head)
        for name in retrained_names(knowledge.signals):
            found.append(RepresentationResidual().apply(mixed(seen, name, weight)))
    values = [one.value for one in found]
    alarms = sum(one.interval is not None and one.interval[0] > 0 for one in found)
    listed = ", ".join(f"{value:.2f}" for value in values)
    return [head, f"{weight:g}", f"{np.mean(values):.2f}", listed, f"{alarms} of {len(found)}"]


def with_verifiers(knowledge: AdversaryKnowledge, run: Path, pool: Path) -> AdversaryKnowledge:
    """With a pool's verifiers, and without the retained patients whom these know."""
    cohort, partition = spec_of(run).cohort.load(), knowledge.partition
    signals = read_verifiers(pool, cohort=cohort, partition=partition)
    plan = Plan(**json.loads((pool / PLAN).read_text(encoding="utf-8")))
    taught = np.flatnonzero(inside(plan, partition).any(0))
    strangers = partition.retain[~np.isin(partition.patient[partition.retain], taught)]
    return replace(knowledge, verifiers=signals, partition=replace(partition, retain=strangers))


def planted_values(
    every: Sequence[AdversaryKnowledge], head: str, part: float, count: int
) -> Iterator[AttackOutput]:
    """Ignorance on planted sets; runs and their retrained models in turn."""
    for number in range(count):
        knowledge = every[number % len(every)]
        names = retrained_names(knowledge.signals)
        target = names[number // len(every) % len(names)]
        seen = replace(planted(knowledge, part, number), channel=head, target=target)
        yield Ignorance().apply(seen)


def ignorance(
    every: Sequence[AdversaryKnowledge], head: str, part: float, count: int
) -> list[object]:
    """One line: mean and spread of the value, and alarms on both sides."""
    found = list(planted_values(every, head, part, count))
    values = np.array([one.value for one in found])
    bounds = [one.interval for one in found if one.interval is not None]
    above, below = sum(low > 0.5 for low, _ in bounds), sum(high < 0.5 for _, high in bounds)
    return [
        head,
        f"{part:.0%}",
        len(found),
        f"{values.mean():.2f}",
        f"{values.std(ddof=1):.2f}",
        share(above, len(found)),
        share(below, len(found)),
    ]


def as_they_are(name: str, knowledge: AdversaryKnowledge) -> list[list[object]]:
    """Ignorance on the original, the unlearned and the retrained models, on the patients really forgotten."""
    lines: list[list[object]] = []
    for head in heads_of(knowledge.signals[ORIGINAL]):
        names = [ORIGINAL, UNLEARNED, *retrained_names(knowledge.signals)]
        found = run_on(Ignorance(), knowledge.with_channel(head), names)
        values = [
            f"{one.output.value:.2f}" if isinstance(one, AttackResult) else "-"
            for one in found.values()
        ]
        lines.append([name, head, *values[:2], ", ".join(values[2:])])
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables or write them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="directories of finished runs")
    parser.add_argument("--verifiers", type=Path, nargs="+", required=True, help="their pools")
    parser.add_argument("--draws", type=int, default=60, help="planted sets a share")
    parser.add_argument("--replicates", type=int, default=400, help="made-up sets a line")
    parser.add_argument("--into", type=Path, help="page to write the tables into")
    own = parser.parse_args(argv)

    every = [knowledge_of(run) for run in own.runs]
    informed = [
        with_verifiers(one, run, pool)
        for one, run, pool in zip(every, own.runs, own.verifiers, strict=True)
    ]
    heads = heads_of(every[0].signals[ORIGINAL])
    cases = [
        MadeUp(count, common, kept) for count in (2, 3) for common in (0.0, 0.5) for kept in KEPT
    ]
    said = command("attack_calibration", argv if argv is not None else sys.argv[1:])
    counts = [str(len(one.patients("forget"))) for one in every]
    models = [
        line
        for run, one in zip(own.runs, informed, strict=True)
        for line in as_they_are(run.name, one)
    ]
    text = "\n".join(
        [
            f"`{said}`",
            "",
            f"Residual on made-up embeddings: {PATIENTS} patients, {own.replicates} sets a line; a "
            f"training's variance is {NOISE:g} of the squared way.",
            "",
            *rows(
                [
                    *("retrained models", "noise in common", "kept", "mean value"),
                    *("with the mean model", "alarms", "interval holds what was kept"),
                ],
                [made_up(case, own.replicates) for case in cases],
            ),
            "",
            f"Residual of trained models, the original mixed in; forgotten patients of each run: {', '.join(counts)}.",
            "",
            *rows(
                ["channel", "weight of the original", "mean", "each retrained model", "alarms"],
                [trained(every, head, weight) for head in heads for weight in KEPT],
            ),
            "",
            "Ignorance of each model on the patients really forgotten (.5 = as on never-seen patients):",
            "",
            *rows(["run", "channel", "original", "unlearned", "retrained"], models),
            "",
            "Ignorance on planted sets of as many patients, under retrained models:",
            "",
            *rows(
                [
                    *("channel", "retained among them", "sets", "mean", "sd"),
                    *("alarms, above", "alarms, below"),
                ],
                [ignorance(informed, head, part, own.draws) for head in heads for part in SHARES],
            ),
        ]
    )
    put(own.into, {"attack-calibration": text})


if __name__ == "__main__":
    main()
