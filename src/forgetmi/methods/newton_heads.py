"""Certified removal from the two linear heads: one Newton step on frozen embeddings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from forgetmi.errors import Fault, MethodError
from forgetmi.methods.access import Loaders
from forgetmi.methods.base import Context, MethodInfo
from forgetmi.methods.steps import embeddings
from forgetmi.methods.teacher import frozen
from forgetmi.model.image_text import ImageText
from forgetmi.seeding import torch_generator
from forgetmi.types import Batch

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
HEADS = ("image", "text")


@dataclass(frozen=True)
class NewtonHeads:
    """Fit both heads as L2-regularised logistic regressions on all patients, then remove the forgotten in closed form.

    **The certificate is about the heads alone. The encoders were trained on the forgotten, are not touched and still
    remember them**; anyone who can read embeddings is not held off. Use it where the encoders never saw the patients (a
    public, pretrained encoder), or to see what removal from the heads alone achieves.

    Args:
        ridge: L2 penalty a training image, lambda of lambda / 2 |w|^2, > 0.
        std: Standard deviation of the random linear term in the objective, > 0; more noise certifies more and costs
            accuracy.
        delta: Probability delta of the (epsilon, delta) certificate, above 0 to below 1.

    Source: Guo et al. 2020 (arXiv 1911.03030), theorem 3 with its Gaussian term; repository
    facebookresearch/certified-removal. Deviations: multinomial instead of one-versus-rest regression, with the constant
    feature penalised, too; all patients are removed in one step; the heads of the original, which are no minimiser of a
    convex objective, are replaced by fitted ones first; the residual gradient is measured on the retained patients for
    this draw of the noise, while the theorem asks for a bound over all draws, so that epsilon holds as far as the draw
    is typical. The two heads' epsilon and delta add up.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Newton heads",
        paper="Guo et al., ICML 2020, arXiv 1911.03030",
        summary="The final linear step of each branch is recomputed as if the forgotten had not been there, with a "
                "certificate; the encoders before it are left as they are and still remember.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1/3 (1 + |forget| / |retain|), once",
        suits="models whose encoders never saw the patients",
    )

    ridge: float = 1e-2
    std: float = 1.0
    delta: float = 1e-4

    def __post_init__(self) -> None:
        if not (self.ridge > 0 and self.std > 0 and 0 < self.delta < 1):
            raise MethodError(Fault("ridge and std must be above 0 and delta in (0, 1)", where="newton_heads"))

    def apply(self, model: ImageText, loaders: Loaders, context: Context) -> ImageText:
        """Run the method; see the class."""
        student, teacher = copy.deepcopy(model), frozen(model)
        lost, held = (_features(teacher, one.batches(one.rows)) for one in (loaders.forget, loaders.retain))
        if len(held["label"]) == 0:
            raise MethodError(Fault("no retained image has a label", why="a head cannot be fitted"))
        layers: dict[str, nn.Linear] = {"image": student.img_model.fc1, "text": student.text_model.classifier}
        label = torch.cat([held["label"], lost["label"]])
        for head in HEADS:
            noise = self.std * torch.randn(
                layers[head].out_features, layers[head].in_features + 1, dtype=torch.float64,
                generator=torch_generator(context.seed, "unlearn", "newton heads", head))
            everyone = logistic(torch.cat([held[head], lost[head]]), label, noise=noise, ridge=self.ridge)
            others = logistic(held[head], held["label"], noise=noise, ridge=self.ridge)
            fitted = minimise(everyone, torch.zeros(noise.numel(), dtype=torch.float64))
            removed = newton(others, fitted)
            residual, before = (float(others(weight)[0].norm()) for weight in (removed, fitted))
            _write(layers[head], removed.view_as(noise))
            context.facts[head] = {
                "residual gradient before": before, "residual gradient after": residual,
                "epsilon": certified_epsilon(residual, std=self.std, delta=self.delta), "delta": self.delta,
                "distance to an exact refit": float((removed - minimise(others, removed)).norm()),
            }
        return student


def logistic(features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
    """Summed multinomial cross-entropy + ``ridge n / 2 |w|^2 + <noise, w>``, as a map from w to gradient and Hessian.

    Args:
        features: Float64[n, d].
        label: Int64[n].
        noise: Float64[k, d], b of the objective.
        ridge: lambda, > 0.

    Returns:
        From Float64[k d] to Float64[k d] and Float64[k d, k d].
    """
    classes, width = noise.shape

    def at(weight: Tensor) -> tuple[Tensor, Tensor]:
        w = weight.view(classes, width)
        p = (features @ w.T).softmax(dim=1)
        gradient = (p - nn.functional.one_hot(label, classes)).T @ features + ridge * len(features) * w + noise
        spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        blocks = [[(spread[:, i, j, None] * features).T @ features for j in range(classes)] for i in range(classes)]
        hessian = torch.cat([torch.cat(row, dim=1) for row in blocks])
        return gradient.reshape(-1), hessian + ridge * len(features) * torch.eye(len(weight), dtype=hessian.dtype)

    return at


def newton(objective: Objective, weight: Tensor) -> Tensor:
    """One Newton step; exact on a quadratic."""
    gradient, hessian = objective(weight)
    return weight - torch.linalg.solve(hessian, gradient)


def minimise(objective: Objective, start: Tensor, *, tolerance: float = 1e-9, steps: int = 200) -> Tensor:
    """The minimiser of a strictly convex objective, by Newton steps that are shortened until the gradient shrinks.

    Raises:
        MethodError: The gradient does not fall below ``tolerance`` (1 + its norm at the start).
    """
    weight = start
    norm = float(objective(weight)[0].norm())
    goal = tolerance * (1 + norm)
    for _ in range(steps):
        if norm <= goal:
            return weight
        step = newton(objective, weight) - weight
        size, moved = 1.0, weight + step
        while (new := float(objective(moved)[0].norm())) >= norm and size > 1e-6:
            size /= 2
            moved = weight + size * step
        if size <= 1e-6:
            break
        weight, norm = moved, new
    if norm <= goal:
        return weight
    raise MethodError(Fault("the head could not be fitted", why=f"the gradient's norm stays at {norm:.3g}",
                            do="Use a larger ridge."))


def certified_epsilon(residual: float, *, std: float, delta: float) -> float:
    """Epsilon of the removal: ``sqrt(2 ln(1.5 / delta)) residual / std``.

    Args:
        residual: Norm of the objective's gradient on the retained after the removal, >= 0.
        std: Standard deviation of the objective's random linear term, > 0.
        delta: Above 0 to below 1.

    Source: Guo et al. 2020, theorem 3.
    """
    return math.sqrt(2 * math.log(1.5 / delta)) * residual / std


@torch.no_grad()
def _features(model: ImageText, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Embeddings of the samples with a label, with a constant 1 appended, and the labels."""
    parts: dict[str, list[Tensor]] = {"image": [], "text": [], "label": []}
    for batch in batches:
        known = batch.label >= 0
        for head, value in zip(HEADS, embeddings(model(batch))[:2], strict=True):
            value = value[known].double().cpu()
            parts[head].append(torch.cat([value, torch.ones_like(value[:, :1])], dim=1))
        parts["label"].append(batch.label[known].cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


@torch.no_grad()
def _write(layer: nn.Linear, weight: Tensor) -> None:
    layer.weight.copy_(weight[:, :-1])
    layer.bias.copy_(weight[:, -1])
