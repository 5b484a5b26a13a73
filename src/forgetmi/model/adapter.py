"""What a user says of a module of their own: how it is run, taken apart, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault
from forgetmi.core.modalities import IMAGE, TABLE, TEXT
from forgetmi.core.suggest import did_you_mean

Named = Mapping[str, Tensor]

# What a user's own model may read
READABLE = (IMAGE, TEXT, TABLE)


@dataclass(frozen=True)
class Adapter:
    """How a user's module is run, taken apart, saved and loaded; see `forgetmi.model.adapted.adapt`."""

    modalities: tuple[str, ...]
    forward: Callable[[Any, Batch], Outputs] | None = None
    embeddings: Callable[[Any, Batch], Named] | None = None
    logits: Callable[[Any, Named], Named] | None = None
    joint: Callable[[Any, Named], Tensor] | None = None
    heads: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: str = ""
    public: tuple[str, ...] = ()
    save: Callable[[Any, Path], Any] | None = None
    load: Callable[[Any, Path], Any] | None = None


def adapter_faults(module: nn.Module, adapter: Adapter) -> list[Fault]:
    """What of an adapter does not go together, or is not the module's."""
    return [*_faults_of_functions(adapter), *_faults_of_names(module, adapter)]


def _faults_of_functions(adapter: Adapter) -> list[Fault]:
    """Functions that are missing or contradict each other."""
    faults: list[Fault] = []
    if (adapter.forward is None) == (adapter.embeddings is None):
        do = "Give forward, which returns Outputs, or embeddings with heads or logits."
        faults.append(Fault("either forward or embeddings must be given", where="adapt", do=do))
    if adapter.forward is not None and adapter.logits is not None:
        faults.append(Fault("forward makes the logits, so that logits is not used", where="adapt"))
    if adapter.embeddings is not None and adapter.logits is None and not adapter.heads:
        do = "Name linear heads, or give logits."
        faults.append(Fault("nothing makes predictions of the embeddings", where="adapt", do=do))
    if (adapter.save is None) != (adapter.load is None):
        faults.append(Fault("save and load must be given together, or neither", where="adapt"))
    for modality in adapter.modalities:
        if modality not in READABLE:
            why = f"{', '.join(READABLE)} are possible"
            faults.append(Fault(f"a model of your own cannot read {modality!r}", "adapt", why=why))
    if not adapter.modalities:
        faults.append(Fault("the model reads nothing", where="adapt: modalities"))
    for modality in adapter.stages:
        if modality not in adapter.modalities:
            why = f"the model reads {', '.join(adapter.modalities)}"
            faults.append(Fault(f"{modality!r} is no modality", where="adapt: stages", why=why))
    return faults


def _faults_of_names(module: nn.Module, adapter: Adapter) -> list[Fault]:
    """Names that are not the module's, or name another kind of layer."""
    modules = dict(module.named_modules())
    named: list[tuple[str, str, type[nn.Module]]] = []
    named += [("heads", name, nn.Linear) for name in adapter.heads.values()]
    for stages in adapter.stages.values():
        named += [("stages", name, nn.Module) for name in stages]
    if adapter.words:
        named.append(("words", adapter.words, nn.Embedding))
    named += [("public", name, nn.Module) for name in adapter.public]

    faults: list[Fault] = []
    for where, name, kind in named:
        if name not in modules:
            do = did_you_mean(name, modules)
            faults.append(Fault(f"the module has no {name!r}", where=f"adapt: {where}", do=do))
        elif not isinstance(modules[name], kind):
            why = f"it is {type(modules[name]).__name__}"
            what = f"{name!r} must be {kind.__name__}"
            faults.append(Fault(what, where=f"adapt: {where}", why=why))

    faults += _faults_of_public(modules, adapter)
    if adapter.words and TEXT not in adapter.modalities:
        faults.append(Fault("the model reads no text", where="adapt: words"))
    return faults


def _faults_of_public(modules: Mapping[str, nn.Module], adapter: Adapter) -> list[Fault]:
    """Weights that are said never to have seen a patient, and may be trained on them."""
    faults: list[Fault] = []
    for name in adapter.public:
        moving = [
            weight
            for weight in modules.get(name, nn.Identity()).parameters()
            if weight.requires_grad
        ]
        if moving:
            why = f"{len(moving)} of its tensors may be trained, and then have seen patients"
            do = "Freeze it in the factory: module.requires_grad_(False)."
            faults.append(Fault(f"{name!r} is not frozen", "adapt: public", why=why, do=do))
    return faults
