"""The paper's results table (Forget-MI, arXiv 2506.23145, Table 1) as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup, escape

from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.report.table_columns import columns_of

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True)
class TableCell:
    """One number with its interval, or why there is none.

    Args:
        value: The number; None = not measured.
        interval: 95 % interval over patients; for several retrained models the range of their values.
        reason: Why it was not measured.
        closest: Whether no other method of this column is nearer to Retrain.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    reason: str = ""
    closest: bool = False


@dataclass(frozen=True)
class TableRow:
    """One model or method.

    Args:
        label: Its name.
        cells: One per column.
    """

    label: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class PaperTable:
    """Rows in the paper's order: the original, Retrain, then the methods; `note` says how to read the brackets."""

    headings: tuple[str, ...]
    rows: tuple[TableRow, ...]
    note: str


def paper_table(
    evaluation: Evaluation, *, head: str = "image", labels: Mapping[str, str] | None = None
) -> PaperTable:
    """Bring an evaluation of one or many methods into the form of the paper's Table 1.

    Args:
        evaluation: Scores of "original", any number of "retrain-k", and unlearned models under any other name.
        head: "image" (the paper's), "text" or "both".
        labels: Model name to the name shown; missing ones are shown as they are.

    Returns:
        The retrained models as one row, their mean and range. Among two or more methods the closest to that mean is
        marked in each column (all of them where they tie).
    """
    # Names shown, and the kinds of model
    names = {"original": "Original", "unlearned": "Unlearned", **(labels or {})}
    retrains = [model for model in evaluation.scores if is_retrained(model)]
    others = ("original", FLOOR, *retrains)
    methods = [model for model in evaluation.scores if model not in others]

    # The original, and the retrained models as one row
    rows = []
    if "original" in evaluation.scores:
        rows.append(TableRow(names["original"], _cells(evaluation, "original", head)))
    target = None
    if retrains:
        target = _merged([_cells(evaluation, model, head) for model in retrains])
        label = f"Retrain ({len(retrains)})" if len(retrains) > 1 else "Retrain"
        rows.append(TableRow(label, target))

    # The methods; the closest to retraining is marked among two or more
    measured = [_cells(evaluation, model, head) for model in methods]
    if target is not None and len(measured) > 1:
        measured = mark_closest(measured, target)
    for model, cells in zip(methods, measured, strict=True):
        rows.append(TableRow(names.get(model, model), cells))

    headings = tuple(heading for heading, _, _ in columns_of(evaluation))
    return PaperTable(headings, tuple(rows), _note(rows, len(retrains)))


def mark_closest(
    methods: list[tuple[TableCell, ...]], target: tuple[TableCell, ...]
) -> list[tuple[TableCell, ...]]:
    """Mark in each column the methods that are nearest to the target.

    Args:
        methods: A row of cells per method.
        target: One cell per column; columns without a value are left unmarked.
    """
    marked = [list(cells) for cells in methods]

    for column, goal in enumerate(target):
        if goal.value is None:
            continue

        # Distance of each method; infinite where it was not measured
        distances = []
        for cells in marked:
            value = cells[column].value
            distances.append(np.inf if value is None else abs(value - goal.value))

        # All that tie
        nearest = min(distances, default=np.inf) + 1e-12
        for cells, distance in zip(marked, distances, strict=True):
            if np.isfinite(distance) and distance <= nearest:
                cells[column] = replace(cells[column], closest=True)

    return [tuple(cells) for cells in marked]


def to_markdown(table: PaperTable) -> str:
    """A GitHub-style table; the closest in bold."""
    # Heading, alignment, then a line per row
    lines = [
        "| model | " + " | ".join(table.headings) + " |",
        "|---|" + "---:|" * len(table.headings),
    ]
    for row in table.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        lines.append("| " + " | ".join([_one_line(row.label), *cells]) + " |")

    return "\n".join([*lines, "", table.note, ""])


