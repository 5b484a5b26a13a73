"""How a model computes: all its state besides the weights, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from forgetmi.core.compile_mode import Compile
from forgetmi.model.prefix import Prefix


@dataclass(frozen=True)
class Execution:
    """How a `NetModule` computes; changes its outputs by rounding at most.

    A model has it as ``model.execution``, and a deep copy of a model has it, too. Change it for a block with
    `forgetmi.model.executing.executing`.

    Args:
        micro_batches: In how many parts one process in eval mode computes a batch, >= 1; several processes compute one
            part each, whatever is set here.
        prefixes: Outputs of an encoder's first steps ("image", "text"); the encoder starts from those.
        recompute: Whether activations are computed again in the backward pass, which saves memory and takes time.
        compile: Whether encoders are compiled or captured; see `forgetmi.model.compiling.compiled`.
        still: What of frozen layers rests in training besides their weights: norms = statistics; layers = statistics
            and dropout; see `forgetmi.model.modes.learning`.
    """

    micro_batches: int = 1
    prefixes: Mapping[str, Prefix] = field(default_factory=dict)
    recompute: bool = False
    still: Literal["", "norms", "layers"] = ""
    compile: Compile = "off"
