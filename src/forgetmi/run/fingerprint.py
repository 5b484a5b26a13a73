"""What a trained model depends on, as a key under which it is stored and used again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.run import workflow
from forgetmi.run.pipeline import divide, prepare
from forgetmi.run.pretrained import encoder_digest
from forgetmi.run.source_digest import source_digest
from forgetmi.run.spec import PartitionSpec, RunSpec

TRAINS = (
    "forgetmi.model.train",
    "forgetmi.model.gate",
    "forgetmi.data.loaders",
    "forgetmi.evaluation.signals",
)


LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


def behind(prepared: workflow.Prepared, partition: Partition, method: Any = None) -> dict[str, Any]:
    """Digests of what makes a model besides its options, none of which a specification holds.

    They are of data, the pretrained encoder, libraries and source.

    Args:
        prepared, partition: The data.
        method: The method, where it has a part in the model.
    """
    of_method = () if method is None else ("forgetmi.unlearning.method", type(method).__module__)
    return {
        "cohort": partition.cohort,
        "images": prepared.records.images.digest,
        "tokens": prepared.records.tokenizer.digest,
        "pretrained": encoder_digest(prepared.spec.text),
        "libraries": versions(LIBRARIES),
        "source": source_digest((*TRAINS, *of_method), alone=("forgetmi.run.workflow",)),
    }


def versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions of some libraries, by name."""
    return {name: version(name) for name in names}


def opened(spec: RunSpec) -> tuple[Cohort, workflow.Prepared, Partition]:
    """The data of a run; what was read for another run of the same cohort is used again."""
    cohort, prepared = _prepared(_shared(spec))
    return cohort, prepared, _divided(replace(_shared(spec), partition=spec.partition))


def _shared(spec: RunSpec) -> RunSpec:
    """What every run of a benchmark has in common, as far as the data depend on it."""
    return RunSpec(
        cohort=spec.cohort,
        images=spec.images,
        text=spec.text,
        model=spec.model,
        split_seed=spec.split_seed,
        partition=replace(spec.partition, percent=PartitionSpec.percent, draw=0),
    )


@lru_cache(maxsize=1)
def _prepared(spec: RunSpec) -> tuple[Cohort, workflow.Prepared]:
    cohort = spec.cohort.load()
    prepared = prepare(spec, cohort, divide(spec, cohort))
    # What had to be fetched is here now. Whether it had to be is no part of a model: with and without they are alike.
    text = replace(prepared.spec.text, download=False)
    return cohort, replace(prepared, spec=replace(prepared.spec, text=text))


@lru_cache(maxsize=64)
def _divided(spec: RunSpec) -> Partition:
    return divide(spec, _prepared(_shared(spec))[0])
