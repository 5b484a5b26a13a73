"""Verdicts over several forget sets at once, by a standing pool: who is FORGOTTEN without a retraining.

    python studies/pooled_verdicts.py --cohorts 30 31 --out OUT [--retrained 30] [--into docs/pooled_verdicts.md]

Of each cohort eight disjoint forget sets of 10 % are taken (about 140 patients), and 600 further patients whom no model
ever saw. Every method unlearns each set from the same original; the unchanged rule judges the sets together. The
references are a pool, made once; on the cohorts named by --retrained also models retrained without each set. Exact
retraining in fewer epochs is judged like a method: it is what the rule must not condemn. What OUT holds is not made
again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import forget_draw
from forgetmi.audit.patient_scores import through
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import Verdict
from forgetmi.benchmark.progress import duration
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.jobs.pool import run_jobs
from forgetmi.run import workflow
from forgetmi.run.pool_making import make_pool, plan_pool
from forgetmi.run.pool_plan import AUDIT
from forgetmi.run.pool_references import references_in
from forgetmi.run.spec import GivenModels, RunSpec
from ours_models import ORIGINAL, RETRAIN, RETRAINS, Model, Setting, jobs
from pages import command, hardware, put, rows

PERCENT = 10.0
METHODS = ("short_retrain", "undo", "forget_mi", "calibrated_consensus")
POOL, RETRAINED = "pool", "retrained models"


def main(argv: Sequence[str]) -> None:
    """Make what is missing, and the table."""
    own = _options(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    body: list[list[str]] = []
    seconds = 0.0
    for cohort in own.cohorts:
        sets = [
            Setting(own.out, own.patients, cohort, PERCENT, draw, reference=own.reference)
            for draw in range(own.draws)
        ]
        judges = [POOL, *([RETRAINED] if cohort in own.retrained else [])]
        made = _make(sets, own.methods, retrained=RETRAINED in judges)
        pool, spent = _pool(sets[0], folds=own.folds, repetitions=own.repetitions)
        seconds += spent + sum(_seconds(setting, model) for setting, model in made)
        for method in (ORIGINAL, *own.methods):
            for judge in judges:
                verdict = _verdict(sets, method, judge=judge, pool=pool)
                body.append([str(cohort), method, judge, *_cells(verdict)])
                print(" ".join(body[-1]), file=sys.stderr, flush=True)

    head = ["cohort", "model", "judged by", *Rule().channels, "verdict", "forgotten"]
    text = [
        f"    {command('pooled_verdicts', argv)}",
        "",
        f"{own.draws} disjoint forget sets of {PERCENT:g} % a cohort, {own.reference} further "
        f"never-seen patients, a pool of {own.folds} folds x {own.repetitions}; Delta with its "
        f"interval. Models took {duration(seconds)} of processor time on {hardware()}.",
        "",
        *rows(head, body),
    ]
    put(own.into, {"pooled-verdicts": "\n".join(text)})


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, nargs="+", required=True)
    parser.add_argument("--retrained", type=int, nargs="*", default=[])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--patients", type=int, default=270)
    parser.add_argument("--reference", type=int, default=600)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--into", type=Path)
    return parser.parse_args(argv)


def _make(
    sets: Sequence[Setting], methods: Sequence[str], *, retrained: bool
) -> list[tuple[Setting, Model]]:
    """The original, and every set's models; each once."""
    made = [(sets[0], Model(ORIGINAL))]
    for setting in sets:
        cohort, partition = setting.load()
        workflow.prepare(cohort=cohort, partition=partition)
        setting.directory.root.mkdir(parents=True, exist_ok=True)
        write_partition(setting.directory.partition, partition)

        models = [Model(method) for method in methods]
        if retrained:
            models += [Model(RETRAIN, number) for number in range(RETRAINS)]
        run_jobs(list(jobs(setting, [Model(ORIGINAL), *models], again=False)), workers=1)
        made += [(setting, model) for model in models]
    return made


def _pool(setting: Setting, *, folds: int, repetitions: int) -> tuple[Path, float]:
    """The cohort's pool for audits, and the processor seconds that it took."""
    home = setting.place(Model(ORIGINAL))
    root, cost = home.root / f"pool-{folds}-{repetitions}", home.root / "pool.json"
    spec = RunSpec(
        cohort=setting.options,
        given=GivenModels(home.model(ORIGINAL)),
        retrains=0,
        seed=setting.cohort,
        workers=1,
        duplicates=False,
    )
    plan, drawn = plan_pool(
        spec,
        folds=folds,
        repetitions=repetitions,
        targets=0,
        seed=setting.cohort,
        keep_models=False,
    )
    began = os.times()
    if make_pool(plan, drawn, spec, root):
        ended = os.times()
        write_json(cost, {"cpu_seconds": ended.user + ended.system - began.user - began.system})
    return root, float(read_json(cost, what="the cost", do="Delete it.")["cpu_seconds"])


def _verdict(sets: Sequence[Setting], method: str, *, judge: str, pool: Path) -> Verdict:
    """What the rule says of a method on all sets together."""
    rule = Rule()
    draws: dict[Any, list[Any]] = {channel: [] for channel in rule.channels}
    for setting in sets:
        cohort, partition = setting.load()
        target = Model(method)
        signals: dict[str, Any] = {}
        for model in (Model(ORIGINAL), target):
            signals[model.name] = Signals.load(setting.signals(model))
        signals |= _references(setting, judge, pool, partition.forget)

        knowledge = AdversaryKnowledge(partition, signals, task=cohort.task).with_target(
            target.name
        )
        for channel, seen in through(knowledge, rule.channels).items():
            draws[channel].append(forget_draw(seen))
    return decide(rule, draws)


def _references(setting: Setting, judge: str, pool: Path, forgotten: Any) -> Mapping[str, Any]:
    if judge == POOL:
        return references_in(pool, pool / AUDIT / "signals", forgotten=forgotten)
    models = [Model(RETRAIN, number) for number in range(RETRAINS)]
    return {model.name: Signals.load(setting.signals(model)) for model in models}


def _cells(verdict: Verdict) -> list[str]:
    """Delta of each channel, the outcome and how many patients."""
    cells = []
    for channel in verdict.channels:
        if channel.deltas is None:
            cells.append(channel.reason)
            continue
        delta = channel.deltas.unlearned
        cells.append(f"{delta.value:+.3f} [{delta.low:+.3f}, {delta.high:+.3f}]")
    return [*cells, verdict.outcome, str(verdict.forgotten)]


def _seconds(setting: Setting, model: Model) -> float:
    """Processor seconds of a stored model."""
    trace = setting.place(model).trace(model.name)
    return float(read_json(trace, what="the trace", do="Delete it.")["measured cpu seconds"])


if __name__ == "__main__":
    main(sys.argv[1:])
