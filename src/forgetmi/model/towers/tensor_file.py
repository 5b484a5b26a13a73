"""The weights of a tower in one file: all that it needs, in its shapes, or an error that lists what is not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.model.towers.never_trained import untrained_faults
from forgetmi.model.weight_files import DAMAGE, WeightFileError, open_weights

# Weights that are spelled out
_MOST = 5

# Counters, which some files lack and nothing reads
_COUNTER = "num_batches_tracked"


def tensor_file(path: Path) -> dict[str, Tensor]:
    """Every floating-point tensor of a file of weights in float32, and the others as they are, by name.

    Args:
        path: A safetensors file, or one that torch.save wrote, of which tensors alone are unpickled.

    Raises:
        SpecError: It cannot be read.
    """
    tensors = {}
    try:
        for name, stored in open_weights(path).items():
            if stored.dtype is None:
                continue
            value = stored.read()
            tensors[name] = value.float() if value.is_floating_point() else value.clone()
    except WeightFileError as error:
        raise SpecError(_unreadable(path.name, error.why, error.do)) from None
    except DAMAGE:
        raise SpecError(_unreadable(path.name, "the file is cut off or damaged", "")) from None
    return tensors


def fitting(module: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Those of the tensors that a module has; others, such as a classifier's, are left out.

    Args:
        module: The module; its own numbers are not looked at.
        tensors: By the names that the module gives them.
        where: Name of the file, for messages.

    Raises:
        SpecError: Tensors of the module are missing, of another shape or not finite, all kinds of faults at once; or
            they were never trained.
    """
    lacking, other, unsound = [], [], []
    state = {}
    for name, own in module.state_dict().items():
        value = tensors.get(name)
        if value is None and name.endswith(_COUNTER):
            state[name] = torch.zeros_like(own)
        elif value is None:
            lacking.append(name)
        elif value.shape != own.shape:
            other.append(name)
        elif not bool(value.isfinite().all()):
            unsound.append(name)
        else:
            state[name] = value.to(own.dtype)

    faults = [
        *_listed("weights of the tower are missing", lacking, where),
        *_listed("weights are of other shapes than the tower's", other, where),
        *_listed("weights hold NaN or infinite numbers", unsound, where),
    ]
    if faults or (faults := untrained_faults(state, where=where)):
        raise SpecError(faults)
    return state


def _listed(what: str, names: list[str], where: str) -> list[Fault]:
    """A fault that names the first few of some weights."""
    if not names:
        return []
    listed = ", ".join(printable(name, 120) for name in names[:_MOST])
    rest = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    do = "Use the file that belongs to this tower."
    return [Fault(what, where=where, why=f"{listed}{rest}", do=do)]


def _unreadable(where: str, why: str, do: str) -> Fault:
    return Fault("the pretrained weights cannot be read", where=where, why=why, do=do)
