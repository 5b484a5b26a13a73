"""The benchmark's tables: the paper's two layouts over all percentages, and what the paper's columns do not show."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from forgetmi.audit.rule import Rule
from forgetmi.benchmark.grid import PRESETS, Setting, read_setting
from forgetmi.benchmark.published import TABLE_1, TABLE_2, Values
from forgetmi.benchmark.results import (
    DRAWS,
    FEW,
    Found,
    Measured,
    Number,
    Read,
    Results,
    own_original,
)
from forgetmi.core.model_names import ORIGINAL
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.report.table import (
    COLUMNS,
    PaperTable,
    TableCell,
    TableRow,
    mark_closest,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)

FORMATS = {"md": to_markdown, "tex": to_latex, "csv": to_csv, "html": to_html}
UNREAD = TableCell(None, reason="not resolvable")


@dataclass(frozen=True)
class Titled:
    """A table of the benchmark.

    Args:
        name: Of its files.
        title: For people.
        table: The table.
    """

    name: str
    title: str
    table: PaperTable


def all_tables(
    results: Results, settings: Sequence[Setting], *, seeds: int, published: bool
) -> list[Titled]:
    """Every table of a benchmark.

    Args:
        results: What was measured.
        settings: Rows: methods, presets of Forget-MI and strengths of its noise.
        seeds: Number of training seeds.
        published: Whether to show the paper's values, too.
    """
    percents = tuple(results.forgotten)
    plain = [one for one in settings if ":" not in one.name or _group(one) == "methods"]
    found = [
        Titled(
            "table1",
            "Methods (the paper's Table 1)",
            paper_layout(results, plain, seeds=seeds, published=TABLE_1 if published else {}),
        )
    ]
    for name, title in (
        ("table2", "Weights of Forget-MI (the paper's Table 2)"),
        ("noise", "Noise of Forget-MI"),
    ):
        rows = [one for one in settings if _group(one) == name]
        if rows:
            found.append(
                Titled(
                    name,
                    title,
                    paper_layout(
                        results,
                        rows,
                        seeds=seeds,
                        published=TABLE_2 if published and name == "table2" else {},
                    ),
                )
            )
    found += [
        Titled(
            f"details-{percent:g}",
            f"What the paper's columns do not show, {percent:g} %",
            details(results, settings, percent),
        )
        for percent in percents
    ]
    return [*found, Titled("time", "Unlearning time", times(results, settings))]


def preset_settings() -> list[Setting]:
    """The five settings of the paper's Table 2."""
    return [read_setting(name) for name in PRESETS]


def noise_settings(means: Sequence[float], stds: Sequence[float]) -> list[Setting]:
    """Forget-MI with given noise, one thing varied at a time: rows with each mean, then rows with each deviation.

    Args:
        means: Means of the image noise, each at the first standard deviation; without one, at Forget-MI's own.
        stds: Standard deviations of the image noise, each with mean 0.
    """
    usual = stds[0] if stds else ForgetMI().noise_std
    pairs = dict.fromkeys([*((mean, usual) for mean in means), *((0.0, std) for std in stds)])
    return [
        read_setting(f"forget_mi:noise=given,noise_mean={mean:g},noise_std={std:g}")
        for mean, std in pairs
    ]


def _group(setting: Setting) -> str:
    if setting.name in PRESETS:
        return "table2"
    return "noise" if setting.name.startswith("forget_mi:noise=given") else "methods"


def paper_layout(
    results: Results,
    settings: Sequence[Setting],
    *,
    seeds: int,
    published: Mapping[str, Values],
) -> PaperTable:
    """The paper's columns for each percentage: original, Retrain, then a row a method.

    Args:
        results: What was measured.
        settings: The methods.
        seeds: Number of training seeds, for the note.
        published: The paper's values by row; none are shown for rows that are not there.
    """
    percents = tuple(results.forgotten)
    reads = {heading: partial(_score, name=name, on=on) for heading, name, on in COLUMNS}

    def cells(row: str) -> tuple[TableCell, ...]:
        return tuple(
            results.cell(row, percent, read) for percent in percents for read in reads.values()
        )

    target = cells(FLOOR)
    goal = tuple(
        cell if results.resolvable(percent) else UNREAD
        for cell, percent in zip(
            target, [percent for percent in percents for _ in reads], strict=True
        )
    )
    found = (
        mark_closest([cells(one.name) for one in settings], goal)
        if len(settings) > 1
        else [cells(one.name) for one in settings]
    )
    rows: list[TableRow] = []
    methods = [
        row
        for one, measured in zip(settings, found, strict=True)
        for row in (*_before(results, one, cells), (one.name, one.label, measured))
    ]
    for name, label, measured in [
        (ORIGINAL, "Original", cells(ORIGINAL)),
        (FLOOR, "Retrain", target),
        *methods,
    ]:
        rows.append(TableRow(label, measured))
        if name in published:
            rows.append(
                TableRow(
                    f"{label}, published",
                    tuple(
                        TableCell(value, reason="" if value is not None else "not published")
                        for percent in percents
                        for value in _published(published[name], percent)
                    ),
                )
            )
    return PaperTable(
        tuple(f"{percent:g} %: {heading}" for percent in percents for heading in reads),
        tuple(rows),
        f"{_brackets(seeds)} Marked: closest to Retrain among the methods. {_sets(results)}",
    )


