"""Another process for a test, without importing torch anew where that is safe."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any


def started(call: Callable[..., Any], *given: Any) -> BaseProcess:
    """A started process that calls a function; its exit code is 0 if the function returns.

    For what needs a process of its own but no fresh interpreter: races, kills, several ranks. It is forked from this
    one, which already holds torch; where torch computes in several threads a fork is unsafe, and it is spawned.

    Args:
        call: A function of a module, not one defined inside another.
        given: What it is called with.
    """
    torch = sys.modules.get("torch")
    safe = torch is None or torch.get_num_threads() == 1

    process = multiprocessing.get_context("fork" if safe else "spawn").Process(
        target=_alone, args=(call, *given), daemon=False
    )
    process.start()
    return process


def _alone(call: Callable[..., Any], *given: Any) -> None:
    """Call a function without the server of worker processes that this process's parent may have started."""
    server = forkserver._forkserver  # type: ignore[attr-defined]
    server._forkserver_pid = server._forkserver_address = server._forkserver_alive_fd = None
    call(*given)
