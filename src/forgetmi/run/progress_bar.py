"""A progress bar for notebooks and terminals, as a context manager: the verbs take its callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a piece of work has come; nothing where neither a notebook nor a terminal looks on.

    Args:
        text: What is being done, in a word or two.

    Returns:
        A callback of (done, total), which `train`, `unlearn` and `prepare` take as ``progress``.

    Examples:
        >>> with progress_bar("train") as progress:
        ...     progress(1, 2)
        ...     progress(2, 2)
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # In a notebook the bar belongs to the cell; in a terminal, to the stream that results are not on
    console = Console()
    if not console.is_jupyter:
        console = Console(stderr=True)
    looked_at = console.is_jupyter or console.is_terminal

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not looked_at) as shown:
        task = shown.add_task(text, total=None)

        def progress(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield progress
