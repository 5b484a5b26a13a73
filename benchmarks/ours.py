"""Measures our own two methods beside Forget-MI on generated cohorts, against three retrained models.

    python benchmarks/ours.py --cohorts 10 11 --draws 0 1 --percents 10 --out runs/ours [--workers 2] [--into PAGE]

A set is a cohort seed, a percentage and a forget draw. The original of a cohort (all its sets share the training side)
and three retrained models of a set are trained once and kept under --out, as is everything measured; the same command
goes on where it stopped. After a change of the code, take another --out: only options are compared. After each set,
figures.json and figures.md under --out hold what is measured so far; the tables are printed at the end, or written
between the two marks of a page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi import api, pipeline
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.files import write_json, write_text
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.consensus import Consensus
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.train import Recipe
from forgetmi.rundir import RunDirectory
from forgetmi.seeding import derive
from forgetmi.spec import write_yaml
from forgetmi.types import Cohort, Evaluation, Failed, Partition, Signals
from forgetmi.workers import Job, Tell, run_jobs

MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")
METHODS = {"forget_mi": ForgetMI(), "consensus": Consensus(), "calibrated_consensus": CalibratedConsensus()}
RETRAINS = 3
ORIGINAL = "original"
COLUMNS = ("gap", "gap joint", "JSf image", "JSf text", "rho image", "rho text", "test AUC change", "time / retrain")


@dataclass(frozen=True)
class Setting:
    """One set of forgotten patients, and where its models lie."""

    out: Path
    cohort: int
    percent: float
    draw: int

    @property
    def title(self) -> str:
        return f"cohort {self.cohort}, {self.percent:g} %, draw {self.draw}"

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.out / f"cohort-{self.cohort}" / f"{self.percent:g}-percent-{self.draw}")

    def place(self, name: str) -> RunDirectory:
        """Where a model lies: the original is the cohort's, all others are the set's."""
        return RunDirectory(self.out / f"cohort-{self.cohort}") if name == ORIGINAL else self.directory

    def load(self) -> tuple[Cohort, Partition]:
        cohort = SyntheticCohort(seed=self.cohort).load()
        return cohort, make_partition(cohort, forget=self.percent, seed=self.cohort, draw=self.draw)


def work(setting: Setting, name: str, seed: int, tell: Tell) -> None:
    """Train or unlearn one model, and keep what it says and what it cost."""
    place = setting.place(name)
    cohort, sets = setting.load()
    prepared = api.prepare(cohort=cohort, partition=sets)
    place.state(name).parent.mkdir(parents=True, exist_ok=True)
    rows = api.trained_rows(sets).tolist()
    if method := METHODS.get(name.rpartition("-")[0]):
        stored = json.loads(setting.place(ORIGINAL).trace(ORIGINAL).read_text(encoding="utf-8"))
        if stored["rows"] != rows:
            raise SystemExit(f"{setting.title}: the cohort's original was trained on other patients")
        _, original = api.open_checkpoint(setting.place(ORIGINAL).model(ORIGINAL), cohort=cohort)
        done = api.unlearn(prepared=prepared, partition=sets, model=original.model, method=method, seed=seed,
                           state=place.state(name), progress=tell)
        model, trace = done.model, done.trace.plain()
        seconds = done.trace.cost.cpu_seconds
    else:
        model, happened = api.train(prepared=prepared, partition=sets, seed=seed, resume=place.state(name),
                                    without_forgotten=name != ORIGINAL, progress=tell)
        trace, seconds = {"epochs": happened.epochs, "rows": rows}, happened.total("cpu_seconds")
    if name == ORIGINAL:
        prepared.save(place.model(name), model)
    write_json(place.trace(name), {**trace, "measured cpu seconds": seconds})
    place.signals(name).parent.mkdir(exist_ok=True)
    api.predict(prepared=prepared, model=model).save(place.signals(name))
    place.state(name).unlink(missing_ok=True)


def names(seeds: list[int]) -> dict[str, Callable[[int], int]]:
    """Every model of a set, with its seed as a function of the cohort's."""
    found: dict[str, Callable[[int], int]] = {ORIGINAL: lambda root: root}
    found |= {f"retrain-{r}": lambda root, r=r: derive(root, f"retrain-{r}") for r in range(RETRAINS)}
    return found | {f"{method}-{seed}": lambda root, seed=seed: seed for method in METHODS for seed in seeds}


