"""A user's own model of a checkpoint: made by the factory that the user named, filled by the user's function."""

from __future__ import annotations

from pathlib import Path

from forgetmi.core.errors import Fault
from forgetmi.core.printable import quoted
from forgetmi.model.adapted import Adapted
from forgetmi.model.checkpoint_facts import altered
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.factory import build_own, own_spec
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.own_files import FOLDER, load_files
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.tasks.by_name import training_task


def factory_faults(spec: OwnSpec, factory: str, where: str) -> list[Fault]:
    """What speaks against reading a checkpoint with the factory that the user named.

    Args:
        spec: As stored; the factory that it names is not imported for that.
        factory: As the user named it; empty = not at all.
        where: Name of the folder, for messages.
    """
    named = quoted(spec.factory)
    if not factory:
        return [
            Fault(
                f"it is of a model of the user's own, made by {named}",
                where=where,
                why="no code that a model's folder names is run unasked",
                do=f"If you trust that code, name it: --model-from {spec.factory}",
            )
        ]
    if factory != spec.factory:
        return [Fault(f"it was made by {named}, not by {quoted(factory)}", where=where)]
    return []


def filled_own(
    directory: Path, spec: OwnSpec, members: int | None, digest: str, *, task: str
) -> tuple[Adapted | Ensemble | None, list[Fault]]:
    """A model with the stored weights, or what does not fit.

    Args:
        directory: The checkpoint, whose files were found unaltered.
        spec: As stored.
        members: How many models an ensemble has; None = a single model.
        digest: Of the weights when they were written.
        task: Name of the task, by which an ensemble predicts.

    Raises:
        SpecError: The factory makes no model, or there is no such task.
        CheckpointError: The user's function cannot read the files.
    """
    models: list[Adapted] = []
    for number in range(members or 1):
        model = build_own(spec, seed=0)
        load_files(model, directory / FOLDER / str(number))
        models.append(model)

    result = models[0] if members is None else Ensemble(models, task=training_task(task))
    if parameter_digest(result) != digest:
        return None, [altered(f"{directory.name}/{FOLDER}")]
    return result, []


def source_notice(spec: OwnSpec) -> str:
    """What is to be said where the factory's source has changed since the checkpoint was made; empty = it has not."""
    if own_spec(spec.factory, spec.sizes).source == spec.source:
        return ""
    return f"the source of {spec.factory} has changed since the model was made"
