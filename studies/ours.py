"""Measures our own two methods on generated cohorts, against three retrained models.

    python studies/ours.py --cohorts 4 5 6 --out runs/ours [--workers 2] [--into docs/consensus_results.md]
    python studies/ours.py --table relearning --cohorts 20 21 22 --seeds 0 --out runs/ours [--into PAGE]
    python studies/ours.py --table floor --cohorts 20 21 22 --seeds 0 1 2 --out runs/ours [--into docs/which_method.md]
    python studies/ours.py --table ablation --cohorts 4 5 6 --out runs/ours
    python studies/ours.py --table few --cohorts 4 5 6 --out runs/few

- methods: both of them beside Forget-MI;
- relearning: half of the forgotten patients are taught again, as in the audit of a run; passes until they are known as
  well as to the original, the same over the retrained models' passes, and the area under relearning over theirs;
- floor: the methods for a request, each measure over the retrained models' own and cost over the shortest retraining's;
- ablation: options of calibrated_consensus, one changed at a time, and milder changes without transport;
- few: the methods on cohorts of half the size, which leave calibrated_consensus few validation patients.

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ours_models
from forgetmi.benchmark.measured import POSITIVE, Number
from forgetmi.benchmark.progress import duration
from forgetmi.benchmark.results import summary
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.errors import EvaluationError
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackOutput
from forgetmi.evaluation.attacks.relearn import Relearn
from forgetmi.evaluation.attacks.relearn_area import RelearnArea
from forgetmi.evaluation.channels import Channel
from forgetmi.jobs.pool import run_jobs
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.consensus import Consensus
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.rewind import Rewind
from forgetmi.methods.short_retrain import ShortRetrain
from forgetmi.methods.undo import Undo
from forgetmi.run import workflow
from forgetmi.run.directory import RunDirectory
from forgetmi.run.relearn import read_relearning, taught_patients
from forgetmi.run.spec import write_yaml
from ours_models import ORIGINAL, RETRAIN, Model, Setting, groups, jobs
from pages import command, hardware, put, rows

METHODS = ("calibrated_consensus", "consensus", "forget_mi")
RELEARNT = ("undo", "rewind", "calibrated_consensus", "forget_mi")
CHANGES = (
    "covariance=0",
    "draws=4",
    "members=50",
    "kl=4,batch_size=4",
    "batch_size=16",
    "decay=0",
    "text_level=0.2",
    "text_level=0.2,sentences=true",
    "text_level=0.2,sentences=true,batch_size=16,decay=0",
)
WASHED = ("shift=0.0625,text_level=0.2",)
ABLATION = (
    "calibrated_consensus",
    *(f"calibrated_consensus:{options}" for options in CHANGES),
    "consensus",
    *(f"consensus:{options}" for options in WASHED),
)
# The cheapest exact retraining comes first: cost is counted in it
YARDSTICK = "short_retrain"
CANDIDATES = (YARDSTICK, "undo", "rewind", "calibrated_consensus", "consensus", "forget_mi")
SETTINGS = {
    "methods": METHODS,
    "floor": CANDIDATES,
    "relearning": RELEARNT,
    "ablation": ABLATION,
    "few": METHODS,
}
MARKS = {
    "methods": "figures",
    "floor": "over-floor",
    "relearning": "relearning",
    "ablation": "ablation",
    "few": "few",
}
PATIENTS = {"few": 135}
CHANNELS: tuple[Channel, ...] = ("image", "text")
COLUMNS = (
    "gap",
    "gap joint",
    "JSf image",
    "JSf text",
    "rho image",
    "rho text",
    "test AUC change",
    "time / retrain",
)
FLOOR_ROW = "retrain (floor)"
COMPARED = ("gap", "gap joint", "JSf image", "JSf text")
Measured = Mapping[
    Setting, Mapping[str, np.ndarray]
]  # by set and row of the table: models x columns


def measured(setting: Setting, table: Mapping[str, Sequence[Model]]) -> dict[str, np.ndarray]:
    """The columns of each model of each row of the table."""
    cohort, sets = setting.load()
    signals = {
        model: Signals.load(setting.signals(model)) for row in table.values() for model in row
    }
    retrains = [model for model in signals if model.kind == RETRAIN]
    evaluation = workflow.evaluate(
        original=signals[Model(ORIGINAL)],
        unlearned={one.name: said for one, said in signals.items() if one.unlearns},
        retrained=[signals[one] for one in retrains],
        partition=sets,
        task=cohort.task,
        seed=0,
        resamples=0,
    )
    unit = float(np.mean([cost(setting, one) for one in retrains]))
    return {
        row: np.array(
            [[*columns(evaluation, one.name), cost(setting, one) / unit] for one in models]
        )
        for row, models in table.items()
    }


def cost(setting: Setting, model: Model) -> float:
    """CPU seconds of making a model."""
    return json.loads(setting.place(model).trace(model.name).read_text(encoding="utf-8"))[
        "measured cpu seconds"
    ]


def columns(evaluation: Evaluation, name: str) -> list[float]:
    """Gap of the image head and of both, divergence and rank correlation of each head, change of the test AUC."""

    def value(model: str, metric: str, head: str, on: str) -> float:
        score = evaluation.get(model, metric, head=head, on=on)
        if isinstance(score, Failed):
            raise SystemExit(f"{model}: {metric} could not be measured: {score.reason}")
        return score.value

    return [
        value(name, "gap", "image", ""),
        value(name, "gap_joint", "both", ""),
        *(
            value(name, metric, head, "forget")
            for metric in ("jsf", "loss_spearman")
            for head in ("image", "text")
        ),
        value(name, "auc", "image", "test") - value(ORIGINAL, "auc", "image", "test"),
    ]


def relearnt_table(settings: Sequence[Setting], table: Mapping[str, Sequence[Model]]) -> list[str]:
    """How long each model takes to learn the forgotten again, over the retrained models, by head."""
    # By row and channel one list a set
    found: dict[tuple[str, Channel], list[list[Taught]]] = {}
    audit, patients = ours_models.AUDIT, 0
    for setting in settings:
        cohort, sets = setting.load()
        taught = taught_patients(sets, seed=setting.cohort)
        patients += len(taught)
        models = [model for row in table.values() for model in row]
        signals = {model.name: Signals.load(setting.signals(model)) for model in models}
        kept = {
            model.name: read_relearning(setting.directory.relearning(model.name), taught=taught)
            for model in models
        }
        for (row, members), channel in itertools.product(table.items(), CHANNELS):
            of_set = []
            for model in members:
                knowledge = AdversaryKnowledge(
                    partition=sets,
                    signals=signals,
                    channel=channel,
                    task=cohort.task,
                    target=model.name,
                    seed=setting.cohort,
                    relearning=kept,
                )
                of_set.append(Taught(_made(Relearn(), knowledge), _made(RelearnArea(), knowledge)))
            found.setdefault((row, channel), []).append(of_set)
    lines = [
        [row, *(text for channel in CHANNELS for text in _summary(found[row, channel]))]
        for row in table
    ]
    every = [taught for sets_of in found.values() for of_set in sets_of for taught in of_set]
    why = sorted({part for one in every for part in (one.time, one.area) if isinstance(part, str)})
    columns = ("passes", "over retrained", "area over retrained")
    head = ["", *(f"{channel}: {what}" for channel in CHANNELS for what in columns)]
    return [
        f"Forgotten: {', '.join(setting.title for setting in settings)}. Taught again: {patients} of the patients, "
        f"{audit.relearn_epochs} passes at a rate of {audit.relearn_lr:g}. In brackets the 95 % interval over the sets "
        "(Student's t).",
        "",
        *rows(head, lines),
        *(f"\nWithout a ratio: {reason}" for reason in why),
    ]


@dataclass(frozen=True)
class Taught:
    """Time and area of one model's relearning, or why there is none."""

    time: AttackOutput | str
    area: AttackOutput | str


