"""The image+report classifier: two encoders with a head each, and the gate that joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core import distributed
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.collectives import averaging_gradients, gather_rows, scatter_rows
from forgetmi.core.seeding import scope
from forgetmi.model.execution import Execution
from forgetmi.model.gate import MultimodalAdaptationGate
from forgetmi.model.spec import ModelSpec
from forgetmi.model.towers import image_tower, text_tower

BRANCHES = {"image": "img_model", "text": "text_model", "joint": "gate"}

# The classifier of each encoder
HEADS = {"image": "img_model.fc1", "text": "text_model.classifier"}


class ImageText(nn.Module):
    """Maps a batch of images and reports to embeddings and logits of both heads; make one with `build`.

    Constructing one leaves the global random generators as they were; its weights mean nothing until `initialise` or a
    checkpoint fills them.

    Args:
        spec: Architecture.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.execution = Execution()

        # Layers draw random weights when they are made.
        with scope(0, "construct"):
            self.text_model = text_tower(spec.text, width=spec.image.features, classes=spec.classes)
            self.img_model = image_tower(spec.image, classes=spec.classes)
            self.gate = MultimodalAdaptationGate(spec.image.features)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.img_model.fc1.weight.device

    @property
    def heads(self) -> dict[str, nn.Linear]:
        """The classifier of each encoder, image before text."""
        found: dict[str, nn.Linear] = {}
        for head, root in HEADS.items():
            layer = self.get_submodule(root)
            assert isinstance(layer, nn.Linear)
            found[head] = layer
        return found

    def forward(self, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs:
        """Run both encoders and the gate; of several processes each computes a part, and all get all outputs.

        How it computes is set in ``execution``; see `forgetmi.model.execution.Execution`.

        Args:
            batch: Samples, on the model's device.
            text_inputs: Float[b, l, hidden] word embeddings in place of the tokens' own (``text_model.embed``), for
                methods that disturb or differentiate the input of the text encoder.
        """
        alone = distributed.world_size() == 1

        # Batch statistics and dropout are those of the whole batch, so one process does not divide a training batch.
        parts = micro_batches(self)
        if not 1 < parts <= len(batch) or (alone and self.training):
            return self._join(self.img_model, self.text_model, self.gate, batch, text_inputs)

        if alone:
            return self._one_after_another(batch, text_inputs, parts)
        return self._one_each(batch, text_inputs)

    def _one_after_another(self, batch: Batch, text_inputs: Tensor | None, parts: int) -> Outputs:
        """All micro-batches of a batch, by one process."""
        # As among processes, their gradients are added up before they meet those of other passes.
        image, text, gate = averaging_gradients(self.img_model, self.text_model, self.gate)

        outputs = []
        for number in range(parts):
            rows = distributed.micro_batch(len(batch), number, of=parts)
            inputs = None
            if text_inputs is not None:
                inputs = text_inputs[rows]
            outputs.append(self._join(image, text, gate, batch.select(rows), inputs))

        # The rows of all parts, in the batch's order.
        joined: dict[str, Tensor] = {}
        for name in outputs[0].named():
            joined[name] = torch.cat([part.named()[name] for part in outputs])
        return Outputs.from_named(joined)

    def _one_each(self, batch: Batch, text_inputs: Tensor | None) -> Outputs:
        """This process's part of a batch, and the others' from them."""
        own = batch.select(distributed.shard(len(batch)))
        image, text, gate = averaging_gradients(self.img_model, self.text_model, self.gate)

        # Each process draws dropout for its own samples.
        with distributed.per_process_dropout(self.training):
            inputs = None
            if text_inputs is not None:
                inputs = scatter_rows(text_inputs)
            outputs = self._join(image, text, gate, own, inputs)

        # One message carries all outputs to all processes.
        parts = outputs.named()
        gathered = gather_rows(list(parts.values()), len(batch))
        return Outputs.from_named(dict(zip(parts, gathered, strict=True)))

    def _join(
        self,
        image_encoder: Callable[..., Any],
        text_encoder: Callable[..., Any],
        gate: Callable[..., Any],
        batch: Batch,
        text_inputs: Tensor | None,
    ) -> Outputs:
        """Both encoders' embeddings and logits, joined by the gate."""
        prefixes = self.execution.prefixes
        recompute = self.execution.recompute

        # Each encoder starts from the outputs of its first steps, where these were cached.
        pixels, start = batch.image, 0
        if "image" in prefixes:
            pixels, start = prefixes["image"].of(batch)
        image, image_logits = image_encoder(pixels, start=start, recompute=recompute)

        tokens, start = batch.tokens, 0
        if "text" in prefixes:
            tokens, start = prefixes["text"].of(batch)
        text, text_logits = text_encoder(
            tokens, batch.mask, inputs=text_inputs, start=start, recompute=recompute
        )

        return Outputs.image_text(image_logits, text_logits, image, text, gate(image, text))


@contextmanager
def executing(model: nn.Module, **changes: Any) -> Iterator[None]:
    """Change how a model computes for a block. Copies made in the block stay as they were made.

    Args:
        model: An `ImageText`, or one that consists of them.
        changes: Fields of `Execution`.
    """
    # An ensemble's members may differ, so each gets its own back.
    members = image_text_models(model)
    before = [member.execution for member in members]
    for member in members:
        member.execution = replace(member.execution, **changes)

    try:
        yield
    finally:
        for member, execution in zip(members, before, strict=True):
            member.execution = execution


@contextmanager
def in_micro_batches(model: nn.Module, number: int) -> Iterator[None]:
    """Let one process compute each batch, in a block, in the parts that several processes would take.

    What differs between one process and several is the rounding of smaller batches, which a long unlearning enlarges.
    With the same micro-batches that is gone: after two of them in one process and one in each of two processes there
    are the same bits, on the same kind of processor and threads, if neither was interrupted under another number. More
    than two gradients may be added in another order. Batches in training mode are computed whole, because their
    statistics and dropout are.

    Args:
        model: An `ImageText`, or one that consists of them. Copies made in the block stay divided.
        number: Number of micro-batches, >= 1; several processes compute one each.

    Raises:
        SpecError: Less than 1, or another number than that of the processes.
    """
    distributed.check_micro_batches(number)
    with executing(model, micro_batches=number):
        yield


def micro_batches(model: nn.Module) -> int:
    """In how many micro-batches a model computes a batch: one a process, or as many as are set for one process."""
    # Several processes always compute one part each.
    if distributed.world_size() > 1:
        return distributed.world_size()

    return max((member.execution.micro_batches for member in image_text_models(model)), default=1)


def image_text_models(model: nn.Module) -> list[ImageText]:
    """The image+report classifiers that a model consists of; itself, if it is one."""
    return [module for module in model.modules() if isinstance(module, ImageText)]


def depth_order(model: ImageText) -> dict[str, tuple[str, ...]]:
    """Names of the modules that own parameters, from input to output, for methods that touch the last k layers.

    Args:
        model: Any model of this class.

    Returns:
        For each of "image", "text" and "joint": convolutions, linear layers and embeddings with the norm layers that
        lie between them, by forward depth (a block's shortcut after its second convolution).
    """
    # Modules are registered in the order of the forward pass.
    order = {}
    for branch, root in BRANCHES.items():
        names = []
        for name, module in model.get_submodule(root).named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                names.append(f"{root}.{name}")
        order[branch] = tuple(names)
    return order


def head_of(tensor: str) -> str:
    """The head that a tensor of a model is part of, by the tensor's name: "image", "text", or "" = none."""
    # In an ensemble the names of its models come before
    for head, root in HEADS.items():
        if f".{root}." in f".{tensor}":
            return head
    return ""


def parameter_digest(model: nn.Module) -> str:
    """SHA-256, in hex, over the sorted names, types, shapes and bytes of all weights and buffers."""
    # Types and shapes belong to it: the same bytes may be other weights.
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
