"""What a trained model depends on besides its options: with them, the key under which it is stored and used again."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from forgetmi.core.partition import Partition
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.spec import ModelSpec
from forgetmi.run.composing import tower_modules, towers_digest
from forgetmi.run.prepared import Prepared
from forgetmi.run.pretrained import encoder_digest
from forgetmi.run.source_digest import source_digest

# Source that a model and its predictions depend on: these modules with all that they import ...
TRAINING_MODULES = (
    "forgetmi.model.architecture",
    "forgetmi.model.initialise",
    "forgetmi.model.train",
    "forgetmi.model.tasks.by_name",
    "forgetmi.model.frozen_steps",
    "forgetmi.model.fit_gate",
    "forgetmi.model.collect",
    "forgetmi.data.loaders",
    "forgetmi.unlearning.carrier",
)
# ... and these alone: they import every method and every measure, too.
DRIVING_MODULES = (
    "forgetmi.run.workflow",
    "forgetmi.run.prepared",
    "forgetmi.run.original_training",
)
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


def fingerprint(prepared: Prepared, partition: Partition, method: Any = None) -> dict[str, Any]:
    """Digests of what makes a model besides its options, none of which a specification holds.

    They are of data, the pretrained encoder, libraries and source.

    Args:
        prepared, partition: The data.
        method: The method, where it has a part in the model.
    """
    modules = TRAINING_MODULES
    if isinstance(prepared.spec, ComposedSpec):
        modules = (*modules, *tower_modules(prepared.spec))
    if method is not None:
        modules = (*modules, "forgetmi.unlearning.method", type(method).__module__)

    return {
        "cohort": partition.cohort,
        "images": prepared.records.images.digest,
        "tokens": prepared.records.tokenizer.digest,
        "pretrained": _given_part(prepared.spec),
        "libraries": versions(LIBRARIES),
        "source": source_digest(modules, alone=DRIVING_MODULES),
    }


def _given_part(spec: ModelSpec | ComposedSpec | OwnSpec) -> str:
    """Digest of what a model has from elsewhere: pretrained encoders, or a factory's source."""
    if isinstance(spec, ComposedSpec):
        return towers_digest(spec)
    return spec.source if isinstance(spec, OwnSpec) else encoder_digest(spec.text)


def versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions of some libraries, by name."""
    return {name: version(name) for name in names}
