"""What a command prints: progress while it works, a short table when it is done."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from forgetmi.core.cost import Cost
from forgetmi.core.logs import is_quiet
from forgetmi.core.model_names import is_retrained
from forgetmi.core.printable import printable
from forgetmi.core.scores import Evaluation, Score
from forgetmi.report.side_by_side import SideBySide
from forgetmi.run.heartbeat import Heartbeat, Journal

# Longest line that is printed, characters
MOST_LINE = 20_000

MODELS = ("original", "unlearned", "retrained")


def echo(text: str) -> None:
    """Print lines that stay; nothing in them moves the terminal's cursor or turns the reading direction."""
    lines = [printable(line, MOST_LINE) for line in text.split("\n")]
    print("\n".join(lines), flush=True)


class ProgressDisplay:
    """One progress bar for each piece of work; plain lines where the output is no terminal, one a minute at least."""

    def __init__(self) -> None:
        # Light commands print without it
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        # A bar on a terminal only, and on the stream that results are not on
        self._live = sys.stderr.isatty() and not is_quiet()
        self._tasks: dict[str, Any] = {}
        self._journal = Journal()
        self._heartbeat = Heartbeat(self._journal.lines, self._journal)
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
        )

    def update(self, stage: str, done: int, total: int) -> None:
        """Stage ``stage`` has ``done`` of ``total`` steps behind it."""
        # A log gets one line a stage, and what stands in the journal every minute
        if not self._live:
            self._journal.update(stage, done, total)
            if done == total and not is_quiet():
                print(f"{stage}: done", file=sys.stderr, flush=True)
            return

        # A terminal gets one bar a stage
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        self._heartbeat.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._heartbeat.__exit__(kind, error, trace)
        self._progress.stop()


def summary(
    evaluations: Sequence[Evaluation],
    seeds: Sequence[int],
    costs: Sequence[tuple[Cost, Cost]],
    *,
    table: SideBySide | None = None,
) -> str:
    """Original, unlearned and retrained side by side (the first head), as text.

    Args:
        evaluations: One a seed.
        seeds: Their seeds.
        costs: Of unlearning and of one retraining, for each seed; may be empty.
        table: Two methods of one run side by side, to be shown in place of the first alone; it has the costs, too.
    """
    if table is not None:
        rows = [_line(f"{table.head} head, seed {seeds[0]}", table.titles, width=16)]
        rows += [_line(title, cells, width=16) for title, cells in table.rows]
        return "\n".join([*rows, *_floor(evaluations)])

    # The measures bring scipy, which plain printing does not need.
    from forgetmi.evaluation.gaps import headline_measures, main_head

    # Heading and a line for each measure
    where = f"seed {seeds[0]}" if len(seeds) == 1 else "mean over seeds"
    first = evaluations[0] if evaluations else Evaluation({})
    lines = [_line(f"{main_head(first)} head, {where}", MODELS)] if seeds else []
    for name, on in (*headline_measures(first), ("gap", ""), ("jsf", "forget")):
        title = f"{name} on {on}" if on else name
        lines.append(_line(title, [_mean(evaluations, model, name, on) for model in MODELS]))

    lines += _floor(evaluations)

    # What unlearning saves
    if costs:
        shares = []
        for unlearning, training in costs:
            if training.busy > 0 and training.kind == unlearning.kind:
                shares.append(unlearning.busy / training.busy)
        if shares:
            share = statistics.mean(shares)
            kind = costs[0][0].kind.replace("processor", "CPU")
            lines.append(f"Unlearning took {share:.2f} of the {kind} of one retraining.")
    return "\n".join(lines)


def _line(title: str, cells: Sequence[str], *, width: int = 12) -> str:
    return f"{title:<30}" + "".join(f"{cell:>{width}}" for cell in cells)


def _mean(evaluations: Sequence[Evaluation], model: str, name: str, on: str) -> str:
    """Mean of a score over seeds (and over the retrained models), or a dash."""
    values: list[float] = []
    for evaluation in evaluations:
        values += _values(evaluation, model, name, on)
    return f"{statistics.mean(values):.3f}" if values else "-"


def _floor(evaluations: Sequence[Evaluation]) -> list[str]:
    """One line about the gap of the retrained models themselves, where it was measured."""
    floors = []
    for evaluation in evaluations:
        score = _score(evaluation, "retrain", "gap_floor", "")
        if score is not None:
            floors.append(score.value)
    if not floors:
        return []

    largest = f", largest {max(floors):.3f}" if len(floors) > 1 else ""
    return [f"The retrained models' own gap (the floor): {statistics.mean(floors):.3f}{largest}"]


def _values(evaluation: Evaluation, model: str, name: str, on: str) -> list[float]:
    """A score of one model, or of every retrained one, as far as it was measured."""
    models = [model]
    if model == "retrained":
        models = [other for other in evaluation.scores if is_retrained(other)]

    values = []
    for each in models:
        score = _score(evaluation, each, name, on) if each in evaluation.scores else None
        if score is not None:
            values.append(score.value)
    return values


def _score(evaluation: Evaluation, model: str, name: str, on: str) -> Score | None:
    """A score of the first head; None where it was not or could not be measured."""
    from forgetmi.evaluation.gaps import (
        main_head,  # brings scipy, which plain printing does not need
    )

    try:
        score = evaluation.get(model, name, head=main_head(evaluation), on=on)
    except KeyError:
        return None
    return score if isinstance(score, Score) else None