def _made(attack: Relearn | RelearnArea, knowledge: AdversaryKnowledge) -> AttackOutput | str:
    try:
        return attack.apply(knowledge)
    except EvaluationError as error:
        return "; ".join(str(fault) for fault in error.faults)


def _summary(sets: Sequence[Sequence[Taught]]) -> tuple[str, str, str]:
    """Mean passes, mean ratio of times with its bound, and of areas with its interval over the sets.

    A dash where one of them could not be had.
    """
    times = [[one.time for one in of_set] for of_set in sets]
    areas = [[one.area for one in of_set] for of_set in sets]
    passes, ratio, area = "-", "-", "-"

    # Passes, and what they are over the retrained models'
    good = [one for of_set in times for one in of_set if not isinstance(one, str)]
    if len(good) == sum(map(len, times)):
        bounds = " or ".join(sorted({one.bound for one in good} - {""}))
        passes = f"{np.mean([one.details['epochs'] for one in good]):.1f}"
        ratio = f"{bounds} {_over_sets(times)}".strip()

    if not any(isinstance(one, str) for of_set in areas for one in of_set):
        area = _over_sets(areas)
    return passes, ratio, area


def _over_sets(sets: Sequence[Sequence[AttackOutput | str]]) -> str:
    """Mean over the sets of the means over their models, with an interval where there are several."""
    groups = [
        [Number(one.value, within=POSITIVE) for one in of_set if not isinstance(one, str)]
        for of_set in sets
    ]
    cell = summary(groups)
    if len(groups) < 2 or cell.interval is None:
        return f"{cell.value:.2f}"
    return f"{cell.value:.2f} [{cell.interval[0]:.2f}, {cell.interval[1]:.2f}]"


