"""Which models a run consists of: their names, their seeds, and those that are given."""

from __future__ import annotations

from pathlib import Path

from forgetmi.core.model_names import (
    ORIGINAL,
    UNLEARNED,
    is_retrained,
    retrained_name,
    retrained_number,
)
from forgetmi.core.seeding import derive
from forgetmi.run.spec import RunSpec


def model_names(spec: RunSpec) -> list[str]:
    """Every model of a run; the original first, because unlearning waits for it."""
    return [ORIGINAL, *retrained_names(spec), UNLEARNED]


def retrained_names(spec: RunSpec) -> list[str]:
    """The retrained models: given ones first, then those trained here."""
    # With a pool nothing is retrained
    if spec.references is not None:
        return []

    # Numbered through, whoever trained them
    count = len(spec.given.retrained) + spec.retrains
    return [retrained_name(number) for number in range(count)]


def relearnt_names(spec: RunSpec) -> list[str]:
    """The models that are taught again: the unlearned one and one retrained model, where the audit needs it."""
    # Without a retrained model there is nothing to compare the return with
    retrained = retrained_names(spec)
    if not spec.audit.enabled or spec.audit.relearn_epochs <= 0 or not retrained:
        return []
    return [UNLEARNED, retrained[0]]


def model_seed(spec: RunSpec, name: str) -> int:
    """Seed of one model: the root seed for the original and the unlearned, a derived one for each retrained one."""
    return derive(spec.seed, name) if is_retrained(name) else spec.seed


def given_model(spec: RunSpec, name: str) -> Path | None:
    """Checkpoint of a model that exists already; None = it is to be made."""
    given = spec.given
    if name == ORIGINAL:
        return given.original
    if not is_retrained(name):
        return None

    # Given retrained models have the first numbers.
    number = retrained_number(name)
    return given.retrained[number] if number < len(given.retrained) else None
