"""One attack on batches, on images and on patients, of the models of a `forgetmi benchmark` directory; none is run.

The original, the retrained models and the paper's methods, through the image head. What is not there is stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from forgetmi.authors_code.measures import release_measures
from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.measured import Found, Measured, Number, Read
from forgetmi.benchmark.results import Results, collect
from forgetmi.benchmark.settings import PAPER, Setting
from forgetmi.benchmark.store import Store
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Failed
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.svm_loss import sample_mia
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.evaluation.statistics import once
from forgetmi.report.table import PaperTable, TableRow, to_markdown
from forgetmi.run.run_data import open_run
from stored_grid import asked_for, made_by

BATCH, IMAGE, STRANGERS, PATIENT = (
    "batches flagged",
    "images flagged",
    "never seen flagged",
    "AUC of patients",
)
COLUMNS = (BATCH, IMAGE, STRANGERS, PATIENT)
NOTE = (
    "Batches flagged: the paper's attack, on losses averaged over 32 images; target: Retrain's value. Images "
    "flagged: the same kind of classifier on single images; target: never seen flagged, the same share of "
    "strangers. AUC of patients: forgotten against never-seen patients, by their mean margin; target: Retrain's "
    "value, near 0.5. Retrain: mean of its models. Brackets: 95 % interval over training seeds (Student's t); with "
    "one seed over patients, where there is one."
)

Key = tuple[str, float, int, int, int]
Judged = dict[str, Found]


def judge(signals: Signals, partition: Partition, *, seed: int) -> Judged:
    """What the three attacks say of one model; an attack that cannot be made says why.

    Args:
        signals: The model's.
        partition: Who is who.
        seed: The evaluation's seed, as in the benchmark's own tables.
    """
    seen = AdversaryKnowledge(
        partition, {"unlearned": signals}, task="grades", channel="image", seed=seed
    )

    def images() -> tuple[float, float]:
        losses = {on: seen.loss(signals, on) for on in ("retain", "forget", "holdout")}
        found = sample_mia(
            retain=losses["retain"],
            forget=losses["forget"],
            never_seen=losses["holdout"],
            patient=partition.patient[seen.rows("holdout")],
            seed=seed,
        )
        return (
            float(found.flag_rate(once(len(losses["forget"])))[0]),
            float(found.never_seen_flag_rate(once(len(losses["holdout"])))[0]),
        )

    try:
        flagged, strangers = images()
        patients = compare(
            seen.signal(signals, "forget"), seen.signal(signals, "holdout"), seed=seed
        )
        return {
            BATCH: Number(release_measures(signals, partition).attack.score),
            IMAGE: Number(flagged),
            STRANGERS: Number(strangers),
            PATIENT: Number(patients.value, patients.interval),
        }
    except EvaluationError as error:
        return dict.fromkeys(COLUMNS, Failed("attack", str(error)))


def mean(found: Sequence[Judged]) -> Judged:
    """Mean over models, without an interval where they are several."""
    if len(found) == 1:
        return found[0]
    means: Judged = {}
    for name in COLUMNS:
        values = [one[name] for one in found]
        failed = next((one for one in values if isinstance(one, Failed)), None)
        means[name] = failed or Number(
            float(np.mean([one.value for one in values if isinstance(one, Number)]))
        )
    return means


def asked(point: Point, rows: Sequence[str]) -> Iterator[tuple[str, int, Sequence[Cell]]]:
    """Rows of the table at one point: name, unlearning seed, models."""
    yield ORIGINAL, point.original.number, [point.original]
    yield FLOOR, point.original.number, point.retrains
    for row in rows:
        for cell in point.unlearned.get(row, ()):
            yield row, cell.number, [cell]


def judge_all(store: Store, grid: Sequence[Point], rows: Sequence[str]) -> dict[Key, Judged]:
    """Every model of some rows that is there, by row, percentage, draw, training and unlearning seed."""
    found: dict[Key, Judged] = {}
    for point in grid:
        part, seed = point.spec.partition, point.spec.split_seed or 0
        partition = open_run(point.spec).partition
        for row, number, models in asked(point, rows):
            if models and all(store.finished(cell.digest) for cell in models):
                found[row, part.percent, part.draw, point.spec.seed, number] = mean(
                    [judge(store.signals(cell.digest), partition, seed=seed) for cell in models]
                )
    return found


def table(
    results: Results, found: dict[Key, Judged], settings: Sequence[Setting], percent: float
) -> PaperTable:
    """The attacks at one percentage."""

    def reading(name: str) -> Read:
        def read(one: Measured) -> Found:
            if one.outcome is None or one.outcome.reason:
                return Failed(one.row, "not run yet" if one.outcome is None else "failed")
            return found[one.row, one.percent, one.draw, one.seed, one.number][name]

        return read

    return PaperTable(
        COLUMNS,
        tuple(
            TableRow(
                label, tuple(results.cell(name, percent, reading(heading)) for heading in COLUMNS)
            )
            for name, label in (
                (ORIGINAL, "Original"),
                (FLOOR, "Retrain"),
                *((one.name, one.label) for one in settings),
            )
        ),
        NOTE,
    )


def attacks(options: Sequence[str], *, prog: str) -> str:
    """One table a percentage.

    Args:
        options: Those of `forgetmi benchmark`, --out among them.
        prog: Name of the script, for messages.
    """
    axes, store, grid = asked_for(options, prog=prog)
    settings = [one for one in axes.settings if one.kind in PAPER]
    results, found = collect(store, grid), judge_all(store, grid, [one.name for one in settings])
    lines = [made_by(store, axes, grid)]
    for percent, forgotten in results.forgotten.items():
        lines += [
            "",
            f"### {percent:g} %: {'/'.join(str(patients) for patients, _ in forgotten)} forgotten patients, "
            f"{'/'.join(str(images) for _, images in forgotten)} images",
            "",
            to_markdown(table(results, found, settings, percent)).rstrip(),
        ]
    return "\n".join(lines)
