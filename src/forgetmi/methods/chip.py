"""CHIP: remove from neurons' weights the directions in which the forgotten stand out; no training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.modalities import TEXT
from forgetmi.core.net import Need
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.projection import directions, project, select


@dataclass(frozen=True)
class CHIP:
    """In each chosen layer, remove from the most forget-specific neurons the directions that tell the patients apart.

    Use it as the cheapest method that reads both sets: forward passes only. It shifts mean activations; what a model
    memorised in other layers stays.

    Args:
        share: Share of a layer's output neurons that is selected, above 0 to 1.
        variance: Share of the directions' variance that is removed, above 0 to 1.
        layers: Layers a branch that are changed, counted from its output, >= 1: residual blocks' last convolutions of
            the image encoder, feed-forward outputs of the text encoder (its pooler is the first).
        siblings: Retained images drawn for each forgotten one, >= 1; at most all of them.

    Source: Wu et al. 2025 (arXiv 2512.09867), repository fengli-wu/MedForget (``chip/chip.py``; 10 % of the neurons,
    95 % of the variance). Deviations: 40 % and 90 %, tuned (docs/tuning.md); a patient's siblings are a seeded sample
    of the other patients' images; image and text have layers of their own, so that no weight between their activations
    is needed; convolutions are averaged over the map and texts over their own tokens; the gate is left out, since it is
    fitted anew after every unlearning. As there, biases and the norm layers that follow are not projected.

    Examples:
        >>> method = CHIP(layers=1)
        >>> method.layers, method.info.exact
        (1, False)
        >>> sorted(method.info.reads)
        ['forget', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="CHIP",
        paper="Wu et al., 2025, arXiv 2512.09867",
        summary="The neurons that react most to the forgotten patients are kept from reacting to what sets them "
        "apart; nothing is trained.",
        reads=frozenset({"forget", "retain"}),
        exact=False,
        cost="(1 + siblings) / 3 x |forget| / |retain|, once",
        suits="comparisons; a first step where nothing can be trained",
        search={"share": (0.05, 0.1, 0.2, 0.4), "variance": (0.9, 0.95, 0.99), "layers": (1, 2)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"stages"})
    moves: ClassVar[Moves] = "closed form"

    share: float = 0.4
    variance: float = 0.9
    layers: int = 2
    siblings: int = 3

    def __post_init__(self) -> None:
        shares_fit = 0 < self.share <= 1 and 0 < self.variance <= 1
        counts_fit = self.layers >= 1 and self.siblings >= 1
        if not (shares_fit and counts_fit):
            raise MethodError(
                Fault(
                    "share and variance must be in (0, 1], layers and siblings at least 1",
                    where="chip",
                )
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model).eval()
        forget, retain = loaders.forget, loaders.retain
        patients = torch.from_numpy(forget.patients(forget.rows))

        # Activations of the forgotten and of their siblings, a sample of the retained.
        count = min(len(retain.rows), self.siblings * len(forget.rows))
        sibling_rows = retain.random(0, count)
        layers = targets(student, self.layers)
        forget_activations = activations(student, layers, forget.batches(forget.rows))
        retain_activations = activations(student, layers, retain.batches(sibling_rows))

        # A layer of one modality's tower says nothing of samples without it.
        reads = _modalities(student, layers)
        forget_present, retain_present = forget.present(forget.rows), retain.present(sibling_rows)
        for name, layer in layers.items():
            forgotten, siblings = forget_activations[name], retain_activations[name]
            owner = patients
            if reads[name] in forget_present:
                there = forget_present[reads[name]].cpu()
                forgotten, owner = forgotten[there], patients[there]
                siblings = siblings[retain_present[reads[name]].cpu()]
            if not (len(forgotten) and len(siblings)):
                context.facts[name] = {"neurons": 0, "directions removed": 0}
                continue
            neurons = select(forgotten, siblings, share=self.share)

            # How far each patient's mean is from the siblings', in the selected neurons.
            sibling_mean = siblings[:, neurons].mean(dim=0)
            differences: list[Tensor] = []
            for patient in owner.unique():
                patient_mean = forgotten[owner == patient][:, neurons].mean(dim=0)
                differences.append(patient_mean - sibling_mean)

            basis = directions(torch.stack(differences), variance=self.variance)
            project(layer.weight, neurons, basis)
            context.facts[name] = {"neurons": len(neurons), "directions removed": basis.shape[1]}
        return student