def details(results: Results, settings: Sequence[Setting], percent: float) -> PaperTable:
    """Gap and its floor, divergence from the retrained predictions, use, warnings and cost, for one percentage."""
    reads: dict[str, Read] = {
        "gap": partial(_score, name="gap", on=""),
        "its floor": lambda one: one.floor("image"),
        "gap, both heads": partial(_score, name="gap_joint", head="both", on=""),
        "its floor, both heads": lambda one: one.floor("both"),
        "JSf image": partial(_score, name="jsf", on="forget"),
        "JSf text": partial(_score, name="jsf", head="text", on="forget"),
        "loss order": partial(_score, name="loss_spearman", on="forget"),
        "sample-MIA": partial(_score, name="sample_mia", on="forget"),
        "never seen flagged": partial(_score, name="never_seen_flag_rate", on="test"),
        "over-forgot": Measured.over_forgot,
        "did not forget": Measured.stayed,
        "CPU share of retraining": Measured.share,
    }

    shares = ("over-forgot", "did not forget")

    def cell(name: str, heading: str) -> TableCell:
        found = results.cell(name, percent, reads[heading])
        return replace(found, interval=None) if heading in shares else found

    def cells(name: str, skip: Collection[str] = shares) -> tuple[TableCell, ...]:
        return tuple(
            cell(name, heading) if heading not in skip else TableCell(None, reason="does not apply")
            for heading in reads
        )

    rows = [TableRow("Original", cells(ORIGINAL)), TableRow("Retrain", cells(FLOOR))]
    for one in settings:
        rows += [TableRow(label, found) for _, label, found in _before(results, one, cells)]
        rows.append(TableRow(one.label, cells(one.name, ())))
    return PaperTable(
        tuple(reads),
        tuple(rows),
        (
            "gap: mean difference to Retrain over the five columns of the paper; its floor: the retrained models' own. "
            "JSf: divergence from Retrain's predictions on forgotten images, nats. Loss order: rank correlation of losses "
            "with Retrain's. Over-forgot: share of runs whose accuracy on forgotten images is below Retrain's by "
            f"{Rule().forget_margin:g} or more. Did not forget: share of runs that are on each of the five "
            f"within the floor of the original. {_sets(results, percent)}"
        ),
    )


def times(results: Results, settings: Sequence[Setting]) -> PaperTable:
    """What each method costs, as a share of one retraining and in processor seconds, for each percentage."""
    reads: dict[str, Read] = {
        "share of retraining": Measured.share,
        "CPU seconds": Measured.seconds,
    }
    percents = tuple(results.forgotten)
    return PaperTable(
        tuple(f"{percent:g} %: {heading}" for percent in percents for heading in reads),
        tuple(
            TableRow(
                label,
                tuple(
                    results.cell(name, percent, read)
                    for percent in percents
                    for read in reads.values()
                ),
            )
            for name, label in ((FLOOR, "Retrain"), *((one.name, one.label) for one in settings))
        ),
        "Processor time of all a method does, calibration and the teacher's outputs included, over the mean of the "
        "models retrained for the same forget set and training seed. An original that a method needs for itself is not "
        "in it.",
    )


def long_csv(results: Results) -> str:
    """One line per model and score of the tables, before any mean."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "row",
            "percent",
            "draw",
            "training_seed",
            "unlearning_seed",
            "score",
            "head",
            "on",
            "value",
            "low",
            "high",
            "cpu_seconds",
            "not_measured",
        ]
    )
    scores = [
        (name, head, on)
        for head in ("image", "text", "both")
        for name, on in (
            *((name, on) for _, name, on in COLUMNS),
            ("jsf", "forget"),
            ("loss_spearman", "forget"),
        )
    ]
    for one in results.models:
        cost = (
            one.outcome.cost.cpu_seconds if one.outcome is not None and one.row != FLOOR else None
        )
        for name, head, on in [*scores, ("gap", "image", ""), ("gap_joint", "both", "")]:
            found: Found = one.score(name, head, on)
            values = (
                [found.value, *(found.interval or (None, None)), cost, ""]
                if isinstance(found, Number)
                else [None, None, None, cost, found.reason]
            )
            writer.writerow(
                [one.row, one.percent, one.draw, one.seed, one.number, name, head, on, *values]
            )
    return buffer.getvalue()


def _before(
    results: Results,
    setting: Setting,
    cells: Callable[[str], tuple[TableCell, ...]],
) -> list[tuple[str, str, tuple[TableCell, ...]]]:
    """The row of a method's own original, where it has one."""
    name = own_original(setting.name)
    return [(name, f"Original for {setting.label}", cells(name))] if results.has(name) else []


def _score(one: Measured, *, name: str, on: str, head: str = "image") -> Found:
    return one.score(name, head, on)


def _published(values: Values, percent: float) -> Sequence[float | None]:
    return values.get(percent, (None,) * len(COLUMNS))


def _brackets(seeds: int) -> str:
    if seeds > 1:
        return f"Brackets: 95 % interval over {seeds} training seeds (Student's t) of the mean over forget draws."
    return "Brackets: 95 % interval over patients; one training seed, so the spread over seeds is not in them."


def _sets(results: Results, *percents: float) -> str:
    """Who is forgotten at each percentage, and whether that is enough to tell methods apart."""
    said = []
    for percent in percents or tuple(results.forgotten):
        draws = results.forgotten[percent]
        patients = "/".join(str(count) for count, _ in draws)
        text = f"{percent:g} %: {patients} patients in {len(draws)} draw{'s' if len(draws) > 1 else ''}"
        if not results.resolvable(percent):
            text += f", not resolvable (fewer than {FEW} patients need {DRAWS} draws; nothing is marked)"
        said.append(text)
    failed = [
        line
        for percent in percents or tuple(results.forgotten)
        for line in results.failures(percent)
    ]
    return " ".join(["Forgotten: " + "; ".join(said) + ".", *failed])
