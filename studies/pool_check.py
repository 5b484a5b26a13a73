"""Whether a standing pool judges as retrained models do: Delta of the same models by both; see docs/pool.md.

    python studies/pool_check.py --work FOLDER [--into docs/pool.md]

One run on the embedded cohort with retrained models, NegGrad+ on the same original, and pools of that original. Judged
are the original (nothing was forgotten), both unlearned models, and a retrained model by the others and by the pools.
What is finished in the folder stays when the command is given again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import forget_draw
from forgetmi.audit.patient_scores import through
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import Verdict
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.methods.neg_grad_plus import NegGradPlus
from forgetmi.run.audit_stage import read_draw
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.pool_making import make_pool, plan_pool
from forgetmi.run.pool_plan import AUDIT
from forgetmi.run.pool_references import references_in
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import GivenModels, RunSpec
from pages import command, put, rows

# Folds and repetitions of a pool
Size = tuple[int, int]
RETRAINED = 3


def spec_of_run(patients: int, reference: int, seed: int) -> RunSpec:
    """Forget-MI on the embedded cohort as the demo has it, with more patients whom nobody has seen."""
    cohort = SyntheticCohort(patients=patients, reference_patients=reference, seed=seed)
    return RunSpec(cohort=cohort, retrains=RETRAINED, seed=seed, workers=1, duplicates=False)


def made(work: Path, spec: RunSpec, sizes: Sequence[Size]) -> tuple[Path, Path, list[Path]]:
    """The run, that of NegGrad+ on its original, and the pools."""
    run, climbed = work / "run", work / "neg_grad_plus"
    finish(spec, run, command=sys.argv)

    models = [run / "models" / f"retrain-{number}" for number in range(RETRAINED)]
    given = replace(
        spec,
        given=GivenModels(run / "models" / ORIGINAL, tuple(models)),
        retrains=0,
        method=NegGradPlus(alpha=0.8),
    )
    finish(given, climbed, command=sys.argv)

    pools = []
    for folds, repetitions in sizes:
        of_original = replace(given, given=GivenModels(run / "models" / ORIGINAL))
        plan, drawn = plan_pool(
            of_original,
            folds=folds,
            repetitions=repetitions,
            targets=0,
            seed=spec.seed,
            keep_models=False,
        )
        pools.append(work / f"pool-{folds}-{repetitions}")
        make_pool(plan, drawn, of_original, pools[-1])
    return run, climbed, pools


def verdict_of(knowledge: AdversaryKnowledge, target: str) -> Verdict:
    """What the rule says of a model."""
    rule = Rule()
    by_channel = through(knowledge.with_target(target), rule.channels)
    draws = {channel: [forget_draw(one)] for channel, one in by_channel.items()}
    return decide(rule, draws)


def line(name: str, judge: str, verdict: Verdict) -> list[str]:
    """A row of the table."""
    cells = []
    for channel in verdict.channels:
        assert channel.deltas is not None
        delta = channel.deltas.unlearned
        cells.append(f"{delta.value:+.3f} [{delta.low:+.3f}, {delta.high:+.3f}]")
    return [name, judge, *cells, verdict.outcome]


def table(
    run: Path, climbed: Path, pools: list[Path], spec: RunSpec, sizes: Sequence[Size]
) -> list[str]:
    """Every model by every kind of reference."""
    cohort, partition = load_data(spec)
    draw = read_draw(RunDirectory(run), cohort, partition, seed=spec.seed)
    signals: dict[str, Signals] = dict(draw.signals)
    signals["NegGrad+"] = Signals.load(RunDirectory(climbed).signals(UNLEARNED))
    retrained = {name: signals.pop(name) for name in retrained_names(signals)}

    judges = {f"{len(retrained)} retrained models": retrained}
    for root, (folds, repetitions) in zip(pools, sizes, strict=True):
        references = references_in(root, root / AUDIT / "signals", forgotten=partition.forget)
        judges[f"pool, {folds} folds x {repetitions}"] = dict(references)

    body = []
    names = {"the original": ORIGINAL, "Forget-MI": UNLEARNED, "NegGrad+": "NegGrad+"}
    for shown, target in names.items():
        for judge, references in judges.items():
            knowledge = AdversaryKnowledge(partition, {**signals, **references}, task=cohort.task)
            body.append(line(shown, judge, verdict_of(knowledge, target)))

    # A retrained model stands in for one that forgot exactly
    exact = retrained["retrain-0"]
    for judge, references in judges.items():
        others = {name: one for name, one in references.items() if one.model != exact.model}
        knowledge = AdversaryKnowledge(
            partition, {**signals, "exact": exact, **others}, task=cohort.task
        )
        body.append(line("a retrained model", judge, verdict_of(knowledge, "exact")))
    return rows(["model", "judged by", *Rule().channels, "verdict"], body)


def main() -> None:
    """Make what is missing, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the models")
    parser.add_argument("--into", type=Path, help="page with marks for the table")
    parser.add_argument("--pools", nargs="+", default=["2x3", "5x2"], help="folds x repetitions")
    parser.add_argument("--patients", type=int, default=270)
    parser.add_argument("--reference", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    spec = spec_of_run(options.patients, options.reference, options.seed)
    sizes = []
    for size in options.pools:
        folds, repetitions = size.split("x")
        sizes.append((int(folds), int(repetitions)))
    lines = table(*made(options.work, spec, sizes), spec, sizes)
    words = ["--work", "FOLDER", "--pools", *options.pools, "--seed", str(options.seed)]
    shown = command("pool_check", words)
    text = "\n".join([f"    {shown}", "", *lines])
    put(options.into, {"pool-check": text})


if __name__ == "__main__":
    main()
