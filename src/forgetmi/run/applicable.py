"""Whether a run's model keeps its promises and its method can work on it, asked before anything is decoded or made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetmi.core.carrier import read_carrier
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CheckpointError, Fault, MethodError, SpecError
from forgetmi.core.modalities import TABLE
from forgetmi.core.registry import methods
from forgetmi.model.adapted import Adapted
from forgetmi.model.architecture import Architecture
from forgetmi.model.architectures import blank
from forgetmi.model.check_net import check_net
from forgetmi.model.checkpoint import FACTS
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.checkpoint_own import factory_faults
from forgetmi.model.composed_spec import ComposedSpec, is_composed
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_spec import OwnSpec, is_own
from forgetmi.model.spec import compact
from forgetmi.model.tasks.by_name import outputs_of, training_task
from forgetmi.run.composing import composed_spec
from forgetmi.run.pool_use import no_pool_faults
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.applies import applies, check_applies
from forgetmi.unlearning.carrier_applies import check_carrier, check_training

# What a factory is told of a table where there is no cohort
MADE_UP_COLUMNS = ("first", "second", "third")


def check_model(spec: RunSpec, cohort: Cohort) -> None:
    """Refuse a model that would break or mislead a run, and a method that cannot work on it.

    Raises:
        SpecError: The user's own model does not keep its promises.
        MethodError: The run's method does not apply to the model.
        CheckpointError: The given original needs a factory.
    """
    net = net_of(spec, cohort)
    if TABLE in net.modalities and cohort.table is None:
        raise SpecError(
            Fault(
                "the model reads a table, and the cohort has none",
                where="model",
                do="Name its columns in the cohort's options.",
            )
        )
    if isinstance(net, Adapted):
        check_net(net, partial(build, net.spec, seed=0))
    check_applies(spec.method, net, training_task(cohort.task))
    if spec.given.original is None:
        check_training(spec.method, net, read_carrier(spec.training.carrier))
    check_carrier(spec.method, net, spec.moves)


def check_models(specs: Iterable[RunSpec], cohort: Cohort) -> None:
    """The same for all runs of a benchmark, a tuning or a sweep, which give a method no pool.

    Raises:
        MethodError: At least one method does not apply, or needs a pool; all of them at once.
        SpecError, CheckpointError: As `check_model`.
    """
    faults: list[Fault] = []
    for spec in specs:
        faults += no_pool_faults(spec.method)
        try:
            check_model(spec, cohort)
        except MethodError as error:
            faults += error.faults
    if faults:
        raise MethodError(list(dict.fromkeys(faults)))


def check_trained(spec: RunSpec, cohort: Cohort) -> None:
    """The same for a command that trains and does not unlearn: the method need not work within the carrier.

    Raises:
        SpecError, MethodError: As `check_model`.
    """
    check_model(replace(spec, carrier="full"), cohort)


def net_of(spec: RunSpec, cohort: Cohort) -> NetModule:
    """A model of the kind that a run's are, to be asked what it can do; its weights mean nothing."""
    if spec.given.original is not None:
        return net_in(spec.given.original, factory=spec.model.factory)
    if spec.model.towers:
        return _of_towers(spec, cohort)
    if not spec.model.factory:
        return _own_architecture()

    classes = outputs_of(cohort.task, cohort.classes)
    return build(_resolved(spec, classes=classes, columns=cohort.table_columns), seed=0)


def net_in(checkpoint: Path, *, factory: str = "") -> NetModule:
    """A model of the kind of a checkpoint's, whose weights are not read.

    Args:
        checkpoint: Its folder.
        factory: The user's own factory, for a model that it made.

    Raises:
        CheckpointError: The facts are damaged, or a factory is needed.
    """
    facts = read_facts(checkpoint / FACTS)
    if is_composed(facts["spec"]):
        with torch.device("meta"):
            return blank(ComposedSpec.from_plain(facts["spec"]))
    if not is_own(facts["spec"]):
        return _own_architecture()

    spec = OwnSpec.from_plain(facts["spec"], where=f"{checkpoint.name}/{FACTS}")
    faults = factory_faults(spec, factory, checkpoint.name)
    if faults:
        raise CheckpointError(faults)
    return build(spec, seed=0)


def net_of_factory(factory: str) -> NetModule:
    """A model that a user's factory makes for inputs of the default sizes; checked."""
    spec = RunSpec(model=Architecture(factory=factory))
    net = build(_resolved(spec, classes=4, columns=MADE_UP_COLUMNS), seed=0)
    check_net(net, partial(build, net.spec, seed=0))
    return net


def task_in(checkpoint: Path) -> str:
    """The task of the labels that a checkpoint's model was trained on."""
    preprocessing = read_facts(checkpoint / FACTS)["preprocessing"]
    if isinstance(preprocessing.get("task"), str):
        return preprocessing["task"]

    # As it was stored before tasks had names
    return "grades" if preprocessing.get("ordinal", True) else "classes"


def applicable(net: NetModule, task: str) -> dict[str, str]:
    """Every registered method, and why it does not apply to a model of that kind; empty = it does."""
    reasons: dict[str, str] = {}
    for name in methods.names():
        method: Any = methods.get(name)
        reasons[name] = applies(method, net, training_task(task))
    return reasons


def _resolved(spec: RunSpec, *, classes: int, columns: tuple[str, ...]) -> Any:
    """The specification of a run's models, as far as it is known before the reports are read."""
    # The vocabulary has at most as many pieces as were asked for
    return spec.model.resolve(
        size=spec.images.size,
        classes=classes,
        vocabulary=spec.text.vocabulary,
        longest=spec.text.max_length,
        columns=columns,
    )


def _of_towers(spec: RunSpec, cohort: Cohort) -> NetModule:
    """A model of towers without numbers: what it can do depends on neither its weights nor the patients."""
    everybody = np.arange(len(cohort))
    composed = composed_spec(
        spec.model, cohort, everybody, classes=outputs_of(cohort.task, cohort.classes)
    )
    with torch.device("meta"):
        return blank(composed)


def _own_architecture() -> ImageText:
    """The package's own architecture: what it can do does not depend on its sizes."""
    with torch.device("meta"):
        return ImageText(compact(classes=4, vocabulary=100))