def targets(model: NetModule, layers: int) -> dict[str, nn.Module]:
    """The layers that are changed, by name: the last of each of the stages nearest the output, its head excepted.

    The last layer of a stage is its last convolution on the main path (not a shortcut's), or its last linear layer. Of
    the package's own model: residual blocks' second convolutions, feed-forward outputs and BERT's pooler.
    """
    if isinstance(model, ImageText):
        return {name: model.get_submodule(name) for name in _own_targets(model, layers)}

    heads = set(model.heads.values())
    found: dict[str, nn.Module] = {}
    for modality in model.modalities:
        names = [_last_layer(model, block, heads) for block in _blocks(model, modality)]
        for name in [name for name in names if name][-layers:]:
            found[name] = model.get_submodule(name)
    return found


def _own_targets(model: ImageText, layers: int) -> list[str]:
    """Of the package's own model."""
    # Each residual block ends with its second convolution.
    image = [name for name, _ in model.img_model.named_modules() if name.endswith(".conv2")]
    text = [f"encoder.layer.{number}.output.dense" for number in range(model.spec.text.layers)]
    text.append("pooler.dense")

    # The layers nearest the output come last.
    names = [f"img_model.{name}" for name in image[-layers:]]
    return names + [f"text_model.bert.{name}" for name in text[-layers:]]


def _blocks(model: NetModule, modality: str) -> Iterator[str]:
    """The stages of a branch; of a stage that is a sequence, its members, which are the blocks of a network."""
    for stage in model.stages(modality):
        module = model.get_submodule(stage)
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for number, _ in module.named_children():
                yield f"{stage}.{number}"
        else:
            yield stage


def _last_layer(model: NetModule, block: str, heads: set[nn.Linear]) -> str:
    """Name of the last layer of a block; empty = it has none, or it is a stem or a head."""
    last = ""
    for name, module in model.get_submodule(block).named_modules(prefix=block):
        shortcut = "downsample" in name or "shortcut" in name
        if isinstance(module, nn.Conv2d | nn.Linear) and not shortcut and module not in heads:
            last = name
    return last


@torch.no_grad()
def activations(
    model: NetModule, layers: Mapping[str, nn.Module], batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Output of each layer for each sample, averaged over places of the image or tokens of the text.

    Of the text's last layer only [CLS], the token its output is made of, is there.

    Args:
        model: In eval mode.
        layers: Layers of it, by name.
        batches: The samples.

    Returns:
        For each layer, Float[n, neurons].

    Raises:
        MethodError: A layer takes no part in the model's forward pass.
    """
    pooled: dict[str, list[Tensor]] = {name: [] for name in layers}
    texts = _of_texts(model)
    for batch in batches:
        with _outputs(layers) as outputs:
            _run(model, batch)
        if len(outputs) < len(layers):
            raise MethodError(
                Fault(
                    "a layer takes no part in the model's forward pass",
                    why="CHIP reads what each stage's last layer puts out",
                    do="Name stages that the forward pass calls.",
                )
            )
        for name, value in outputs.items():
            mask = batch.mask if name.startswith(texts) else None
            pooled[name].append(_pooled(value, mask).float().cpu())
    return {name: torch.cat(values) for name, values in pooled.items()}


def _run(model: NetModule, batch: Batch) -> None:
    """The whole forward pass, by this process alone: every process needs all samples."""
    if isinstance(model, ImageText):
        model.img_model(batch.image)
        model.text_model(batch.tokens, batch.mask)
    else:
        model(batch)


def _modalities(model: NetModule, layers: Iterable[str]) -> dict[str, str]:
    """The modality whose tower each layer belongs to."""
    found: dict[str, str] = {}
    for name in layers:
        for modality in model.modalities:
            if any(
                name.startswith(f"{stage}.") or name == stage for stage in model.stages(modality)
            ):
                found[name] = modality
    return found


def _of_texts(model: NetModule) -> tuple[str, ...]:
    """Beginnings of the names of the layers that read texts."""
    return tuple(f"{stage}." for stage in model.stages(TEXT)) if TEXT in model.modalities else ()


@contextmanager
def _outputs(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """For a block, the last output of each layer, by name."""
    outputs: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            outputs[name] = output.detach().clone()

        return keep

    handles = [layer.register_forward_hook(keeper(name)) for name, layer in layers.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _pooled(value: Tensor, mask: Tensor | None) -> Tensor:
    """Float[b, c, h, w], Float[b, l, c] or Float[b, c] to Float[b, c]; the mask is that of texts."""
    # Images: the mean over the map.
    if value.ndim == 4:
        return value.mean(dim=(2, 3))

    # Texts: the mean over their own tokens.
    if value.ndim == 3 and mask is not None:
        weight = mask[:, :, None].to(value)
        return (value * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

    # Patches of an image, or steps of a series: the mean over all of them.
    if value.ndim == 3:
        return value.mean(dim=1)
    return value
