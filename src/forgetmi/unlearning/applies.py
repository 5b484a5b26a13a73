"""Whether a method can work on a model, and in one sentence why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.modalities import IMAGE, JOINT, TABLE, TEXT
from forgetmi.core.net import Need
from forgetmi.core.task import Task
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule, convolutions
from forgetmi.unlearning.carrier_applies import random_tower

# Modalities of which noisy copies can be made (`forgetmi.data.noise`)
WITH_NOISE = (IMAGE, TEXT, TABLE)

# Tasks whose label is one of several classes, and those whose labels are states: also each present or absent
OF_CLASSES = ("classes", "grades", "binary")
OF_STATES = (*OF_CLASSES, "findings")


def applies(method: Any, net: NetModule, task: Task) -> str:
    """Why a method cannot work on a model; empty = it can.

    Use it before any work starts. A method says what it needs in its class variable ``needs``; one that says nothing
    needs no more than that the model predicts.

    Args:
        method: The method, or its class.
        net: The model, trained or not.
        task: Of the labels.
    """
    # In a fixed order, so that the same sentence comes first
    needs: frozenset[Need] = getattr(method, "needs", frozenset())

    for need, missing in _MISSING.items():
        if need in needs:
            reason = missing(net, task)
            if reason:
                return reason

    return ""


def check_applies(method: Any, net: NetModule, task: Task) -> None:
    """Refuse a method that cannot work on a model.

    Raises:
        MethodError: It cannot.
    """
    reason = applies(method, net, task)
    if reason:
        raise MethodError(
            Fault(
                f"{method.info.title} does not apply to this model",
                why=reason,
                do="forgetmi methods --model DIR lists those that do.",
            )
        )


def _papers_model(net: NetModule, task: Task) -> str:
    return "" if isinstance(net, ImageText) else "it is written for the paper's own model alone"


def _classes(net: NetModule, task: Task) -> str:
    if task.name in OF_CLASSES:
        return ""
    return f"it needs one label of several a sample, and the task is {task.name}"


def _predictions(net: NetModule, task: Task) -> str:
    if task.headed:
        return ""
    return f"it reads predictions of a label, and of {task.name} there are none"


def _states(net: NetModule, task: Task) -> str:
    if task.name in OF_STATES:
        return ""
    return f"it needs labels with states, classes or findings, and the task is {task.name}"


def _text(net: NetModule, task: Task) -> str:
    return "" if TEXT in net.modalities else "it works on texts, and the model reads none"


def _pair(net: NetModule, task: Task) -> str:
    widths = [net.embedding_widths[name] for name in net.modalities if name in net.embedding_widths]
    if len(widths) < 2:
        return "it unties two modalities, and the model has one embedding of a modality at most"
    if len(set(widths)) > 1:
        return "it compares the embeddings of two modalities, and theirs differ in width"

    return ""


def _embeddings(net: NetModule, task: Task) -> str:
    if any(name != JOINT for name in net.embedding_widths):
        return ""
    return "it works on the embedding of each modality, and the model gives none"


def _joint(net: NetModule, task: Task) -> str:
    if JOINT in net.embedding_widths:
        return ""
    return "it works on a joint embedding, and the model gives none"


def _joined(net: NetModule, task: Task) -> str:
    if net.joins:
        return ""
    return "it joins embeddings of different patients, and the model does not say how it joins"


def _heads(net: NetModule, task: Task) -> str:
    if net.heads and set(net.heads) == set(net.logit_names):
        return ""
    return "it works on linear heads of the embeddings, and the model does not name one for each prediction"


def _own_heads(net: NetModule, task: Task) -> str:
    unimodal = {name for name in net.embedding_widths if name != JOINT}
    if net.heads and set(net.heads) == set(net.logit_names) == unimodal:
        return ""
    return "it works on a linear head of each modality's embedding, and the model has others"


def _stages(net: NetModule, task: Task) -> str:
    for modality in net.modalities:
        if not net.stages(modality):
            return f"it works layer by layer, and the model names no stages of its {modality} tower"
    return ""


def _convolutions(net: NetModule, task: Task) -> str:
    if convolutions(net):
        return ""
    if IMAGE not in net.modalities:
        return "it works on convolutions, and the model reads no images"
    return "it works on convolutions, and the stages of the model's image tower have none"


def _words(net: NetModule, task: Task) -> str:
    for modality in net.modalities:
        if modality not in (IMAGE, TEXT):
            return f"it disturbs pixels and word embeddings, and the model reads a {modality}, too"
    if TEXT not in net.modalities or net.words:
        return ""

    return "it disturbs word embeddings, and the model does not name their table"


def _noise(net: NetModule, task: Task) -> str:
    for modality in net.modalities:
        if modality not in WITH_NOISE:
            return (
                f"it makes noisy copies of what a model reads, and there is no noise for {modality}"
            )

    return ""


def _fresh(net: NetModule, task: Task) -> str:
    if all(part.fresh is not None for part in net.parts().values()):
        return ""
    return "it starts from a new model of the same kind, and nobody knows how to make one"


def _public_towers(net: NetModule, task: Task) -> str:
    if reason := random_tower(net):
        return reason
    for modality, tower in net.spec.towers:
        if tower.saw_patients:
            return f"the {modality} tower saw patients, whom adapters above it cannot forget"
    return ""


_MISSING: dict[Need, Callable[[NetModule, Task], str]] = {
    "paper's model": _papers_model,
    "classes": _classes,
    "predictions": _predictions,
    "states": _states,
    "text": _text,
    "pair": _pair,
    "embeddings": _embeddings,
    "joint": _joint,
    "joined": _joined,
    "heads": _heads,
    "own heads": _own_heads,
    "stages": _stages,
    "convolutions": _convolutions,
    "words": _words,
    "noise": _noise,
    "fresh": _fresh,
    "public towers": _public_towers,
}
