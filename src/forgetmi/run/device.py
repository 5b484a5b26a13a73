"""The device that a specification means."""

from __future__ import annotations

import torch

from forgetmi.core.errors import Fault, SpecError
from forgetmi.run.spec import RunSpec


def device_of(spec: RunSpec) -> str:
    """The device a specification means: cpu or cuda.

    Raises:
        SpecError: It names a GPU of this machine, and there is none.
    """
    if spec.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"

    # Jobs on a Ray cluster may find a GPU on another machine.
    here = spec.runner == "local"
    if spec.device == "cuda" and here and not torch.cuda.is_available():
        raise SpecError(
            Fault(
                "there is no GPU that PyTorch can use",
                where="--device cuda",
                do="Leave the option out, or install PyTorch for your GPU (make TORCH=torch).",
            )
        )
    return spec.device
