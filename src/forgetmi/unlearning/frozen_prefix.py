"""Outputs of the frozen first layers, computed once for a whole training of the last ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.model.image_text import ImageText, executing
from forgetmi.model.prefix import Prefix, fixed_steps
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoader


@contextmanager
def frozen_prefix(
    student: ImageText,
    loader: GuardedLoader,
    context: Context,
    *,
    passes: int,
    limit: float,
    but: Collection[str] = (),
) -> Iterator[None]:
    """Let a student start from the outputs of its frozen first steps for a block, where those never change.

    One pass over the set fills the table, in fixed order (a resumed run must round alike); it counts as samples read.
    Each encoder is cut before its first step that moves, learns batch statistics or draws dropout; a residual block or
    transformer layer is one step. Weights differ from those without the table by rounding at most; under autocast they
    would by more, and nothing is held. What is held, and what would not fit, goes into the trace.

    Args:
        student: In the mode it is trained in; weights that move ask for gradients.
        loader: The set it is trained on.
        context: Takes the facts.
        passes: Passes over the set to come; with fewer than 2 nothing is gained, and nothing is held.
        limit: Largest size of the table in MiB; the larger encoder's part goes first. 0 = nothing is held.
        but: Encoders ("image", "text") whose inputs change from pass to pass.
    """
    steps = {"image": student.img_model.steps(), "text": student.text_model.steps()}
    starts = {name: fixed_steps(parts) for name, parts in steps.items() if name not in but}
    worth = passes > 1 and limit > 0 and not torch.is_autocast_enabled(student.device.type)
    held = {name: Prefix(start) for name, start in starts.items() if start > 0 and worth}
    wanted = tuple(held)
    if held:
        _fill(held, student, loader, limit=limit * 2**20)
    context.facts["frozen steps computed once"] = {
        name: prefix.start for name, prefix in held.items()
    }
    context.facts["their outputs, MiB"] = round(
        sum(prefix.size for prefix in held.values()) / 2**20, 1
    )
    context.facts["too large to hold"] = [name for name in wanted if name not in held]
    with executing(student, prefixes=held):
        yield


@torch.no_grad()
def _fill(
    held: dict[str, Prefix], student: ImageText, loader: GuardedLoader, *, limit: float
) -> None:
    """Run the first steps over the set; what does not fit is dropped from ``held``."""
    for batch in loader.batches(loader.rows):
        for name, prefix in held.items():
            prefix.keep(batch, _outputs(student, batch, name, prefix.start))
        while sum(prefix.size for prefix in held.values()) > limit:
            del held[max(held, key=lambda name: held[name].size)]
        if not held:
            return


def _outputs(student: ImageText, batch: Batch, name: str, stop: int) -> Tensor:
    if name == "image":
        return student.img_model.encode(batch.image, stop=stop)
    return student.text_model.encode(batch.tokens, batch.mask, stop=stop)
