"""The layouts of the benchmark's tables: the paper's columns, what they do not show, and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from forgetmi.audit.rule import Rule
from forgetmi.benchmark.measured import Found, Measured, Read
from forgetmi.benchmark.measured_heads import columns_of_results, heads_of_results, scored
from forgetmi.benchmark.published import Values
from forgetmi.benchmark.results import DRAWS, FEW, Results, own_original
from forgetmi.benchmark.settings import Setting
from forgetmi.core.model_names import ORIGINAL
from forgetmi.evaluation.gaps import FLOOR, GAP_JOINT
from forgetmi.report.table import (
    PaperTable,
    TableCell,
    TableRow,
    mark_closest,
)
from forgetmi.report.table_columns import COLUMNS, heading
from forgetmi.report.terms import head_name

# Cells without a number
UNREAD = TableCell(None, reason="not resolvable")
NOT_APPLICABLE = TableCell(None, reason="does not apply")
NOT_PUBLISHED = TableCell(None, reason="not published")

# The column of the yardstick, and how to read it; see `forgetmi.benchmark.yardstick`
CHEAPEST = "share of the cheapest exact retraining"
YARDSTICK = (
    "The cheapest exact retraining is the short_retrain of this benchmark that took least among those whose validation "
    "AUC is within .01 of the original's; where none is, the retraining itself; without a short_retrain it is not "
    "measured."
)


@dataclass(frozen=True)
class Line:
    """A row of a table before it is measured.

    Args:
        row: Name among the results: "original", "retrain", a setting's name, or that of its own original.
        label: Name for the reader.
    """

    row: str
    label: str


# The first rows of every table
REFERENCES = (Line(ORIGINAL, "Original"), Line(FLOOR, "Retrain"))


def paper_layout(
    results: Results,
    settings: Sequence[Setting],
    *,
    seeds: int,
    published: Mapping[str, Values],
) -> PaperTable:
    """The paper's columns (of other tasks their like) for each percentage: original, Retrain, then a row a method.

    Args:
        results: What was measured.
        settings: The methods.
        seeds: Number of training seeds, for the note.
        published: The paper's values by row; none are shown for rows that are not there.
    """
    percents = tuple(results.forgotten)

    # Every column, read for every row
    columns = columns_of_results(results)
    reads = {heading: partial(_score, name=name, on=on) for heading, name, on in columns}
    measured = {
        line.row: _cells(results, line.row, percents, reads)
        for line in (*REFERENCES, *_method_lines(results, settings))
    }

    # The closest to Retrain are marked among the methods, where there are several.
    if len(settings) > 1:
        methods = [measured[setting.name] for setting in settings]
        goal = _goal(results, percents, measured[FLOOR], columns=len(reads))
        for setting, marked in zip(settings, mark_closest(methods, goal), strict=True):
            measured[setting.name] = marked

    # The paper's values stand below ours.
    rows: list[TableRow] = []
    for line in (*REFERENCES, *_method_lines(results, settings)):
        rows.append(TableRow(line.label, measured[line.row]))
        if line.row in published and columns == COLUMNS:
            values = _published_cells(published[line.row], percents)
            rows.append(TableRow(f"{line.label}, published", values))

    # How to read the numbers
    note = f"{_brackets(seeds)} Marked: closest to Retrain among the methods. {_sets(results)}"
    return PaperTable(_headings(percents, reads), tuple(rows), note)


def _method_lines(results: Results, settings: Sequence[Setting]) -> list[Line]:
    """A row for each method; before it that of the original it needs for itself, where it has one."""
    lines = []
    for setting in settings:
        original = own_original(setting.name)
        if results.has(original):
            lines.append(Line(original, f"Original for {setting.label}"))
        lines.append(Line(setting.name, setting.label))
    return lines


def _cells(
    results: Results, row: str, percents: Sequence[float], reads: Mapping[str, Read]
) -> tuple[TableCell, ...]:
    """A row over all percentages."""
    cells = []
    for percent in percents:
        for read in reads.values():
            cells.append(results.cell(row, percent, read))
    return tuple(cells)


def _headings(percents: Sequence[float], reads: Mapping[str, Read]) -> tuple[str, ...]:
    return tuple(f"{percent:g} %: {heading}" for percent in percents for heading in reads)


def _goal(
    results: Results, percents: Sequence[float], retrained: Sequence[TableCell], *, columns: int
) -> tuple[TableCell, ...]:
    """Retrain's cells, emptied where too few patients are forgotten to tell methods apart."""
    goal: list[TableCell] = []

    # Of each percentage all columns, or none
    for position, percent in enumerate(percents):
        cells = retrained[position * columns : (position + 1) * columns]
        goal += cells if results.resolvable(percent) else [UNREAD] * columns
    return tuple(goal)


