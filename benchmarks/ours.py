"""Measures our own two methods on generated cohorts, against three retrained models.

    python benchmarks/ours.py --cohorts 1 2 3 --out runs/ours [--workers 2] [--into docs/calibrated_consensus.md]
    python benchmarks/ours.py --table relearning --cohorts 1 --seeds 0 --out runs/ours
    python benchmarks/ours.py --table ablation --cohorts 1 2 3 --out runs/ours

- methods: both of them beside Forget-MI;
- relearning: half of the forgotten patients are taught again, as in the audit of a run; passes until they are known as
  well as to the original, and the same over the retrained models' passes;
- ablation: options of calibrated_consensus, one changed at a time, and milder changes without transport.

A set is a cohort seed, a percentage and a forget draw. The original of a cohort (all its sets share the training side)
and three retrained models of a set are trained once for all tables and kept under --out, as is everything measured; the
same command goes on where it stopped. After a change of the code, take another --out: only options are compared. The
table is printed, or written between its two marks of a page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi import api, pipeline
from forgetmi.bench.grid import read_setting
from forgetmi.bench.progress import duration
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.errors import EvaluationError
from forgetmi.evaluation.attacks.base import Found
from forgetmi.evaluation.attacks.evidence import Evidence
from forgetmi.evaluation.attacks.relearn import Relearn
from forgetmi.evaluation.channels import Channel
from forgetmi.files import write_json
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.consensus import Consensus
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.train import Recipe
from forgetmi.relearn import read_relearning, relearn, relearnt, taught_patients
from forgetmi.rundir import RunDirectory
from forgetmi.seeding import derive
from forgetmi.spec import AuditSpec, write_yaml
from forgetmi.types import Cohort, Evaluation, Failed, Partition, Signals
from forgetmi.workers import Job, Tell, run_jobs
from pages import command, hardware, put, rows

ORIGINAL, RETRAIN = "original", "retrain"
METHODS = ("forget_mi", "consensus", "calibrated_consensus")
CHANGES = ("covariance=0", "draws=4", "members=50", "kl=4,batch_size=4")
WASHED = ("shift=0.0625,text_level=0.2",)
ABLATION = ("calibrated_consensus", *(f"calibrated_consensus:{options}" for options in CHANGES),
            "consensus", *(f"consensus:{options}" for options in WASHED))
SETTINGS = {"methods": METHODS, "relearning": METHODS, "ablation": ABLATION}
MARKS = {"methods": "figures", "relearning": "relearning", "ablation": "ablation"}
CHANNELS: tuple[Channel, ...] = ("image", "text")
COLUMNS = ("gap", "gap joint", "JSf image", "JSf text", "rho image", "rho text", "test AUC change", "time / retrain")
RETRAINS, AUDIT, RECIPE = 3, AuditSpec(), Recipe()


@dataclass(frozen=True)
class Model:
    """One model of a set.

    Args:
        kind: "original", "retrain", or a method with options as for `forgetmi benchmark`.
        number: Which retrained model, or the method's seed.
    """

    kind: str
    number: int = 0

    @property
    def name(self) -> str:
        return ORIGINAL if self.kind == ORIGINAL else f"{self.kind}-{self.number}"

    @property
    def unlearns(self) -> bool:
        return self.kind not in (ORIGINAL, RETRAIN)

    def seed(self, root: int) -> int:
        """Its seed, from the cohort's."""
        return root if self.kind == ORIGINAL else derive(root, self.name) if self.kind == RETRAIN else self.number


@dataclass(frozen=True)
class Setting:
    """One set of forgotten patients, and where its models lie."""

    out: Path
    patients: int
    cohort: int
    percent: float
    draw: int

    @property
    def title(self) -> str:
        return f"cohort {self.cohort}, {self.percent:g} %, draw {self.draw}"

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.out / f"cohort-{self.cohort}" / f"{self.percent:g}-percent-{self.draw}")

    def place(self, model: Model) -> RunDirectory:
        """Where a model lies: the original is the cohort's, all others are the set's."""
        return RunDirectory(self.out / f"cohort-{self.cohort}") if model.kind == ORIGINAL else self.directory

    def signals(self, model: Model) -> Path:
        return self.place(model).signals(model.name)

    def load(self) -> tuple[Cohort, Partition]:
        cohort = SyntheticCohort(patients=self.patients, seed=self.cohort).load()
        return cohort, make_partition(cohort, forget=self.percent, seed=self.cohort, draw=self.draw)


