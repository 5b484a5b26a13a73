"""The paper's results table (Forget-MI, arXiv 2506.23145, Table 1) as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup, escape

from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import FLOOR

COLUMNS: tuple[tuple[str, str, str], ...] = (  # heading, score name, set
    ("MIA", "sample_mia", "forget"),
    ("AUC forget", "auc", "forget"),
    ("F1 forget", "f1", "forget"),
    ("AUC test", "auc", "test"),
    ("F1 test", "f1", "test"),
)
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
    """One model or method."""

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
    labels = {"original": "Original", "unlearned": "Unlearned", **(labels or {})}
    retrains = [model for model in evaluation.scores if is_retrained(model)]
    methods = [model for model in evaluation.scores if model not in ("original", FLOOR, *retrains)]
    rows = []
    if "original" in evaluation.scores:
        rows.append(TableRow(labels["original"], _cells(evaluation, "original", head)))
    target = _merged([_cells(evaluation, model, head) for model in retrains]) if retrains else None
    if target is not None:
        rows.append(
            TableRow(f"Retrain ({len(retrains)})" if len(retrains) > 1 else "Retrain", target)
        )
    found = [_cells(evaluation, model, head) for model in methods]
    if target is not None and len(found) > 1:
        found = mark_closest(found, target)
    rows += [
        TableRow(labels.get(model, model), cells)
        for model, cells in zip(methods, found, strict=True)
    ]
    note = "Brackets: 95 % interval over patients"
    note += f"; for Retrain the range of {len(retrains)} models." if len(retrains) > 1 else "."
    if any(cell.closest for row in rows for cell in row.cells):
        note += " Marked: closest to Retrain among the methods."
    return PaperTable(tuple(heading for heading, _, _ in COLUMNS), tuple(rows), note)


def to_markdown(table: PaperTable) -> str:
    """A GitHub-style table; the closest in bold."""

    def cell(cell: TableCell) -> str:
        return f"**{_text(cell)}**" if cell.closest else _one_line(_text(cell))

    lines = [
        "| model | " + " | ".join(table.headings) + " |",
        "|---|" + "---:|" * len(table.headings),
    ]
    lines += [
        "| " + " | ".join([_one_line(row.label), *(cell(c) for c in row.cells)]) + " |"
        for row in table.rows
    ]
    return "\n".join([*lines, "", table.note, ""])


def to_latex(table: PaperTable) -> str:
    """A booktabs tabular; the closest in bold."""

    def cell(cell: TableCell) -> str:
        if cell.value is None:
            return rf"\emph{{{_latex(cell.reason)}}}"
        text = f"{cell.value:.3f}"
        if cell.interval is not None:
            text += rf" {{\scriptsize [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]}}"
        return rf"\textbf{{{text}}}" if cell.closest else text

    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(table.headings)}}}",
        r"\toprule",
        " & ".join(["Model", *map(_latex, table.headings)]) + r" \\",
        r"\midrule",
    ]
    lines += [
        " & ".join([_latex(row.label), *(cell(c) for c in row.cells)]) + r" \\"
        for row in table.rows
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {table.note}", ""])


def to_csv(table: PaperTable) -> str:
    """One line per model and column, at full precision; empty where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "column", "value", "low", "high", "closest", "not_measured"])
    for row in table.rows:
        for heading, cell in zip(table.headings, row.cells, strict=True):
            low, high = cell.interval or (None, None)
            writer.writerow(
                [row.label, heading, cell.value, low, high, int(cell.closest), cell.reason]
            )
    return buffer.getvalue()


def to_html(table: PaperTable) -> Markup:
    """A plain table element for a page with its own style sheet; all texts escaped."""

    def cell(cell: TableCell) -> Markup:
        if cell.value is None:
            return Markup("<td>not measured: {}</td>").format(cell.reason)
        bounds = Markup("")
        if cell.interval is not None:
            bounds = Markup("<small>{:.3f} to {:.3f}</small>").format(*cell.interval)
        value = Markup("<b>{:.3f}</b>" if cell.closest else "{:.3f}").format(cell.value)
        return Markup('<td class="number">{}{}</td>').format(value, bounds)

    head = Markup("").join(
        Markup('<th scope="col" class="number">{}</th>').format(text) for text in table.headings
    )
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            row.label, Markup("").join(map(cell, row.cells))
        )
        for row in table.rows
    )
    return Markup(
        '<table><thead><tr><th scope="col">Model</th>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(head, rows)


def _cells(evaluation: Evaluation, model: str, head: str) -> tuple[TableCell, ...]:
    return tuple(_cell(evaluation, model, name, head, on) for _, name, on in COLUMNS)


def _cell(evaluation: Evaluation, model: str, name: str, head: str, on: str) -> TableCell:
    try:
        found: Score | Failed = evaluation.get(model, name, head=head, on=on)
    except KeyError:
        return TableCell(None, reason="not part of this evaluation")
    return (
        TableCell(found.value, found.interval)
        if isinstance(found, Score)
        else TableCell(None, reason=found.reason)
    )


def _merged(models: list[tuple[TableCell, ...]]) -> tuple[TableCell, ...]:
    """Mean and range of the retrained models; with one, its own interval."""
    merged = []
    for column in zip(*models, strict=True):
        values = [cell.value for cell in column if cell.value is not None]
        if len(column) == 1 or not values:
            merged.append(column[0])
        else:
            merged.append(TableCell(float(np.mean(values)), (min(values), max(values))))
    return tuple(merged)


def mark_closest(
    methods: list[tuple[TableCell, ...]], target: tuple[TableCell, ...]
) -> list[tuple[TableCell, ...]]:
    """Mark in each column the methods that are nearest to the target.

    Args:
        methods: A row of cells per method.
        target: One cell per column; columns without a value are left unmarked.
    """
    marked = [list(cells) for cells in methods]
    for place, goal in enumerate(target):
        if goal.value is None:
            continue
        values = [cells[place].value for cells in marked]
        distance = [np.inf if value is None else abs(value - goal.value) for value in values]
        for cells, d in zip(marked, distance, strict=True):
            if np.isfinite(d) and d <= min(distance) + 1e-12:
                cells[place] = replace(cells[place], closest=True)
    return [tuple(cells) for cells in marked]


def _text(cell: TableCell) -> str:
    if cell.value is None:
        return f"not measured: {cell.reason}"
    bounds = (
        f" [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]" if cell.interval is not None else ""
    )
    return f"{cell.value:.3f}{bounds}"


def _one_line(text: str) -> str:
    return str(escape(" ".join(text.split()))).replace("|", r"\|")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