def page(every: Measured, *, settings: Sequence[str], apart: bool) -> list[str]:
    """By percentage the mean over the sets, and how the settings compare with the first; then each set for itself."""
    lines: list[str] = []
    for percent in dict.fromkeys(setting.percent for setting in every):
        some = {setting: table for setting, table in every.items() if setting.percent == percent}
        if len(some) > 1:
            tables = list(some.values())
            lines += _table(
                f"Mean of {len(some)} sets, {percent:g} %",
                {
                    row: np.mean([one[row].mean(axis=0) for one in tables], axis=0)
                    for row in tables[0]
                },
            )
            lines += compared(tables, settings, percent=percent)
    if apart or not lines:
        for setting, table in every.items():
            lines += _table(
                setting.title, {row: values.mean(axis=0) for row, values in table.items()}
            )
    return lines[1:]


def _table(title: str, table: Mapping[str, np.ndarray]) -> list[str]:
    return [
        "",
        f"**{title}**",
        "",
        *rows(
            ["", *COLUMNS],
            (
                [row.replace(":", ": "), *(f"{value:.3f}" for value in values)]
                for row, values in table.items()
            ),
        ),
    ]


def over_floor(every: Measured) -> list[str]:
    """By percentage each row's distances over the retrained models' own, its cost over the yardstick's, its change.

    Each cell is the mean over the sets with its interval; of a set the mean over seeds is taken first.
    """
    lines: list[str] = []
    for percent in dict.fromkeys(setting.percent for setting in every):
        some = [table for setting, table in every.items() if setting.percent == percent]
        body = []
        for row in some[0]:
            sets = [_ratios(table, row) for table in some]
            *ratios, change = zip(*sets, strict=True)
            cells = [_over_values(values, within=POSITIVE, form=".2f") for values in ratios]
            change = _over_values(change, within=(-np.inf, np.inf), form="+.3f")
            body.append([row, *cells, change])

        titles = [
            *(f"{name} / floor" for name in COMPARED),
            f"time / {YARDSTICK}",
            "test AUC change",
        ]
        head = f"**{len(some)} sets, {percent:g} %**: mean, and the 95 % interval over the sets (Student's t)"
        lines += ["", head, "", *rows(["", *titles], body)]
    return lines[1:]


def _ratios(table: Mapping[str, np.ndarray], row: str) -> list[float]:
    """Of one set: the row's distances over the floor, cost over the yardstick's, and change of the test AUC."""
    mean, floor, unit = (table[name].mean(axis=0) for name in (row, FLOOR_ROW, YARDSTICK))
    distances = [COLUMNS.index(name) for name in COMPARED]
    ratios = [float(mean[column] / floor[column]) for column in distances]
    return [*ratios, float(mean[-1] / unit[-1]), float(mean[COLUMNS.index("test AUC change")])]


def _over_values(values: Sequence[float], *, within: tuple[float, float], form: str) -> str:
    """The mean of one value a set, and its interval where there are several sets."""
    found = summary([[Number(value, within=within)] for value in values])
    text = f"{found.value:{form}}"
    if found.interval is None:
        return text
    return f"{text} [{found.interval[0]:{form}}, {found.interval[1]:{form}}]"