def make(setting: Setting, model: Model, tell: Tell) -> None:
    """Train or unlearn one model, and keep it, what it says and what it cost."""
    place, name, seed = setting.place(model), model.name, model.seed(setting.cohort)
    cohort, sets = setting.load()
    prepared = api.prepare(cohort=cohort, partition=sets)
    place.state(name).parent.mkdir(parents=True, exist_ok=True)
    trained = api.trained_rows(sets).tolist()
    if model.unlearns:
        home = setting.place(Model(ORIGINAL))
        if json.loads(home.trace(ORIGINAL).read_text(encoding="utf-8"))["rows"] != trained:
            raise SystemExit(f"{setting.title}: the cohort's original was trained on other patients")
        _, original = api.open_checkpoint(home.model(ORIGINAL), cohort=cohort)
        done = api.unlearn(prepared=prepared, partition=sets, model=original.model,
                           method=read_setting(model.kind).method, recipe=RECIPE, seed=seed, state=place.state(name),
                           progress=tell)
        result, trace, seconds = done.model, done.trace.plain(), done.trace.cost.cpu_seconds
    else:
        result, happened = api.train(prepared=prepared, partition=sets, recipe=RECIPE, seed=seed, progress=tell,
                                     resume=place.state(name), without_forgotten=model.kind == RETRAIN)
        trace, seconds = {"epochs": happened.epochs, "rows": trained}, happened.total("cpu_seconds")
    prepared.save(place.model(name), result)
    write_json(place.trace(name), {**trace, "measured cpu seconds": seconds})
    place.signals(name).parent.mkdir(exist_ok=True)
    api.predict(prepared=prepared, model=result).save(place.signals(name))
    place.state(name).unlink(missing_ok=True)


def teach(setting: Setting, model: Model, tell: Tell) -> None:
    """Teach one finished model half of the forgotten patients again, and keep what it says after every pass."""
    cohort, sets = setting.load()
    prepared, loaded = api.open_checkpoint(setting.place(model).model(model.name), cohort=cohort)
    state = setting.directory.state(f"relearn-{model.name}")
    relearn(prepared=prepared, partition=sets, model=loaded.model, recipe=RECIPE, epochs=AUDIT.relearn_epochs,
            lr=AUDIT.relearn_lr, seed=setting.cohort, folder=setting.directory.relearning(model.name), resume=state,
            progress=tell)
    state.unlink(missing_ok=True)


def groups(settings: Sequence[str], seeds: Sequence[int]) -> dict[str, list[Model]]:
    """Every model of a set, by row of the table."""
    return {ORIGINAL: [Model(ORIGINAL)], "retrain (floor)": [Model(RETRAIN, number) for number in range(RETRAINS)],
            **{kind: [Model(kind, seed) for seed in seeds] for kind in settings}}


def jobs(setting: Setting, models: Iterable[Model], *, again: bool) -> Iterator[Job]:
    """What is not done yet; unlearning waits for the cohort's original, and relearning for its model."""
    def job(work: Callable[..., None], model: Model, place: RunDirectory, *, after: Model | None) -> Job:
        before = None if after is None else str(setting.place(after).root / after.name)
        return Job(str(place.root / f"{'relearn-' * (work is teach)}{model.name}"), work, (setting, model), before)

    models = list(models)
    for model in models:
        if not setting.signals(model).exists():
            yield job(make, model, setting.place(model), after=Model(ORIGINAL) if model.unlearns else None)
    for model in models if again else ():
        if not relearnt(setting.directory.relearning(model.name), epochs=AUDIT.relearn_epochs):
            yield job(teach, model, setting.directory, after=model)


