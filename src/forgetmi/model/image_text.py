"""The image+report classifier: two encoders with a head each, and the gate that joins them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core import distributed
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.collectives import averaging_gradients, gather_rows, scatter_rows
from forgetmi.core.missing import without_absent, zero_where_absent
from forgetmi.core.modalities import IMAGE, JOINT, TEXT
from forgetmi.core.net import HEAD, JOIN, TOWER, Part
from forgetmi.core.seeding import scope
from forgetmi.model.batch_norm_rows import of_those_there
from forgetmi.model.compiling import compiled
from forgetmi.model.execution import Execution
from forgetmi.model.gate import MultimodalAdaptationGate
from forgetmi.model.initial_weights import initialise
from forgetmi.model.net_module import NetModule
from forgetmi.model.spec import ModelSpec
from forgetmi.model.towers.todays import image_tower, text_tower

# The encoder of each modality, its classifier, and what joins the embeddings
ENCODERS = {IMAGE: "img_model", TEXT: "text_model"}
HEADS = {IMAGE: "img_model.fc1", TEXT: "text_model.classifier"}
GATE = "gate"

# What brings the text embedding to the width of the image embedding
PROJECTION = "text_model.projection"


class ImageText(NetModule):
    """Maps a batch of images and reports to embeddings and logits of both heads; make one with `build`.

    Constructing one leaves the global random generators as they were; its weights mean nothing until `initialise` or a
    checkpoint fills them.

    Args:
        spec: Architecture.
    """

    divides: ClassVar[bool] = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self._spec = spec
        self.execution = Execution()

        # Layers draw random weights when they are made.
        with scope(0, "construct"), warnings.catch_warnings():
            # A classifier of nothing, where there is nothing to predict
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            self.text_model = text_tower(spec.text, width=spec.image.features, classes=spec.classes)
            self.img_model = image_tower(spec.image, classes=spec.classes)
            self.gate = MultimodalAdaptationGate(spec.image.features)

    @property
    def spec(self) -> ModelSpec:
        """Its architecture."""
        return self._spec

    @property
    def modalities(self) -> tuple[str, ...]:
        """Image, then text."""
        return tuple(ENCODERS)

    @property
    def heads(self) -> dict[str, nn.Linear]:
        """The classifier of each encoder, image before text; none where nothing is predicted."""
        found: dict[str, nn.Linear] = {}
        for head, root in self._heads.items():
            layer = self.get_submodule(root)
            assert isinstance(layer, nn.Linear)
            found[head] = layer
        return found

    @property
    def logit_names(self) -> tuple[str, ...]:
        """Image, then text; none where nothing is predicted."""
        return tuple(self._heads)

    @property
    def embedding_widths(self) -> dict[str, int]:
        """Image, text, joint, all as wide as the image encoder's."""
        return dict.fromkeys((*HEADS, JOINT), self.spec.image.features)

    @property
    def joining(self) -> tuple[str, ...]:
        """The gate."""
        return (GATE,)

    @property
    def joins(self) -> bool:
        """By the gate."""
        return True

    @property
    def words(self) -> str:
        """BERT's table of word embeddings."""
        return "text_model.bert.embeddings.word_embeddings"

    def parts(self) -> dict[str, Part]:
        """Both towers, both heads and the gate."""
        names: dict[str, list[str]] = {}
        for tensor in self.state_dict():
            names.setdefault(_part_of(tensor), []).append(tensor)
        return {part: Part(tuple(found), fresh=self._fresh) for part, found in names.items()}

    def stages(self, modality: str) -> tuple[str, ...]:
        """An encoder's children from input to output, its head last; the layers of BERT one by one."""
        root = ENCODERS[modality]
        if modality == IMAGE:
            stages = [f"{root}.{name}" for name, _ in self.img_model.named_children()]
            return tuple(name for name in stages if self._heads or name != HEADS[IMAGE])

        layers = [f"bert.encoder.layer.{number}" for number in range(self.spec.text.layers)]
        inner = ("bert.embeddings", *layers, "bert.pooler", "projection", "classifier")
        return tuple(f"{root}.{name}" for name in inner if self._heads or name != "classifier")

    @property
    def _heads(self) -> dict[str, str]:
        return HEADS if self.spec.classes else {}

    def steps(self, modality: str) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each of an encoder's steps, which `encode` can stop between."""
        encoder = self.img_model if modality == IMAGE else self.text_model
        return encoder.steps()

    def encode(self, batch: Batch, modality: str, *, stop: int) -> Tensor:
        """Outputs of an encoder's first steps for a batch."""
        if modality == IMAGE:
            return self.img_model.encode(batch.image, stop=stop)
        return self.text_model.encode(batch.tokens, batch.mask, stop=stop)

    def embed(self, batch: Batch, modality: str) -> Tensor:
        """The pixels, or the tokens' word embeddings."""
        if modality == IMAGE:
            return batch.image
        return self.text_model.embed(batch.tokens)

    def joined(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """What the gate makes of an image and a text embedding."""
        return self.gate(embeddings[IMAGE], embeddings[TEXT])

    def start_afresh(self, *, seed: int, names: Iterable[str]) -> None:
        """See `forgetmi.model.initial_weights.initialise`."""
        initialise(self, seed=seed, names=names)

    def _fresh(self, seed: int) -> dict[str, Tensor]:
        model = ImageText(self.spec)
        initialise(model, seed=seed)
        return model.state_dict()

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
        parts = self.execution.micro_batches if alone else distributed.world_size()
        if not 1 < parts <= len(batch) or (alone and self.training):
            how = self.execution.compile if alone else "off"
            image, text = compiled(self.img_model, how), compiled(self.text_model, how)
            return self._join(image, text, self.gate, batch, text_inputs)

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
            outputs = self._join(image, text, gate, own, inputs, whole=batch)

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
        whole: Batch | None = None,
    ) -> Outputs:
        """Both encoders' embeddings and logits, joined by the gate; `whole` is what other processes have parts of."""
        prefixes = self.execution.prefixes
        recompute = self.execution.recompute

        # Each encoder starts from the outputs of its first steps, where these were cached.
        pixels, start = batch.image, 0
        if "image" in prefixes:
            pixels, start = prefixes["image"].of(batch)
        run = partial(image_encoder, start=start, recompute=recompute)
        image, image_logits = of_those_there(
            run, pixels, batch, IMAGE, module=self.img_model, whole=whole
        )

        tokens, start = batch.tokens, 0
        if "text" in prefixes:
            tokens, start = prefixes["text"].of(batch)
        text, text_logits = text_encoder(
            tokens, batch.mask, inputs=text_inputs, start=start, recompute=recompute
        )

        # Nothing is joined of what a sample lacks
        image = zero_where_absent(image, batch, IMAGE)
        text = zero_where_absent(text, batch, TEXT)
        outputs = Outputs.image_text(image_logits, text_logits, image, text, gate(image, text))
        outputs = without_absent(outputs, batch)
        return outputs if self._heads else Outputs({}, outputs.embedding)


def _part_of(tensor: str) -> str:
    """The part that a tensor of an `ImageText` belongs to."""
    head = head_of(tensor)
    if head:
        return f"{HEAD}{head}"
    for modality, root in ENCODERS.items():
        if tensor.startswith(f"{root}."):
            return f"{TOWER}{modality}"
    return JOIN


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