def _published_cells(values: Values, percents: Sequence[float]) -> tuple[TableCell, ...]:
    """The paper's values over all percentages."""
    cells = []

    # A percentage that the paper lacks has empty cells
    missing = (None,) * len(COLUMNS)
    for percent in percents:
        for value in values.get(percent, missing):
            cells.append(NOT_PUBLISHED if value is None else TableCell(value))
    return tuple(cells)


def details(results: Results, settings: Sequence[Setting], percent: float) -> PaperTable:
    """Gap and its floor, divergence from the retrained predictions, use, warnings and cost, for one percentage."""
    heads, joint = heads_of_results(results)
    reads: dict[str, Read] = {
        # Closeness to the retrained models
        "gap": partial(_score, name="gap", on=""),
        "its floor": lambda model: model.floor(model.head),
        **_part_reads(),
        **_joint_reads(joint),
        **{f"JSf {head}": partial(_score, name="jsf", head=head, on="forget") for head in heads},
        **_attack_reads(scored(results)),
        # Warnings and cost
        "did not forget": Measured.stayed,
        "share of retraining": Measured.share,
        CHEAPEST: Measured.share_of_cheapest,
    }
    # Shares of runs apply to methods alone, and have no interval.
    shares = ("over-forgot", "did not forget")
    methods = {setting.name for setting in settings}

    rows = []
    for line in (*REFERENCES, *_method_lines(results, settings)):
        cells = []
        for column, read in reads.items():
            if column not in shares:
                cells.append(results.cell(line.row, percent, read))
            elif line.row in methods:
                cells.append(replace(results.cell(line.row, percent, read), interval=None))
            else:
                cells.append(NOT_APPLICABLE)
        rows.append(TableRow(line.label, tuple(cells)))

    note = (
        "gap: mean difference to Retrain over the five columns of the paper; its floor: the "
        "retrained models' own. In two parts: on the forgotten (three columns) and on test (two, which compare "
        "the noise of training). JSf: divergence from Retrain's predictions on forgotten images, "
        "nats. Loss order: rank correlation of losses with Retrain's. Over-forgot: share of runs "
        "whose accuracy on forgotten images is below Retrain's by "
        f"{Rule().forget_margin:g} or more. Did not forget: share of runs that are on each of the five "
        f"within the floor of the original. Costs are shares of {_unit(results)}. {YARDSTICK} {_sets(results, percent)}"
    )
    return PaperTable(tuple(reads), tuple(rows), note)


def times(results: Results, settings: Sequence[Setting]) -> PaperTable:
    """What each method costs, as a share of one retraining, of the cheapest exact one, and in seconds."""
    percents = tuple(results.forgotten)
    reads: dict[str, Read] = {
        "share of retraining": Measured.share,
        CHEAPEST: Measured.share_of_cheapest,
        _unit(results): Measured.seconds,
    }

    # The original is not made again for a withdrawal, so it has no row
    lines = [Line(FLOOR, "Retrain")]
    lines += [Line(setting.name, setting.label) for setting in settings]

    rows = [TableRow(line.label, _cells(results, line.row, percents, reads)) for line in lines]
    note = (
        f"Counted in {_unit(results)} of all a method does, calibration and the teacher's outputs included, over the "
        "mean of the models retrained for the same forget set and training seed. An original that a method needs for "
        f"itself is not in it. {YARDSTICK}"
    )
    return PaperTable(_headings(percents, reads), tuple(rows), note)