def measured(setting: Setting, table: Mapping[str, Sequence[Model]]) -> dict[str, list[float]]:
    """The columns of each row of the table, averaged over its models."""
    cohort, sets = setting.load()
    signals = {model: Signals.load(setting.signals(model)) for row in table.values() for model in row}
    retrains = [model for model in signals if model.kind == RETRAIN]
    evaluation = api.evaluate(
        original=signals[Model(ORIGINAL)], unlearned={one.name: said for one, said in signals.items() if one.unlearns},
        retrained=[signals[one] for one in retrains], partition=sets, ordinal=cohort.ordinal, seed=0, resamples=0)
    unit = float(np.mean([cost(setting, one) for one in retrains]))
    found = {row: [[*columns(evaluation, one.name), cost(setting, one) / unit] for one in models]
             for row, models in table.items()}
    return {row: np.mean(values, axis=0).tolist() for row, values in found.items()}


def cost(setting: Setting, model: Model) -> float:
    """CPU seconds of making a model."""
    return json.loads(setting.place(model).trace(model.name).read_text(encoding="utf-8"))["measured cpu seconds"]


def columns(evaluation: Evaluation, name: str) -> list[float]:
    """Gap of the image head and of both, divergence and rank correlation of each head, change of the test AUC."""
    def value(model: str, metric: str, head: str, on: str) -> float:
        score = evaluation.get(model, metric, head=head, on=on)
        if isinstance(score, Failed):
            raise SystemExit(f"{model}: {metric} could not be measured: {score.reason}")
        return score.value

    return [value(name, "gap", "image", ""), value(name, "gap_joint", "both", ""),
            *(value(name, metric, head, "forget") for metric in ("jsf", "loss_spearman") for head in ("image", "text")),
            value(name, "auc", "image", "test") - value(ORIGINAL, "auc", "image", "test")]


def relearnt_table(settings: Sequence[Setting], table: Mapping[str, Sequence[Model]]) -> list[str]:
    """How long each model takes to learn the forgotten again, over the retrained models, by head."""
    found: dict[tuple[str, Channel], list[Found | str]] = {}
    patients = 0
    for setting in settings:
        _, sets = setting.load()
        taught = taught_patients(sets, seed=setting.cohort)
        patients += len(taught)
        models = [model for row in table.values() for model in row]
        signals = {model.name: Signals.load(setting.signals(model)) for model in models}
        kept = {model.name: read_relearning(setting.directory.relearning(model.name), taught=taught)
                for model in models}
        for (row, members), channel in itertools.product(table.items(), CHANNELS):
            for model in members:
                found.setdefault((row, channel), []).append(_ratio(Evidence(
                    partition=sets, signals=signals, channel=channel, target=model.name, seed=setting.cohort,
                    relearning=kept)))
    lines = [[row, *(text for channel in CHANNELS for text in _summary(found[row, channel]))] for row in table]
    why = sorted({one for row in found.values() for one in row if isinstance(one, str)})
    head = ["", *(f"{channel}: {what}" for channel in CHANNELS for what in ("passes", "over retrained"))]
    return [f"Forgotten: {', '.join(setting.title for setting in settings)}. Taught again: {patients} of the patients, "
            f"{AUDIT.relearn_epochs} passes at a rate of {AUDIT.relearn_lr:g}.", "", *rows(head, lines),
            *(f"\nWithout a ratio: {reason}" for reason in why)]


def _ratio(evidence: Evidence) -> Found | str:
    try:
        return Relearn().apply(evidence)
    except EvaluationError as error:
        return "; ".join(str(fault) for fault in error.faults)


def _summary(found: Sequence[Found | str]) -> tuple[str, str]:
    """Mean passes and mean ratio with its bound; a dash where one of them could not be had."""
    good = [one for one in found if not isinstance(one, str)]
    if len(good) < len(found):
        return "-", "-"
    bounds = " or ".join(sorted({one.bound for one in good} - {""}))
    ratio = f"{np.mean([one.value for one in good]):.2f}"
    return f"{np.mean([one.details['epochs'] for one in good]):.1f}", f"{bounds} {ratio}".strip()


