"""The weights of a checkpoint: compared with its architecture before a model of that size is made, then filled in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import Tensor

from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.printable import printable
from forgetmi.core.regular_file import read_regular
from forgetmi.model.architectures import blank
from forgetmi.model.checkpoint_facts import altered
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule
from forgetmi.model.spec import ModelSpec
from forgetmi.model.tasks.by_name import training_task

# Most bytes of a file of weights, and faults of it that are spelled out.
_BYTES = 64 * 2**30
_MOST = 5

_POINTER = b"version https://git-lfs"


def read_file(path: Path, *, limit: int) -> bytes:
    """The content of a file of a checkpoint.

    Raises:
        CheckpointError: It cannot be read, or has more bytes.
    """
    try:
        return read_regular(path, limit=limit)
    except OSError as error:
        where = f"{path.parent.name}/{path.name}"
        why = error.strerror or type(error).__name__
        raise CheckpointError(Fault("it cannot be read", where=where, why=why)) from None


def read_weights(path: Path) -> tuple[dict[str, Tensor] | None, list[Fault]]:
    """Tensors by name, or why there are none."""
    where = f"{path.parent.name}/{path.name}"
    content = read_file(path, limit=_BYTES)

    # What stands for the file in a repository whose large files were not fetched.
    if content.startswith(_POINTER):
        fault = Fault(
            "the weights cannot be read",
            where=where,
            why="it is a git-lfs pointer, not the weights",
            do="Fetch them: git lfs pull in that folder.",
        )
        return None, [fault]

    try:
        return read_tensors(content), []
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        why = "the file is cut off or damaged" if content else "the file is empty"
        fault = Fault("the weights cannot be read", where=where, why=why, do="Copy it again.")
        return None, [fault]


def filled(
    spec: ModelSpec | ComposedSpec,
    members: int | None,
    tensors: Mapping[str, Tensor],
    digest: str,
    where: str,
    *,
    task: str,
) -> tuple[NetModule | Ensemble | None, list[Fault]]:
    """A model with the stored weights, or what does not fit; none is made before names and shapes fit.

    Args:
        spec: The stored architecture.
        members: How many models an ensemble has; None = a single model.
        tensors: The stored weights.
        digest: Their digest when they were written.
        where: Name of the file, for messages.
        task: Name of the task, by which an ensemble predicts.

    Raises:
        SpecError: Sizes that are sound one by one do not fit together, or there is no such task.
    """
    # A layer has more than one tensor: with fewer in all, the sizes are not looked at one by one.
    layers = spec.layers
    if layers * (members or 1) > len(tensors):
        why = f"the architecture has {layers * (members or 1)} layers"
        return None, [Fault(f"it holds {len(tensors)} tensors alone", where=where, why=why)]

    try:
        expected = _expected(spec, members)
        faults = _differences(expected, tensors, where)
        if faults:
            return None, faults
        model = _empty(spec, members, task)
    except (RuntimeError, MemoryError, OverflowError) as error:
        why = type(error).__name__
        return None, [Fault("a model of these sizes cannot be made", where=where, why=why)]

    # The digest shows whether the numbers are those that were written.
    model.load_state_dict(dict(tensors))
    if parameter_digest(model) != digest:
        return None, [altered(where)]
    return model, []


def _expected(spec: ModelSpec | ComposedSpec, members: int | None) -> dict[str, Tensor]:
    """Every tensor of such a model, without its numbers."""
    with torch.device("meta"):
        single = blank(spec).state_dict()
    if members is None:
        return single

    expected = {}
    for number in range(members):
        for name, value in single.items():
            expected[f"members.{number}.{name}"] = value
    return expected


def _differences(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str
) -> list[Fault]:
    """Faults of names, types and shapes that are not the model's; of many the first."""
    faults = []
    for name in sorted(expected.keys() - tensors.keys()):
        faults.append(Fault(f"tensor {name} is missing", where=where))
    for name in sorted(tensors.keys() - expected.keys()):
        faults.append(Fault(f"unknown tensor {printable(name, 120)}", where=where))

    for name in sorted(expected.keys() & tensors.keys()):
        stored, own = tensors[name], expected[name]
        if (stored.shape, stored.dtype) != (own.shape, own.dtype):
            faults.append(
                Fault(
                    f"tensor {name} is {stored.dtype} {tuple(stored.shape)}",
                    where=where,
                    why=f"the model's is {own.dtype} {tuple(own.shape)}",
                )
            )

    # Weights of another architecture differ in every tensor.
    if len(faults) > _MOST:
        rest = Fault(f"... and {len(faults) - _MOST} more tensors differ", where=where)
        faults = [*faults[:_MOST], rest]
    return faults


def _empty(spec: ModelSpec | ComposedSpec, members: int | None, task: str) -> NetModule | Ensemble:
    """A model whose weights are yet to be filled in."""
    if members is None:
        return blank(spec)
    return Ensemble([blank(spec) for _ in range(members)], task=training_task(task))
