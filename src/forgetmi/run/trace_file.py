"""Traces of a run: what was done to make one model or to finish one stage, as stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from forgetmi.core.cost import Cost
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.serialization import from_plain
from forgetmi.run.directory import RunDirectory

_DO = "Restore the file, or make the run again with another --out."


@dataclass(frozen=True)
class StoredTrace:
    """What later stages read of a trace; which of it is there depends on the stage.

    Args:
        cost: What the stage cost; 0 in a trace that is read for something else and names none.
        weights: Digest of the model's weights; "" = the stage made none.
        steps: Optimiser steps.
        samples: Set to the samples of it that were read.
        epochs: Losses of each epoch.
        changed: Tensors that the method changed.
        changed_heads: Those among them that belong to a head; None = a trace from before they were named.
        first_gradient: Norm of the first gradient; None = no step was taken.
        facts: What the method states of itself.
    """

    cost: Cost = field(default_factory=lambda: Cost(0.0, 0.0, 0))
    weights: str = ""
    steps: int = 0
    samples: Mapping[str, int] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()
    changed: tuple[str, ...] = ()
    changed_heads: tuple[str, ...] | None = None
    first_gradient: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


# What is read of the trace of an unlearning
OF_UNLEARNING = ("cost", "steps", "samples", "first_gradient", "facts", "changed")


def read_trace(directory: RunDirectory, name: str, *, needs: Sequence[str] = ()) -> StoredTrace:
    """The trace of one model or stage.

    Args:
        directory: The run.
        name: The model or stage.
        needs: Fields of `StoredTrace` that must be there.

    Raises:
        SpecError: It is missing, or a field is missing or of another type.
    """
    path = directory.trace(name)
    where = f"{path.parent.name}/{path.name}"
    values = read_json(path, what="a trace", do=_DO, where=where)

    missing = [key for key in needs if not isinstance(values, dict) or key not in values]
    if missing:
        raise SpecError(Fault(f"key {key!r} is missing", where=where, do=_DO) for key in missing)

    # Each kind of stage adds facts of its own, which nobody reads again.
    known = {f.name for f in fields(StoredTrace)}
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key in known}
    return from_plain(StoredTrace, values, where=where)


def read_weights(directory: RunDirectory, name: str) -> str:
    """Digest of a model's weights as they were when it was made.

    Raises:
        SpecError: The trace cannot be read, or names no weights.
    """
    return read_trace(directory, name, needs=("weights",)).weights
