"""How often the attacks on embeddings are wrong and what they find, on finished runs: nothing is trained.

    python studies/embedding_attacks.py RUN [RUN ...] [--draws 60] [--into docs/attacks.md]

- of a run as it is: the value on the original, the unlearned and each retrained model;
- planted: under retrained models, sets as large as the forget set of which a
  known share are retained patients, whom the model knows, and the others never-seen ones. With share 0 an alarm is a
  false one. An alarm is a share of never-seen patients (SMI) below the 5 % quantile of the other half of such sets.

Runs need retrained models and embeddings, for example those of `forgetmi demo --seeds 0 1 2`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackResult
from forgetmi.evaluation.attacks.representation_residual import RepresentationResidual
from forgetmi.evaluation.attacks.run import run_on
from forgetmi.evaluation.attacks.smi import Smi
from forgetmi.evaluation.attacks.tpr import clopper_pearson
from forgetmi.evaluation.signals import heads_of
from forgetmi.run.audit_stage import read_draw
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import spec_of
from pages import command, put, rows

SHARES = (0.0, 0.25, 0.5, 1.0)  # of retained patients in a planted set


def knowledge_of(root: Path) -> AdversaryKnowledge:
    """What an adversary knows of a finished run."""
    directory, spec = RunDirectory(root), spec_of(root)
    cohort = spec.cohort.load()
    partition = read_partition(directory.partition, cohort)
    run = read_draw(directory, cohort, partition, seed=spec.seed)
    return run.knowledge(partition, seed=spec.seed, task=cohort.task)


def as_they_are(name: str, knowledge: AdversaryKnowledge) -> list[list[object]]:
    """One line a channel and attack: values on the original, the unlearned and the retrained models."""
    retrained = retrained_names(knowledge.signals)
    lines: list[list[object]] = []
    for head in heads_of(knowledge.signals[ORIGINAL]):
        seen = replace(knowledge, channel=head)
        for attack in (Smi(), RepresentationResidual()):
            found = run_on(attack, seen, [ORIGINAL, UNLEARNED, *retrained])
            values = [
                f"{one.output.value:.2f}" if isinstance(one, AttackResult) else "-"
                for one in found.values()
            ]
            lines.append([name, attack.info.name, head, *values[:2], ", ".join(values[2:])])
    return lines


def planted(knowledge: AdversaryKnowledge, share: float, number: int) -> AdversaryKnowledge:
    """Other patients in the place of the forgotten: never-seen ones, and a share of retained ones."""
    partition = knowledge.partition
    generator = numpy_generator(0, "embedding attacks", number)
    known, strangers = (
        generator.permutation(np.unique(partition.patient[rows]))
        for rows in (partition.retain, partition.holdout)
    )
    count = len(np.unique(partition.patient[partition.forget]))
    inside = round(share * count)
    chosen = np.concatenate([known[:inside], strangers[: count - inside]])

    # They leave the sets they came from
    everyone = np.concatenate([partition.retain, partition.holdout])
    forget = np.sort(everyone[np.isin(partition.patient[everyone], chosen)])
    return replace(
        knowledge,
        partition=replace(
            partition,
            forget=forget,
            retain=np.setdiff1d(partition.retain, forget),
            holdout=np.setdiff1d(partition.holdout, forget),
        ),
    )


def alarms(every: Sequence[AdversaryKnowledge], draws: int) -> list[list[object]]:
    """One line a channel and share: mean value, its spread, and alarms."""
    lines: list[list[object]] = []
    for head in heads_of(every[0].signals[ORIGINAL]):
        limit = np.quantile(_values(every, head, 0.0, range(draws, 2 * draws)), 0.05)
        for share in SHARES:
            values = _values(every, head, share, range(draws))
            hits = int((values < limit).sum())
            low, high = clopper_pearson(hits, len(values))
            lines.append(
                [
                    head,
                    f"{share:.0%}",
                    len(values),
                    f"{values.mean():.2f}",
                    f"{values.std(ddof=1):.2f}",
                    f"{hits / len(values):.0%} [{low:.0%}, {high:.0%}]",
                ]
            )
    return lines


def _values(
    every: Sequence[AdversaryKnowledge], head: str, share: float, numbers: range
) -> np.ndarray:
    """SMI on planted sets; runs and their retrained models in turn."""
    values = []
    for number in numbers:
        knowledge = every[number % len(every)]
        retrained = retrained_names(knowledge.signals)
        target = retrained[number // len(every) % len(retrained)]
        seen = replace(planted(knowledge, share, number), channel=head, target=target)
        values.append(Smi().apply(seen).value)
    return np.array(values)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables or write them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="directories of finished runs")
    parser.add_argument("--draws", type=int, default=60, help="planted sets a share")
    parser.add_argument("--into", type=Path, help="page to write the tables into")
    own = parser.parse_args(argv)

    every = [knowledge_of(run) for run in own.runs]
    models = [
        line
        for run, one in zip(own.runs, every, strict=True)
        for line in as_they_are(run.name, one)
    ]
    counts = [len(one.patients("forget")) for one in every]
    said = command("embedding_attacks", argv if argv is not None else sys.argv[1:])
    text = "\n".join(
        [
            f"`{said}`",
            "",
            f"Forgotten patients of each run: {', '.join(map(str, counts))}.",
            "",
            *rows(["run", "attack", "channel", "original", "unlearned", "retrained"], models),
            "",
            "SMI on planted sets of as many patients, under retrained models:",
            "",
            *rows(
                ["channel", "retained among them", "sets", "mean", "sd", "alarms"],
                alarms(every, own.draws),
            ),
        ]
    )
    put(own.into, {"embeddings": text})


if __name__ == "__main__":
    main()
