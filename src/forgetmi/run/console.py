"""What a command prints: progress while it works, a short table when it is done."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from forgetmi.core.cost import Cost
from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score


def echo(text: str) -> None:
    """Print a line that stays."""
    print(text, flush=True)


class ProgressDisplay:
    """One progress bar for each piece of work; plain lines where the output is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._live = sys.stderr.isatty()
        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
        )

    def update(self, what: str, done: int, total: int) -> None:
        """Work ``what`` has ``done`` of ``total`` steps behind it."""
        if not self._live:
            if done == total:
                print(f"{what}: done", file=sys.stderr, flush=True)
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


def summary(
    evaluations: Sequence[Evaluation], seeds: Sequence[int], costs: Sequence[tuple[Cost, Cost]]
) -> str:
    """Original, unlearned and retrained side by side (image head), as text.

    Args:
        evaluations: One a seed.
        seeds: Their seeds.
        costs: Of unlearning and of one retraining, for each seed; may be empty.
    """
    # The measures bring scipy, which plain printing does not need.
    from forgetmi.evaluation.gaps import GAP_MEASURES

    models = ["original", "unlearned", "retrained"]
    lines = [
        f"{'image head, seed ' + str(seed) if len(seeds) == 1 else 'image head, mean over seeds':<30}"
        + "".join(f"{model:>12}" for model in models)
        for seed in seeds[:1]
    ]
    wanted = [*GAP_MEASURES, ("gap", ""), ("jsf", "forget")]
    for name, on in wanted:
        cells = []
        for model in models:
            values = [value for one in evaluations for value in _values(one, model, name, on)]
            cells.append(f"{statistics.mean(values):.3f}" if values else "-")
        lines.append(
            f"{name + (' on ' + on if on else ''):<30}" + "".join(f"{cell:>12}" for cell in cells)
        )
    floors = [
        score.value
        for one in evaluations
        if isinstance(score := _find(one, "retrain", "gap_floor", ""), Score)
    ]
    if floors:
        lines.append(
            f"The retrained models' own gap (the floor): {statistics.mean(floors):.3f}"
            + (f", largest {max(floors):.3f}" if len(floors) > 1 else "")
        )
    if costs:
        share = statistics.mean(a.cpu_seconds / b.cpu_seconds for a, b in costs)
        lines.append(f"Unlearning took {share:.2f} of the CPU time of one retraining.")
    return "\n".join(lines)


def _values(evaluation: Evaluation, model: str, name: str, on: str) -> list[float]:
    names = (
        [name for name in evaluation.scores if is_retrained(name)]
        if model == "retrained"
        else [model]
    )
    found = [_find(evaluation, one, name, on) for one in names if one in evaluation.scores]
    return [score.value for score in found if isinstance(score, Score)]


def _find(evaluation: Evaluation, model: str, name: str, on: str) -> Score | Failed | None:
    try:
        return evaluation.get(model, name, head="image", on=on)
    except KeyError:
        return None
