"""Where each process of a launcher writes: the first one to the real output, the others to a copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch.distributed as dist

from forgetmi.core.distributed import rank
from forgetmi.core.partial_files import unfinished_folder

_OPTION = "--out"


@contextmanager
def private_output(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments of a command for this process: all but the first work on a copy of ``--out`` that is thrown away.

    So one process alone writes files and shows progress, while all see the same finished stages and saved progress.

    Args:
        arguments: Arguments of a command with the option ``--out``, in a folder all processes can read.
    """
    arguments = _with_joined_option(arguments)
    position = _option_position(arguments)

    # The command itself reports a missing option.
    if position is None:
        yield arguments
        return

    out = Path(arguments[position].removeprefix(f"{_OPTION}="))
    with unfinished_folder(Path(tempfile.gettempdir()) / "forgetmi-copy") as folder:
        # Everybody copies before anybody writes.
        if rank() > 0:
            _copy(out, folder)
        dist.barrier()

        if rank() == 0:
            yield arguments
            return

        # The other processes write to their copy and print nothing.
        arguments[position] = f"{_OPTION}={folder / out.name}"
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield arguments


def _with_joined_option(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``--out VALUE`` written as ``--out=VALUE``."""
    joined = []
    waiting = iter(arguments)
    for argument in waiting:
        value = next(waiting, None) if argument == _OPTION else None
        joined.append(argument if value is None else f"{_OPTION}={value}")
    return joined


def _option_position(arguments: Sequence[str]) -> int | None:
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{_OPTION}="):
            return position
    return None


def _copy(out: Path, folder: Path) -> None:
    """Copy an output and the files named after it."""
    if not out.parent.is_dir():
        return

    for path in out.parent.glob("*"):
        name = path.name.removeprefix(".")
        if name != out.name and not name.startswith(f"{out.name}."):
            continue

        # A lock belongs to the process that took it.
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns(".lock"))
        else:
            shutil.copyfile(path, folder / path.name)
