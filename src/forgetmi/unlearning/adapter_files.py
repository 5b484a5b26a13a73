"""Adapters by themselves, in a folder of their own, and a model with them put back on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from forgetmi.core.carrier import Carrier
from forgetmi.core.errors import CheckpointError, Fault, MethodError, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.net import JOIN, Part
from forgetmi.core.partial_files import replace_folder
from forgetmi.core.serialization import from_plain
from forgetmi.model.checkpoint_weights import read_weights
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.adapters import add_adapters, factors, merge_adapters

FACTS, FACTORS, WHOLE = "adapters.json", "adapters.safetensors", "whole.safetensors"
_BASE = ".base_layer."
_DO = "Copy the folder again, whole."


@dataclass(frozen=True)
class AdapterFacts:
    """What a folder of adapters says of them.

    Args:
        rank, alpha: Of each; see `forgetmi.core.carrier.Carrier`.
        layers: Names of the layers that they stand on.
        base: Digest of all weights that did not move.
        content: Digest of what is stored, the facts above included; empty until then.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]
    base: str
    content: str = ""


@dataclass(frozen=True, eq=False)
class Adapters:
    """Everything that distinguishes an adapted model from the one below.

    Args:
        facts: Of the adapters.
        factors: Both factors of each, by name.
        whole: The tensors that moved whole, by name.
    """

    facts: AdapterFacts
    factors: Mapping[str, Tensor]
    whole: Mapping[str, Tensor]

    def with_joining(self, model: NetModule) -> Adapters:
        """The same with what joins a model's embeddings, which is fitted last."""
        state = model.state_dict()
        names = model.parts().get(JOIN, Part(())).names
        joining = {name: state[name].detach().cpu().clone() for name in names}
        return replace(self, whole={**self.whole, **joining})

    def content(self) -> str:
        """Digest of facts and tensors."""
        facts = self.facts
        digest = hashlib.sha256()
        digest.update(json.dumps([facts.rank, facts.alpha, facts.layers, facts.base]).encode())
        for tensors in (self.factors, self.whole):
            digest.update(_digest(tensors).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write them; an earlier folder of adapters is replaced.

        Raises:
            CheckpointError: The folder holds other files.
        """
        if folder.exists() and {path.name for path in folder.iterdir()} - {FACTS, FACTORS, WHOLE}:
            raise CheckpointError(
                Fault("it holds other files than adapters", folder.name, do="Choose another name.")
            )
        facts = {
            "rank": self.facts.rank,
            "alpha": self.facts.alpha,
            "layers": list(self.facts.layers),
            "base": self.facts.base,
            "content": self.content(),
        }
        contents = {
            FACTS: f"{json.dumps(facts, indent=1, sort_keys=True)}\n".encode(),
            FACTORS: to_bytes(dict(self.factors)),
            WHOLE: to_bytes(dict(self.whole)),
        }
        replace_folder(folder, contents)


def adapters_of(net: NetModule, carrier: Carrier, *, whole: Collection[str]) -> Adapters:
    """The adapters of a model that still stand beside its weights.

    Args:
        net: The model.
        carrier: Theirs.
        whole: Tensors that moved whole.
    """
    state = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
    pairs = {name: state[name] for name in factors(net)}
    layers = tuple(dict.fromkeys(name.partition(".lora_")[0] for name in pairs))
    facts = AdapterFacts(carrier.rank, float(carrier.alpha), layers, base_digest(net, whole))
    return Adapters(facts, pairs, {name: state[name] for name in sorted(whole)})


def base_digest(net: NetModule, whole: Collection[str]) -> str:
    """Digest of the weights that neither moved whole nor join embeddings; the same with and without adapters."""
    joining = net.parts().get(JOIN, Part(())).names
    own = set(factors(net))
    found: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        if name not in own and name not in whole and name not in joining:
            found[name.replace(_BASE, ".")] = value
    return _digest(found)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Digest of named tensors, whatever their order."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def with_adapters(model: NetModule, folder: Path) -> NetModule:
    """A model with stored adapters merged into a copy of it.

    Use it to get an unlearned model from the one that the adapters were made for and their folder, which
    ``--carrier-keep`` writes. The model below still is what it was: where it has seen the forgotten patients, whoever
    has it without the adapters has a model that remembers them.

    Args:
        model: The original; after a method that starts afresh, a new model with the same public weights.
        folder: The adapters.

    Raises:
        CheckpointError: The folder cannot be read, is damaged, or was made for another model.

    Examples:
        >>> with_adapters(torch.nn.Identity(), Path("none"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        forgetmi.core.errors.CheckpointError: none/adapters.json: the adapters cannot be read ...
    """
    adapters = read_adapters(folder)
    where = folder.name
    state = model.state_dict()

    # Everything must be there, in its shape, before a copy is made
    wrong = [name for name in adapters.whole if name not in state]
    wrong += [
        name
        for name, value in adapters.whole.items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong or base_digest(model, adapters.whole) != adapters.facts.base:
        raise CheckpointError(
            Fault(
                "the adapters were made for another model",
                where=where,
                why="the weights below them are not the same",
                do="Give the model that they were made for.",
            )
        )

    adapted = copy.deepcopy(model)
    carrier = Carrier(
        "lora",
        rank=adapters.facts.rank,
        alpha=adapters.facts.alpha,
        targets=adapters.facts.layers,
    )
    try:
        add_adapters(adapted, carrier, but=adapters.whole, seed=0)
    except MethodError as error:
        raise CheckpointError(error.faults) from None
    own = factors(adapted)
    fits = {name: value.shape for name, value in own.items()}
    if fits != {name: value.shape for name, value in adapters.factors.items()}:
        raise CheckpointError(Fault("the adapters do not fit the layers", where=where, do=_DO))

    adapted.load_state_dict({**adapters.factors, **adapters.whole}, strict=False)
    merge_adapters(adapted)
    for weight, other in zip(adapted.parameters(), model.parameters(), strict=True):
        weight.requires_grad_(other.requires_grad)
    return adapted


def read_adapters(folder: Path) -> Adapters:
    """The adapters of a folder.

    Raises:
        CheckpointError: It cannot be read, or is damaged.
    """
    where = f"{folder.name}/{FACTS}"
    values = read_json(
        folder / FACTS, what="the adapters", do=_DO, error=CheckpointError, where=where
    )
    try:
        facts = from_plain(AdapterFacts, values, where=where, complete=True)
        Carrier("lora", rank=facts.rank, alpha=facts.alpha, targets=facts.layers)
    except SpecError as error:
        raise CheckpointError(error.faults) from None

    # Both files, and all faults of either
    tensors: list[dict[str, Tensor]] = []
    faults: list[Fault] = []
    for name in (FACTORS, WHOLE):
        found, damage = read_weights(folder / name)
        faults += damage
        tensors.append(found or {})
    if faults:
        raise CheckpointError(faults)

    # A flipped bit is another model
    adapters = Adapters(facts, tensors[0], tensors[1])
    if adapters.content() != facts.content:
        raise CheckpointError(Fault("the adapters are damaged", where=where, do=_DO))
    return adapters
