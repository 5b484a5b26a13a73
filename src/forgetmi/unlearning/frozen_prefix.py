"""Outputs of the frozen first layers, computed once for a whole training of the last ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from forgetmi.model.composed import Composed
from forgetmi.model.executing import executing
from forgetmi.model.frozen_steps import empty_prefixes, fill
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule
from forgetmi.model.prefix import fixed_steps
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoader


@contextmanager
def frozen_prefix(
    student: NetModule,
    loader: GuardedLoader,
    context: Context,
    *,
    passes: int,
    limit: float,
    but: Collection[str] = (),
) -> Iterator[None]:
    """For a block, let a student start from cached outputs of its frozen first steps, where those never change.

    One pass over the set fills the table, in fixed order (a resumed run must round alike); it counts as samples read.
    Each encoder is cut before its first step that moves, learns batch statistics or draws dropout; a residual block or
    transformer layer is one step. Weights differ from those without the table by rounding at most; under autocast they
    would by more, and nothing is cached. What is cached, and what would not fit, goes into the trace.

    Args:
        student: In the mode it is trained in; weights that move ask for gradients.
        loader: The set it is trained on.
        context: Takes the facts.
        passes: Passes over the set to come; with fewer than 2 nothing is gained, and nothing is cached.
        limit: Largest size of the table in MiB; the larger encoder's part goes first. 0 = nothing is cached.
        but: Encoders ("image", "text") whose inputs change from pass to pass.
    """
    # Where each encoder would start: at its first step that moves. Other models cannot start in their middle.
    starts: dict[str, int] = {}
    if isinstance(student, ImageText | Composed):
        steps = {modality: student.steps(modality) for modality in student.modalities}
        starts = {name: fixed_steps(parts) for name, parts in steps.items() if name not in but}

    # Caching pays off from the second pass on, and only in full precision.
    autocast = torch.is_autocast_enabled(student.device.type)
    pays_off = passes > 1 and limit > 0 and not autocast
    prefixes = empty_prefixes(starts) if pays_off else {}
    candidates = tuple(prefixes)
    if prefixes and isinstance(student, ImageText | Composed):
        fill(prefixes, student, loader.batches(loader.rows), limit=limit * 2**20)

    # What is cached, for the trace.
    size = sum(prefix.size for prefix in prefixes.values())
    context.facts["frozen steps computed once"] = {
        name: prefix.start for name, prefix in prefixes.items()
    }
    context.facts["their outputs, MiB"] = round(size / 2**20, 1)
    context.facts["too large to hold"] = [name for name in candidates if name not in prefixes]

    with executing(student, prefixes=prefixes):
        yield