def page(every: Mapping[Setting, Mapping[str, Sequence[float]]], *, apart: bool) -> list[str]:
    """The mean over the sets of each percentage, and each set for itself."""
    tables: dict[str, Mapping[str, Sequence[float]]] = {}
    for percent in dict.fromkeys(setting.percent for setting in every):
        some = [table for setting, table in every.items() if setting.percent == percent]
        if len(some) > 1:
            tables[f"Mean of {len(some)} sets, {percent:g} %"] = {
                row: np.mean([one[row] for one in some], axis=0).tolist() for row in some[0]}
    if apart or not tables:
        tables |= {setting.title: table for setting, table in every.items()}
    lines = []
    for title, table in tables.items():
        lines += ["", f"**{title}**", "", *rows(["", *COLUMNS], (
            [row.replace(":", ": "), *(f"{value:.3f}" for value in values)] for row, values in table.items()))]
    return lines[1:]


def claimed(patients: int) -> dict[str, Any]:
    """What every result under one --out has in common."""
    defaults = {"forget_mi": ForgetMI(), "consensus": Consensus(), "calibrated_consensus": CalibratedConsensus()}
    return {"methods": {name: asdict(method) for name, method in defaults.items()}, "retrains": RETRAINS,
            "training": asdict(RECIPE), "patients": patients,
            "relearning": {"epochs": AUDIT.relearn_epochs, "lr": AUDIT.relearn_lr}}


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=tuple(MARKS), default="methods", help="which table")
    parser.add_argument("--settings", nargs="+", help="methods with options, in place of the table's own")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[10], help="seeds of the generated cohorts")
    parser.add_argument("--draws", type=int, nargs="+", default=[0], help="disjoint forget sets, from 0")
    parser.add_argument("--percents", type=float, nargs="+", default=[10.0], help="images to forget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of each method")
    parser.add_argument("--patients", type=int, default=270, help="size of a cohort")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--out", type=Path, required=True, help="folder the models and measurements are kept in")
    parser.add_argument("--into", type=Path, help="page to write the table into, between its marks")
    own = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sets = [Setting(own.out, own.patients, *each) for each in itertools.product(own.cohorts, own.percents, own.draws)]
    table, relearning = groups(own.settings or SETTINGS[own.table], own.seeds), own.table == "relearning"
    models = [model for row in table.values() for model in row]
    root = RunDirectory(own.out)
    with root.lock():
        root.claim(write_yaml(claimed(own.patients)))
        for setting in sets:
            cohort, partition = setting.load()
            api.prepare(cohort=cohort, partition=partition)
            setting.directory.root.mkdir(parents=True, exist_ok=True)
            pipeline.write_partition(setting.directory.partition, partition)
            run_jobs(list(jobs(setting, models, again=relearning)), workers=own.workers,
                     show=lambda name, done, total: print(f"{Path(name).relative_to(own.out)} {done}/{total}",
                                                          file=sys.stderr, flush=True))
        lines = relearnt_table(sets, table) if relearning else page(
            {setting: measured(setting, table) for setting in sets}, apart=own.table == "methods")
    spent = {setting.signals(model): cost(setting, model) for setting in sets for model in models}
    seeds = ", ".join(map(str, own.seeds))
    text = "\n".join([
        f"`{command('ours', argv if argv is not None else sys.argv[1:])}`", "",
        f"Generated cohorts of {own.patients} patients; {RETRAINS} retrained models a set; a method's row is the mean "
        f"over its seeds ({seeds}). A retrained model is measured against the other {RETRAINS - 1}. All models took "
        f"{duration(sum(spent.values()))} of processor time on {hardware()}.", "", *lines])
    put(own.into, {MARKS[own.table]: text})


if __name__ == "__main__":
    main()
