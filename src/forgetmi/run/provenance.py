"""Parts of a checkpoint's model that no training has moved, as it names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetmi.core.carrier import read_carrier
from forgetmi.model.checkpoint import FACTS
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.carrier import untouched

# Name of the fact in a checkpoint
NAME = "untouched"


def untouched_in(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Parts that no training of a checkpoint's model has moved, such as "tower:image"; none where it does not say."""
    stored = extra.get(NAME)
    if not isinstance(stored, list):
        return ()
    return tuple(part for part in stored if isinstance(part, str))


def stored_untouched(checkpoint: Path) -> dict[str, Any]:
    """The facts of a checkpoint, as they are stored again with it."""
    parts = untouched_in(read_facts(checkpoint / FACTS)["extra"])
    return {NAME: list(parts)} if parts else {}


def untouched_after_training(spec: RunSpec, model: NetModule | Ensemble) -> dict[str, Any]:
    """The same facts of a model that was trained; nothing where all of it moved."""
    carrier = read_carrier(spec.training.carrier)
    if not isinstance(model, NetModule):
        return {}
    parts = untouched(model, carrier)
    return {NAME: list(parts)} if parts else {}


def untouched_after_unlearning(
    spec: RunSpec, model: NetModule | Ensemble, original: Path
) -> dict[str, Any]:
    """Those of an unlearned model: what neither its original's training nor the method has moved."""
    if not isinstance(model, NetModule):
        return {}
    before = untouched_in(read_facts(original / FACTS)["extra"])
    parts = [part for part in untouched(model, spec.moves) if part in before]
    return {NAME: parts} if parts else {}