def _unit(results: Results) -> str:
    """What is counted: seconds of the device that computed, else of the processor."""
    on_device = any(model.device != "cpu" for model in results.models)
    return "device seconds" if on_device else "CPU seconds"


def _part_reads() -> dict[str, Read]:
    """The gap in two parts, each beside its floor."""
    return {
        "gap, forgotten": partial(_score, name="gap_forget", on=""),
        "floor, forgotten": lambda model: model.floor(model.head, "_forget"),
        "gap, test": partial(_score, name="gap_test", on=""),
        "floor, test": lambda model: model.floor(model.head, "_test"),
    }


def _joint_reads(joint: str) -> dict[str, Read]:
    """The gap of all heads together and its floor; nothing where there is one head."""
    if not joint:
        return {}
    return {
        f"gap, {head_name(joint)}": partial(_score, name=GAP_JOINT, head=joint, on=""),
        f"its floor, {head_name(joint)}": lambda model: model.floor(joint),
    }


def _attack_reads(names: frozenset[str]) -> dict[str, Read]:
    """Order of losses, attack, and how often it is wrong, and over-forgetting, as far as the task has them.

    Where nothing was measured yet, all of them.
    """
    reads: dict[str, tuple[str, Read]] = {
        "loss order": ("loss_spearman", partial(_score, name="loss_spearman", on="forget")),
        "sample-MIA": ("sample_mia", partial(_score, name="sample_mia", on="forget")),
        "never seen flagged": (
            "never_seen_flag_rate",
            partial(_score, name="never_seen_flag_rate", on="test"),
        ),
        heading("pair_auc"): ("pair_auc", partial(_score, name="pair_auc", on="forget")),
        "over-forgot": ("accuracy", Measured.over_forgot),
    }
    if not names:
        names = frozenset({"loss_spearman", "sample_mia", "never_seen_flag_rate", "accuracy"})

    # Pairs stand beside other attacks only where they are the task
    if "sample_mia" in names:
        names -= {"pair_auc"}
    return {name: read for name, (needs, read) in reads.items() if needs in names}


def _score(model: Measured, *, name: str, on: str, head: str = "") -> Found:
    """A score of a head, the first one where none is named."""
    return model.score(name, head or model.head, on)


def _brackets(seeds: int) -> str:
    """How to read the intervals."""
    if seeds > 1:
        return f"Brackets: 95 % interval over {seeds} training seeds (Student's t) of the mean over forget draws."
    return "Brackets: 95 % interval over patients; one training seed, so the spread over seeds is not in them."


def _sets(results: Results, *percents: float) -> str:
    """Who is forgotten at each percentage, whether that is enough to tell methods apart, and what failed."""
    shown = percents or tuple(results.forgotten)

    # Patients of each draw, by percentage
    counts = []
    for percent in shown:
        draws = results.forgotten[percent]
        patients = "/".join(str(count) for count, _ in draws)
        plural = "s" if len(draws) > 1 else ""
        text = f"{percent:g} %: {patients} patients in {len(draws)} draw{plural}"
        if not results.resolvable(percent):
            text += f", not resolvable (fewer than {FEW} patients need {DRAWS} draws; nothing is marked)"
        counts.append(text)

    # Models that could not be made are named, too
    sentences = ["Forgotten: " + "; ".join(counts) + "."]
    for percent in shown:
        sentences += results.failures(percent)
    return " ".join(sentences)
