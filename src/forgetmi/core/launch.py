"""Whether a launcher started this program; needs no torch, so that every command can look."""

from __future__ import annotations

import os

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted

# What torchrun and accelerate set for each of their processes besides WORLD_SIZE.
_PLACES = ("RANK", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


def launched() -> int:
    """Number of processes in which torchrun or accelerate started this program; 1 without a launcher.

    Raises:
        SpecError: WORLD_SIZE is set to something else than a number of processes.
    """
    text = os.environ.get("WORLD_SIZE", "").strip()
    if not text:
        return 1

    count = _number("WORLD_SIZE")
    if count < 1:
        raise SpecError(
            Fault(
                "the environment names no number of processes",
                where="WORLD_SIZE",
                why=f"it is {quoted(text)}",
                do="Unset it, or start the command with torchrun.",
            )
        )
    return count


def check_launch() -> None:
    """Refuse to work as one of several processes whose launcher cannot be reached.

    Use it before work that several processes of a launcher share: joining them would wait for ever, or fail.

    Raises:
        SpecError: The environment says that there are several processes, but not how to join them.
    """
    count = launched()
    if count == 1:
        return

    # Where the others are, and the number of this process among all and on its machine
    missing = [name for name in _ADDRESS if not os.environ.get(name, "").strip()]
    missing += [name for name in _PLACES if not 0 <= _number(name) < count]
    if missing:
        raise SpecError(
            Fault(
                "the environment names a launcher that is not there",
                where="WORLD_SIZE",
                why=f"of {', '.join(missing)} there is none that fits",
                do="Unset WORLD_SIZE if it was left over, or start the command with torchrun.",
            )
        )


def forget_leftovers() -> None:
    """Without a launcher, take what is left over of one out of this process's environment: libraries read it, too."""
    if launched() == 1:
        for name in ("WORLD_SIZE", *_PLACES):
            os.environ.pop(name, None)


def _number(name: str) -> int:
    """A variable as a whole number; -1 where it is none."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
