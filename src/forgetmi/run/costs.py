"""What the stages of a run cost, read from its traces."""

from __future__ import annotations

from forgetmi.core.cost import Cost
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_models import given_model, model_names, relearnt_names, retrained_names
from forgetmi.run.spec import RunSpec
from forgetmi.run.trace_file import read_trace


def stage_names(spec: RunSpec, directory: RunDirectory) -> list[str]:
    """Every finished stage whose cost was measured, in order."""
    # In the order in which a run makes them
    relearnings = [f"relearn-{name}" for name in relearnt_names(spec)]
    stages = [*model_names(spec), *relearnings, "evaluate", "audit"]

    # Without a trace a stage is not finished, or was not part of the run
    return [name for name in stages if directory.trace(name).exists()]


def cost_of(directory: RunDirectory, name: str) -> Cost:
    """What one stage cost."""
    return read_trace(directory, name, needs=("cost",)).cost


def retraining_cost(spec: RunSpec, directory: RunDirectory) -> Cost | None:
    """What one retraining cost here; None where none was done."""
    # Given models cost nothing here, so the first one trained here counts
    trained_here = [name for name in retrained_names(spec) if given_model(spec, name) is None]
    return cost_of(directory, trained_here[0]) if trained_here else None


def total_cpu_seconds(spec: RunSpec, directory: RunDirectory) -> float:
    """Processor seconds of all finished stages together."""
    return sum(cost_of(directory, name).cpu_seconds for name in stage_names(spec, directory))
