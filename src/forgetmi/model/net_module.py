"""The abstract model: what every module that methods can take apart has, and what is made of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.modalities import IMAGE
from forgetmi.core.net import HEAD, JOIN, TOWER, Part
from forgetmi.model.execution import Execution


class NetModule(nn.Module, ABC):
    """A torch module that is a `forgetmi.core.net.Net`.

    A class that inherits it says what its parts are; it sets ``execution`` and nothing else is shared.
    """

    execution: Execution

    # Whether it computes a batch in parts, one a process, where that is asked for; others compute it whole
    divides: ClassVar[bool] = False

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    @abstractmethod
    def spec(self) -> Any:
        """What it was built from; `spec.classes` is the width of its logits."""

    @property
    @abstractmethod
    def modalities(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def heads(self) -> Mapping[str, nn.Linear]: ...

    @property
    @abstractmethod
    def logit_names(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def embedding_widths(self) -> Mapping[str, int]: ...

    @property
    @abstractmethod
    def joining(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def joins(self) -> bool: ...

    @property
    @abstractmethod
    def words(self) -> str: ...

    @abstractmethod
    def parts(self) -> Mapping[str, Part]: ...

    @abstractmethod
    def stages(self, modality: str) -> tuple[str, ...]: ...

    @abstractmethod
    def embed(self, batch: Batch, modality: str) -> Tensor: ...

    @abstractmethod
    def joined(self, embeddings: Mapping[str, Tensor]) -> Tensor: ...

    @abstractmethod
    def start_afresh(self, *, seed: int, names: Iterable[str]) -> None:
        """Give modules, by their names, the weights and buffers that a new model of that seed has, in place."""

    @abstractmethod
    def forward(self, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs: ...


def net_modules(model: nn.Module) -> list[NetModule]:
    """The models that a model consists of; itself, if it is one."""
    return [module for module in model.modules() if isinstance(module, NetModule)]


def free_but_joining(net: NetModule) -> None:
    """Freeze what joins the embeddings: it is fitted anew after every unlearning, so that it stays as it is."""
    for name in net.joining:
        net.get_submodule(name).requires_grad_(False)


def branches(net: NetModule) -> dict[str, tuple[str, ...]]:
    """Names of the parameters that a training moves, by modality: a tower and its head; shared ones under "rest".

    What joins the embeddings is in none. Names are in the model's own order.
    """
    branch_of: dict[str, str] = {}
    for part, content in net.parts().items():
        branch = part.removeprefix(TOWER).removeprefix(HEAD)

        # A head that reads several modalities belongs to no tower
        if branch not in (*net.modalities, JOIN):
            branch = "rest"
        branch_of.update(dict.fromkeys(content.names, branch))

    found: dict[str, list[str]] = {modality: [] for modality in (*net.modalities, "rest")}
    for name, _ in net.named_parameters():
        if branch_of[name] != JOIN:
            found[branch_of[name]].append(name)
    return {branch: tuple(names) for branch, names in found.items() if names}


def towers_alone(net: NetModule) -> dict[str, tuple[str, ...]]:
    """The same without the heads' parameters."""
    of_heads: set[str] = set()
    for part, content in net.parts().items():
        if part.startswith(HEAD):
            of_heads.update(content.names)

    found: dict[str, tuple[str, ...]] = {}
    for branch, names in branches(net).items():
        left = tuple(name for name in names if name not in of_heads)
        if left:
            found[branch] = left
    return found


def depth_order(net: NetModule) -> dict[str, tuple[str, ...]]:
    """Names of the modules that own parameters, from input to output, for methods that touch the last k layers.

    Returns:
        For each modality: convolutions, linear layers and embeddings with the norm layers that lie between them, by
        forward depth (a block's shortcut after its second convolution), and its head.
    """
    # Modules are registered in the order of the forward pass
    order: dict[str, tuple[str, ...]] = {}
    for modality in net.modalities:
        names: list[str] = []
        for stage in net.stages(modality):
            for name, module in net.get_submodule(stage).named_modules(prefix=stage):
                if next(module.parameters(recurse=False), None) is not None:
                    names.append(name)
        order[modality] = tuple(names)
    return order


def convolutions(net: NetModule) -> tuple[str, ...]:
    """Names of all convolutions of the image tower, from input to output."""
    found: list[str] = []
    for name in depth_order(net).get(IMAGE, ()):
        if isinstance(net.get_submodule(name), nn.Conv2d):
            found.append(name)
    return tuple(found)


def is_image(modality: str) -> bool:
    """Whether a method's options for images are meant, and not those for texts and all else."""
    return modality == IMAGE