def jobs(setting: Setting, seeds: list[int]) -> list[Job]:
    """What is not done yet; the cohort's original comes first, and unlearning waits for it."""
    first = str(setting.place(ORIGINAL).root / ORIGINAL)
    return [Job(str(setting.place(name).root / name), work, (setting, name, seed(setting.cohort)),
                after=first if name.rpartition("-")[0] in METHODS else None)
            for name, seed in names(seeds).items() if not setting.place(name).signals(name).exists()]


def rows_of(setting: Setting, seeds: list[int]) -> dict[str, list[float]]:
    """The measured columns of each model of a set, methods averaged over their seeds."""
    cohort, sets = setting.load()
    signals = {name: Signals.load(setting.place(name).signals(name)) for name in names(seeds)}
    retrains = [f"retrain-{r}" for r in range(RETRAINS)]
    others = {name: found for name, found in signals.items() if name not in {ORIGINAL, *retrains}}
    evaluation = api.evaluate(original=signals[ORIGINAL], unlearned=others, retrained=[signals[r] for r in retrains],
                              partition=sets, ordinal=cohort.ordinal, seed=0, resamples=0)
    cost = {name: json.loads(setting.place(name).trace(name).read_text(encoding="utf-8"))["measured cpu seconds"]
            for name in signals}
    unit = float(np.mean([cost[name] for name in retrains]))
    groups = {ORIGINAL: [ORIGINAL], "retrain (floor)": retrains,
              **{method: [f"{method}-{seed}" for seed in seeds] for method in METHODS}}
    return {title: np.mean([[*columns(evaluation, name), cost[name] / unit] for name in members], axis=0).tolist()
            for title, members in groups.items()}


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


def page(measured: dict[str, dict[str, list[float]]], seeds: list[int]) -> str:
    """All tables as Markdown."""
    mean = {title: np.mean([rows[title] for rows in measured.values()], axis=0).tolist()
            for title in next(iter(measured.values()))}
    tables = {f"Mean of {len(measured)} sets": mean, **measured} if len(measured) > 1 else measured
    seeds_said = " and ".join(map(str, seeds))
    lines = [f"Generated cohorts of 270 patients; {RETRAINS} retrained models a set; methods averaged over seeds "
             f"{seeds_said}. A retrained model is measured against the other {RETRAINS - 1}."]
    for title, rows in tables.items():
        lines += ["", f"**{title}**", "", f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |" for name, values in rows.items()]
    return "\n".join(lines)


def claimed() -> dict[str, Any]:
    """What every result under one --out has in common."""
    return {"methods": {name: asdict(method) for name, method in METHODS.items()}, "retrains": RETRAINS,
            "training": asdict(Recipe())}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures our own two methods beside Forget-MI.")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[10], help="seeds of the generated cohorts")
    parser.add_argument("--draws", type=int, nargs="+", default=[0], help="disjoint forget sets, from 0")
    parser.add_argument("--percents", type=float, nargs="+", default=[10.0], help="images to forget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of each method")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--out", type=Path, required=True, help="folder the models and measurements are kept in")
    parser.add_argument("--into", type=Path, help="page to write the tables into, between its marks")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = [Setting(options.out, *each) for each in itertools.product(
        options.cohorts, options.percents, options.draws)]
    root = RunDirectory(options.out)
    with root.lock():
        root.claim(write_yaml(claimed()))
        measured: dict[str, dict[str, list[float]]] = {}
        tables = ""
        for setting in settings:
            cohort, sets = setting.load()
            api.prepare(cohort=cohort, partition=sets)
            setting.directory.root.mkdir(parents=True, exist_ok=True)
            pipeline.write_partition(setting.directory.partition, sets)
            run_jobs(jobs(setting, options.seeds), workers=options.workers,
                     show=lambda name, done, total: print(f"{Path(name).relative_to(options.out)} {done}/{total}",
                                                          flush=True))
            measured[setting.title] = rows_of(setting, options.seeds)
            tables = page(measured, options.seeds)
            write_json(options.out / "figures.json", {"columns": COLUMNS, "sets": measured})
            write_text(options.out / "figures.md", tables)
    if options.into is None:
        print(tables)
        return
    before, after = options.into.read_text().split(MARKS[0])[0], options.into.read_text().split(MARKS[1])[1]
    options.into.write_text(f"{before}{MARKS[0]}\n{tables}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
