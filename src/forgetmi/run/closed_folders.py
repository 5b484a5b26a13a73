"""A wall around what judges a method: while it runs, nothing in the folders of its references can be opened.

Python tells of every file that it opens, those of numpy and torch included; a process that works for a method refuses
those of the audit. What a library opens in code of its own, as safetensors does with weights, it does not tell: this is
a wall against mistakes, not against hostile code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, MethodError

# Folders closed now, and files in them that somebody tried to open
_closed: list[str] = []
_tried: list[str] = []


@contextmanager
def closed_to_method(folders: Sequence[Path]) -> Iterator[None]:
    """Refuse every file below some folders for the block, and the block itself where one was tried.

    Args:
        folders: They need not exist.

    Raises:
        MethodError: A file there was opened in the block, even if the refusal was caught.
    """
    _watch()
    before, tried = list(_closed), len(_tried)
    _closed.extend(os.path.realpath(folder) for folder in folders)
    try:
        yield
    finally:
        _closed[:] = before
    if len(_tried) > tried:
        raise MethodError(_peeked())


@cache
def _watch() -> None:
    """Look at every opened file from now on; Python offers no way to stop, so this happens once."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _closed or not isinstance(arguments[0], (str, bytes)):
        return

    path = os.path.realpath(os.fsdecode(arguments[0]))
    for folder in _closed:
        if path == folder or path.startswith(folder + os.sep):
            _tried.append(path)
            raise MethodError(_peeked())


def _peeked() -> Fault:
    return Fault(
        "the method opened a file of the models that it is judged by",
        why="a method that knows its references can copy them, and every verdict on it would be worth nothing",
        do="Use methods that read only what they are given.",
    )
