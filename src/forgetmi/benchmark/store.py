"""Finished models of a benchmark on the disk, each in a folder named by the digest of what determines it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgetmi.core.cost import Cost
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.scores import Evaluation
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals


@dataclass(frozen=True)
class Outcome:
    """What became of a model.

    Args:
        reason: Why it could not be made; empty = it was made.
        cost: Of making it; of the attempt where it failed.
        weights: Digest of the weights.
    """

    reason: str
    cost: Cost
    weights: str = ""


@dataclass(frozen=True)
class Store:
    """Paths of a benchmark.

    Args:
        root: Its directory.
    """

    root: Path

    def folder(self, digest: str) -> Path:
        """Everything of one model."""
        return self.root / "cells" / digest

    def model(self, digest: str) -> Path:
        """Checkpoint of an original, its training log next to it; other weights are not kept."""
        return self.folder(digest) / "model"

    def state(self, digest: str) -> Path:
        """Where an interrupted piece of work resumes from."""
        return self.folder(digest) / "state.pt"

    def trace(self, digest: str) -> Path:
        """What was done to make a model."""
        return self.folder(digest) / "trace.json"

    def signals(self, digest: str) -> Signals:
        """A finished model's signals for every row."""
        return Signals.load(self.folder(digest) / "signals.npz")

    def outcome(self, digest: str) -> Outcome | None:
        """What became of a model; None = it was not made yet."""
        path = self.folder(digest) / "cell.json"
        if not path.exists():
            return None

        stored = read_json(
            path,
            what="the outcome of a model",
            do="Remove its folder, and the model is made again.",
            where=f"{path.parent.name}/{path.name}",
        )

        # The identity is stored for the reader alone
        if isinstance(stored, dict):
            stored.pop("identity", None)
        return from_plain(Outcome, stored, where=path.name, complete=True)

    def finished(self, digest: str) -> bool:
        """Whether a model was made; one that failed is tried again."""
        outcome = self.outcome(digest)
        return outcome is not None and not outcome.reason

    def finish(self, digest: str, outcome: Outcome, *, identity: dict[str, Any]) -> None:
        """Declare a model made, or not to be had; written last.

        Args:
            digest: The model.
            outcome: What became of it.
            identity: What determines it, for the reader.
        """
        # With this file the model counts as made, so everything else is there before
        write_json(self.folder(digest) / "cell.json", {**asdict(outcome), "identity": identity})

    def keep(self, digest: str, signals: Signals, trace: dict[str, Any]) -> None:
        """Write a model's signals and how it was made."""
        # Neither file says that the model is finished: that is what `finish` writes
        signals.save(self.folder(digest) / "signals.npz")
        write_json(self.trace(digest), trace)

    def evaluation(self, digest: str) -> Path:
        """Scores of one group of models."""
        return self.root / "evaluations" / f"{digest}.json"

    def read_evaluation(self, digest: str) -> Evaluation:
        """The same as an object."""
        return Evaluation.read(self.evaluation(digest))
