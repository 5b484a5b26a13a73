"""CHIP: remove from neurons' weights the directions in which the forgotten stand out; no training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
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

    def apply(self, model: ImageText, loaders: GuardedLoaders, context: Context) -> ImageText:
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

        for name, layer in layers.items():
            forgotten, siblings = forget_activations[name], retain_activations[name]
            neurons = select(forgotten, siblings, share=self.share)

            # How far each patient's mean is from the siblings', in the selected neurons.
            sibling_mean = siblings[:, neurons].mean(dim=0)
            differences: list[Tensor] = []
            for patient in patients.unique():
                patient_mean = forgotten[patients == patient][:, neurons].mean(dim=0)
                differences.append(patient_mean - sibling_mean)

            basis = directions(torch.stack(differences), variance=self.variance)
            project(layer.weight, neurons, basis)
            context.facts[name] = {"neurons": len(neurons), "directions removed": basis.shape[1]}
        return student


def targets(model: ImageText, layers: int) -> dict[str, nn.Module]:
    """The layers that are changed, by name: those nearest the output of each branch."""
    # Each residual block ends with its second convolution.
    image = [name for name, _ in model.img_model.named_modules() if name.endswith(".conv2")]
    text = [f"encoder.layer.{number}.output.dense" for number in range(model.spec.text.layers)]
    text.append("pooler.dense")

    # The layers nearest the output come last.
    names = [f"img_model.{name}" for name in image[-layers:]]
    names += [f"text_model.bert.{name}" for name in text[-layers:]]
    return {name: model.get_submodule(name) for name in names}


@torch.no_grad()
def activations(
    model: ImageText, layers: dict[str, nn.Module], batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Output of each layer for each sample, averaged over places of the image or tokens of the text.

    Of the text's last layer only [CLS], the token its output is made of, is there.

    Args:
        model: In eval mode.
        layers: Layers of it, by name.
        batches: The samples.

    Returns:
        For each layer, Float[n, neurons].
    """
    pooled: dict[str, list[Tensor]] = {name: [] for name in layers}
    for batch in batches:
        # The branches, not the model: every process needs all samples.
        with _outputs(layers) as outputs:
            model.img_model(batch.image)
            model.text_model(batch.tokens, batch.mask)
        for name, value in outputs.items():
            pooled[name].append(_pooled(value, batch.mask).float().cpu())
    return {name: torch.cat(values) for name, values in pooled.items()}


@contextmanager
def _outputs(layers: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
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


def _pooled(value: Tensor, mask: Tensor) -> Tensor:
    """Float[b, c, h, w], Float[b, l, c] or Float[b, c] to Float[b, c]."""
    # Images: the mean over the map.
    if value.ndim == 4:
        return value.mean(dim=(2, 3))

    # Texts: the mean over their own tokens.
    if value.ndim == 3:
        weight = mask[:, :, None].to(value)
        return (value * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    return value