def to_latex(table: PaperTable) -> str:
    """A booktabs tabular; the closest in bold."""
    headings = [_latex(heading) for heading in table.headings]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(table.headings)}}}",
        r"\toprule",
        " & ".join(["Model", *headings]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [_latex_cell(cell) for cell in row.cells]
        lines.append(" & ".join([_latex(row.label), *cells]) + r" \\")

    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {table.note}", ""])


def to_csv(table: PaperTable) -> str:
    """One line per model and column, at full precision; empty where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "column", "value", "low", "high", "closest", "not_measured"])

    for row in table.rows:
        for heading, cell in zip(table.headings, row.cells, strict=True):
            # Empty where there is no interval
            low, high = cell.interval or (None, None)
            writer.writerow(
                [row.label, heading, cell.value, low, high, int(cell.closest), cell.reason]
            )

    return buffer.getvalue()


def to_html(table: PaperTable) -> Markup:
    """A plain table element for a page with its own style sheet; all texts escaped."""
    # Markup escapes what is formatted into it
    heading = Markup('<th scope="col" class="number">{}</th>')
    headings = Markup("").join(heading.format(text) for text in table.headings)

    line = Markup('<tr><th scope="row">{}</th>{}</tr>')
    lines = []
    for row in table.rows:
        cells = Markup("").join(_html_cell(cell) for cell in row.cells)
        lines.append(line.format(row.label, cells))

    return Markup(
        '<table><thead><tr><th scope="col">Model</th>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(headings, Markup("").join(lines))


# Cells of an evaluation


def _cells(evaluation: Evaluation, model: str, head: str) -> tuple[TableCell, ...]:
    """A model's cell in every column."""
    return tuple(_cell(evaluation, model, name, head, on) for _, name, on in columns_of(evaluation))


def _cell(evaluation: Evaluation, model: str, name: str, head: str, on: str) -> TableCell:
    try:
        score: Score | Failed = evaluation.get(model, name, head=head, on=on)
    except KeyError:
        return TableCell(None, reason="not part of this evaluation")

    if isinstance(score, Failed):
        return TableCell(None, reason=score.reason)
    return TableCell(score.value, score.interval)


def _merged(models: list[tuple[TableCell, ...]]) -> tuple[TableCell, ...]:
    """Mean and range of the retrained models; with one, its own interval."""
    # Column by column
    merged = []
    for column in zip(*models, strict=True):
        values = [cell.value for cell in column if cell.value is not None]
        if len(column) == 1 or not values:
            merged.append(column[0])
        else:
            merged.append(TableCell(float(np.mean(values)), (min(values), max(values))))
    return tuple(merged)


def _note(rows: Sequence[TableRow], retrains: int) -> str:
    """How to read brackets and marks."""
    note = "Brackets: 95 % interval over patients"
    note += f"; for Retrain the range of {retrains} models." if retrains > 1 else "."

    # Marks are explained where there are any
    for row in rows:
        if any(cell.closest for cell in row.cells):
            return f"{note} Marked: closest to Retrain among the methods."
    return note


# Cells in each format


def _text(cell: TableCell) -> str:
    if cell.value is None:
        return f"not measured: {cell.reason}"

    bounds = ""
    if cell.interval is not None:
        bounds = f" [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]"
    return f"{cell.value:.3f}{bounds}"


def _markdown_cell(cell: TableCell) -> str:
    if cell.closest:
        return f"**{_text(cell)}**"
    return _one_line(_text(cell))


def _latex_cell(cell: TableCell) -> str:
    if cell.value is None:
        return rf"\emph{{{_latex(cell.reason)}}}"

    text = f"{cell.value:.3f}"
    if cell.interval is not None:
        text += rf" {{\scriptsize [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]}}"
    return rf"\textbf{{{text}}}" if cell.closest else text


def _html_cell(cell: TableCell) -> Markup:
    if cell.value is None:
        return Markup("<td>not measured: {}</td>").format(cell.reason)

    bounds = Markup("")
    if cell.interval is not None:
        bounds = Markup("<small>{:.3f} to {:.3f}</small>").format(*cell.interval)
    value = Markup("<b>{:.3f}</b>" if cell.closest else "{:.3f}").format(cell.value)
    return Markup('<td class="number">{}{}</td>').format(value, bounds)


def _one_line(text: str) -> str:
    """Text from outside in a Markdown cell."""
    escaped = str(escape(" ".join(text.split())))
    return escaped.replace("|", r"\|")


def _latex(text: str) -> str:
    """Text from outside in LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
