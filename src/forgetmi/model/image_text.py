"""The image+report classifier: two encoders with a head each, and the gate that joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core import distributed
from forgetmi.core.seeding import scope
from forgetmi.core.types import Batch, Outputs
from forgetmi.model.gate import MultimodalAdaptationGate
from forgetmi.model.image_resnet import ImageResNet
from forgetmi.model.prefix import Prefix
from forgetmi.model.spec import ModelSpec
from forgetmi.model.text_encoder import TextEncoder

BRANCHES = {"image": "img_model", "text": "text_model", "joint": "gate"}


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
        with scope(0, "construct"):
            self.text_model = TextEncoder(
                spec.text, width=spec.image.features, classes=spec.classes
            )
            self.img_model = ImageResNet(spec.image, spec.classes)
            self.gate = MultimodalAdaptationGate(spec.image.features)
        self.known: Mapping[str, Prefix] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.img_model.fc1.weight.device

    def forward(self, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs:
        """Run both encoders and the gate; several processes share the batch, and each gets all outputs.

        One process in eval mode computes the shares that are asked of it one after the other; see
        `forgetmi.core.distributed.in_micro_batches`.

        An encoder ("image", "text") named in ``known`` starts from the outputs held there, for the rows held there.

        Args:
            batch: Samples, on the model's device.
            text_inputs: Float[b, l, hidden] word embeddings in place of the tokens' own (``text_model.embed``), for
                methods that disturb or differentiate the input of the text encoder.
        """
        shares, alone = distributed.shares(), distributed.count() == 1
        if not 1 < shares <= len(batch) or (alone and self.training):
            return _join(self.img_model, self.text_model, self.gate, batch, text_inputs, self.known)
        return (
            self._in_turn(batch, text_inputs, shares)
            if alone
            else self._together(batch, text_inputs)
        )

    def _in_turn(self, batch: Batch, text_inputs: Tensor | None, shares: int) -> Outputs:
        """All shares of a batch, by one process."""
        # As among processes, the shares' gradients are added up before they meet those of other passes.
        image, text, gate = distributed.averaged(self.img_model, self.text_model, self.gate)
        parts = []
        for number in range(shares):
            own = distributed.share(len(batch), number=number, of=shares)
            parts.append(
                _join(
                    image,
                    text,
                    gate,
                    _rows(batch, own),
                    None if text_inputs is None else text_inputs[own],
                    self.known,
                )
            )
        return Outputs(
            *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Outputs))
        )

    def _together(self, batch: Batch, text_inputs: Tensor | None) -> Outputs:
        """This process's share of a batch, and the others' from them."""
        mine = _rows(batch, distributed.share(len(batch)))
        image, text, gate = distributed.averaged(self.img_model, self.text_model, self.gate)
        with distributed.own_dropout(self.training):
            inputs = None if text_inputs is None else distributed.part(text_inputs)
            outputs = _join(image, text, gate, mine, inputs, self.known)
        return Outputs(
            *distributed.whole([getattr(outputs, f.name) for f in fields(Outputs)], len(batch))
        )


def _rows(batch: Batch, rows: slice) -> Batch:
    return Batch(**{f.name: getattr(batch, f.name)[rows] for f in fields(Batch)})


def _join(
    image_branch: Callable[..., Any],
    text_branch: Callable[..., Any],
    gate: Callable[..., Any],
    batch: Batch,
    text_inputs: Tensor | None,
    known: Mapping[str, Prefix],
) -> Outputs:
    pixels, first = known["image"].of(batch) if "image" in known else (batch.image, 0)
    image, image_logits = image_branch(pixels, start=first)
    tokens, first = known["text"].of(batch) if "text" in known else (batch.tokens, 0)
    text, text_logits = text_branch(tokens, batch.mask, inputs=text_inputs, start=first)
    return Outputs(image_logits, text_logits, image, text, gate(image, text))


def recompute_activations(model: ImageText, on: bool) -> None:
    """Choose between keeping activations for the way back and computing them again, which saves memory."""
    model.text_model.recompute = model.img_model.recompute = on


def depth_order(model: ImageText) -> dict[str, tuple[str, ...]]:
    """Names of the modules that own parameters, from input to output, for methods that touch the last k layers.

    Args:
        model: Any model of this class.

    Returns:
        For each of "image", "text" and "joint": convolutions, linear layers and embeddings with the norm layers that
        lie between them, by forward depth (a block's shortcut after its second convolution).
    """
    return {
        branch: tuple(
            f"{root}.{name}"
            for name, module in model.get_submodule(root).named_modules()
            if any(True for _ in module.parameters(recurse=False))
        )
        for branch, root in BRANCHES.items()
    }


def parameter_digest(model: nn.Module) -> str:
    """SHA-256, in hex, over the sorted names, types, shapes and bytes of all weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
