"""Numbers of a run for Weights & Biases, MLflow or TensorBoard, through Accelerate's trackers; off unless asked for."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from forgetmi.core.database_url import sqlite_url
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation, Score

Kind = Literal["", "wandb", "mlflow", "tensorboard"]
NEEDS = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard"}
PROJECT = "forgetmi"

_PATIENCE = 5.0  # seconds for a server to answer


class Tracker:
    """One run of a tracker; use it as a context.

    Only numbers and the names this package gives them are handed on: never an identifier, a text or a path. Weights &
    Biases stays offline unless WANDB_MODE says otherwise or an agent's sweep is under way; MLflow writes a database in
    the folder unless MLFLOW_TRACKING_URI names a server.

    Args:
        kind: Which tracker.
        folder: Where it keeps its files.
        name: Of the run.
        settings: Numbers and short words to keep with it; others are left out.

    Raises:
        SpecError: The tracker is not installed.
    """

    def __init__(self, kind: Kind, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        _check_installed(kind)
        from accelerate import PartialState, tracking

        self._kind = kind
        self._groups: set[str] = set()

        # What must be undone when the run is over
        self._after = ExitStack()

        # Accelerate's trackers read from it which process may log
        PartialState()

        folder.mkdir(parents=True, exist_ok=True)
        if kind == "tensorboard":
            self._tracker: Any = tracking.TensorBoardTracker(name, logging_dir=folder)
        elif kind == "mlflow":
            self._tracker = _mlflow(folder, name, self._after)
        else:
            # An agent's sweep is under way on a server already
            if not os.environ.get("WANDB_SWEEP_ID"):
                os.environ.setdefault("WANDB_MODE", "offline")
            self._tracker = tracking.WandBTracker(
                PROJECT, dir=str(folder), name=name, settings=_silent()
            )
        self._tracker.start()

        # Text is left out: it may be a path or a name
        self._tracker.store_init_configuration(numbers(settings))

    def log(self, values: Mapping[str, float], *, step: int, group: str = "") -> None:
        """Hand on numbers of one step.

        Args:
            values: By name.
            step: Their place on the axis.
            group: What the names begin with; each group counts its own steps.
        """
        if self._kind != "wandb" or not group:
            self._tracker.log(dict(values), step=step)
            return

        # Its own steps only ever grow: a group's are an axis of their own
        axis = f"{group}/at"
        if group not in self._groups:
            self._groups.add(group)
            self._tracker.tracker.define_metric(f"{group}/*", step_metric=axis)
        self._tracker.log({**values, axis: step})

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._after:
            self._tracker.finish()


def _mlflow(folder: Path, name: str, after: ExitStack) -> Any:
    """MLflow with its database in a folder, without the names of user and program that it would find out by itself."""
    import mlflow  # pyright: ignore[reportMissingImports]
    from accelerate.tracking import MLflowTracker

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(sqlite_url(folder.resolve() / "mlflow.db"))
        # The address is the whole process's and would outlive the run
        after.callback(mlflow.set_tracking_uri, None)

    # Artifacts would go to the server's own place; none is sent
    return MLflowTracker(
        PROJECT,
        logging_dir="mlflow-artifacts:/",
        run_name=name,
        tags={"mlflow.user": PROJECT, "mlflow.source.name": PROJECT},
    )


def _silent() -> Any:
    """Settings of Weights & Biases that keep what it would find out by itself (paths, arguments, output) to us."""
    import wandb  # pyright: ignore[reportMissingImports]

    return wandb.Settings(
        # Host, user, arguments and hardware
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        # Source, repository and installed packages
        disable_code=True,
        disable_git=True,
        x_save_requirements=False,
        save_code=False,
        # Printed lines
        console="off",
    )


def check_tracker(kind: Kind) -> None:
    """Find out before any work whether a tracker can be used: it is installed, and its server answers.

    Args:
        kind: Which tracker; empty = none.

    Raises:
        SpecError: It cannot.
    """
    if not kind:
        return
    _check_installed(kind)

    # Servers are asked for by the environment alone
    address = ""
    if kind == "mlflow":
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
    elif kind == "wandb" and os.environ.get("WANDB_MODE", "") == "online":
        address = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")

    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return
    why = _unreachable(parts)
    if why:
        raise SpecError(
            Fault(
                f"the server of {kind} cannot be reached",
                where="--track",
                why=why,
                do="Start it, correct the variable that names it, or leave --track out.",
            )
        )


def _unreachable(parts: SplitResult) -> str:
    """Why a server does not answer; empty = it does. The address is left out: it may hold a password."""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE):
            return ""
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or type(error).__name__


def _check_installed(kind: Kind) -> None:
    """Refuse a tracker whose library is missing."""
    if find_spec("accelerate") is None or find_spec(NEEDS[kind]) is None:
        raise SpecError(
            Fault(
                f"{kind} is not installed",
                where="--track",
                do="Install it with  pip install 'forgetmi[track]'.",
            )
        )


def scores(evaluation: Evaluation) -> dict[str, float]:
    """Every score that could be computed, by model, name, head and set."""
    values = {}
    for model, scores in evaluation.scores.items():
        for score in scores:
            if isinstance(score, Score):
                name = "/".join(filter(None, (model, score.name, score.head, score.on)))
                values[name] = score.value
    return values


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and truth values among some values."""
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}