def compared(
    tables: Sequence[Mapping[str, np.ndarray]], settings: Sequence[str], *, percent: float
) -> list[str]:
    """What each setting's scores are above the first one's, over pairs of a set and a seed: mean and interval."""
    first, *others = settings
    pairs = sum(len(table[first]) for table in tables)
    lines = []
    for row in others:
        above = np.concatenate([table[row] - table[first] for table in tables])
        lines.append(
            [row.replace(":", ": "), *(_change(above[:, COLUMNS.index(name)]) for name in COMPARED)]
        )
    return (
        [
            "",
            f"**Above {first.replace(':', ': ')}, {percent:g} %** (mean of {pairs} pairs of set and seed, "
            "95 % interval; in how many pairs higher)",
            "",
            *rows(["", *COMPARED], lines),
        ]
        if others
        else []
    )


def _change(values: np.ndarray) -> str:
    found = summary([[Number(float(value), within=(-np.inf, np.inf))] for value in values])
    if found.interval is None:
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}], {int((values > 0).sum())}"


def claimed(patients: int) -> dict[str, Any]:
    """What every result under one --out has in common."""
    defaults = {
        "forget_mi": ForgetMI(),
        "consensus": Consensus(),
        "calibrated_consensus": CalibratedConsensus(),
        "undo": Undo(),
        "rewind": Rewind(),
        "short_retrain": ShortRetrain(),
    }
    return {
        "methods": {name: asdict(method) for name, method in defaults.items()},
        "retrains": ours_models.RETRAINS,
        "training": asdict(ours_models.RECIPE),
        "patients": patients,
        "relearning": {
            "epochs": ours_models.AUDIT.relearn_epochs,
            "lr": ours_models.AUDIT.relearn_lr,
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=tuple(MARKS), default="methods", help="which table")
    parser.add_argument(
        "--settings", nargs="+", help="methods with options, in place of the table's own"
    )
    parser.add_argument(
        "--cohorts", type=int, nargs="+", default=[10], help="seeds of the generated cohorts"
    )
    parser.add_argument(
        "--draws", type=int, nargs="+", default=[0], help="disjoint forget sets, from 0"
    )
    parser.add_argument(
        "--percents", type=float, nargs="+", default=[10.0], help="images to forget"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of each method")
    parser.add_argument("--patients", type=int, help="size of a cohort; 270, or 135 for few")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder the models and measurements are kept in"
    )
    parser.add_argument("--into", type=Path, help="page to write the table into, between its marks")
    own = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    patients = own.patients or PATIENTS.get(own.table, 270)
    sets = [
        Setting(own.out, patients, *each)
        for each in itertools.product(own.cohorts, own.percents, own.draws)
    ]
    settings, relearning = own.settings or SETTINGS[own.table], own.table == "relearning"
    table = groups(settings, own.seeds)
    models = [model for row in table.values() for model in row]
    root = RunDirectory(own.out)
    with root.lock():
        root.claim(write_yaml(claimed(patients)))
        for setting in sets:
            cohort, partition = setting.load()
            workflow.prepare(cohort=cohort, partition=partition)
            setting.directory.root.mkdir(parents=True, exist_ok=True)
            write_partition(setting.directory.partition, partition)
            run_jobs(
                list(jobs(setting, models, again=relearning)),
                workers=own.workers,
                on_progress=lambda name, done, total: print(
                    f"{Path(name).relative_to(own.out)} {done}/{total}", file=sys.stderr, flush=True
                ),
            )
        if relearning:
            lines = relearnt_table(sets, table)
        else:
            every = {setting: measured(setting, table) for setting in sets}
            if own.table == "floor":
                lines = over_floor(every)
            else:
                lines = page(every, settings=settings, apart=own.table == "methods")
    spent = {setting.signals(model): cost(setting, model) for setting in sets for model in models}
    seeds = ", ".join(map(str, own.seeds))
    retrains = ours_models.RETRAINS
    text = "\n".join(
        [
            f"`{command('ours', argv if argv is not None else sys.argv[1:])}`",
            "",
            f"Generated cohorts of {patients} patients; {retrains} retrained models a set; a method's "
            f"row is the mean over "
            f"its seeds ({seeds}). A retrained model is measured against the other {retrains - 1}. All models took "
            f"{duration(sum(spent.values()))} of processor time on {hardware()}.",
            "",
            *lines,
        ]
    )
    put(own.into, {MARKS[own.table]: text})


if __name__ == "__main__":
    main()
