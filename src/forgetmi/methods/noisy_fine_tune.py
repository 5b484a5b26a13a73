"""Noisy fine-tuning of the heads: certified removal by clipping, noise, and training on the retained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import added
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Positive
from forgetmi.core.seeding import torch_generator
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.gaussian_certificate import Certificate, epsilon_at
from forgetmi.unlearning.head_features import HeadFeatures, head_features, require_labels
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders

# Weights beyond which the noise leaves nothing
LARGEST = 100_000


@dataclass(frozen=True)
class NoisyFineTune:
    """Clip the heads' weights, train them on the retained with clipped gradients and noise, then without.

    **The certificate is about the heads alone. The encoders are not touched: where they were trained on the forgotten
    they still remember them.** Use it where the encoders never saw the patients. The noise it takes is many times the
    weights (the trace says how much), so that what is certified amounts to a new training of that part.

    Args:
        c0: Norm to which all heads' weights together are clipped, > 0.
        c1: Norm to which each step's gradient is clipped, > 0.
        lr: Learning rate of the noisy steps, > 0; there are ceil(c0 / (c1 lr)) of them.
        eps: Strength of the certificate, > 0; less takes more noise. The Rényi divergence of order q from a training
            that begins at other weights is at most 2 q eps.
        delta: At which the trace gives the epsilon of the usual (epsilon, delta) certificate, above 0 to below 1.
        noise: Whether noise is added; without it nothing is certified.
        repair_steps: Steps without noise or clipping afterwards, >= 0; they cost nothing of the certificate.
        repair_lr: Learning rate of Adam in these, > 0.

    Source: Koloskova et al., ICML 2025 (arXiv 2506.06985), gradient clipping; repository
    stair-lab/certified-unlearning-neural-networks-icml-2025. Deviations: the heads alone, on the encoders' embeddings
    as they are and over all retained at once, in double precision; s^2 = (2 C0 + 2 C1 lr T)^2 / (4 eps T) in place of
    the paper's bound 9 log(1/delta) (C0 + C1 lr T)^2 / (eps^2 T), so that ``eps`` is not the epsilon of an (epsilon,
    delta) certificate, which the trace gives exactly beside it; Adam in the repair.

    Examples:
        >>> method = NoisyFineTune(eps=2.0)
        >>> method.eps, method.info.exact
        (2.0, False)
        >>> sorted(method.info.reads)
        ['labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Noisy fine-tune",
        paper="Koloskova et al., ICML 2025, arXiv 2506.06985",
        summary="The final step of each branch is covered with noise and trained again on everyone else's data, with a "
        "certificate; the encoders before it are left as they are and still remember.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="1/3, once",
        suits="models whose encoders never saw the patients",
        search={"eps": (0.5, 1.0, 4.0), "repair_steps": (100, 300, 1000)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"own heads", "predictions"})
    moves: ClassVar[Moves] = "heads"

    c0: Positive = 1.0
    c1: Positive = 1.0
    lr: LearningRate = 0.01
    eps: Positive = 1.0
    delta: float = 1e-5
    noise: bool = True
    repair_steps: Epochs = 300
    repair_lr: LearningRate = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise MethodError(Fault("delta must be in (0, 1)", where="noisy_fine_tune"))

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model).eval()
        retain = loaders.retain
        features = head_features(student, retain.batches(retain.rows), student.heads)
        require_labels(features)

        # What the noise will prove, before any is drawn.
        start = _vector(student.heads)
        if start.numel() > LARGEST:
            raise MethodError(
                Fault(
                    f"the heads have {start.numel()} weights",
                    why=f"with more than {LARGEST} the noise leaves nothing of what was learnt",
                    do="Use another method.",
                )
            )
        certificate = Certificate(start.numel(), self.c0, self.c1, self.lr, self.eps)
        self._report(certificate, context)

        def loss(weights: Tensor) -> Tensor:
            return heads_loss(weights, student.heads, features, task=context.task)

        # Clipped, then noisy steps.
        generator = torch_generator(context.seed, "unlearn", "noisy fine-tune")
        std = certificate.variance**0.5 if self.noise else 0.0
        weights = clipped(start, self.c0)
        for _ in range(certificate.steps):
            drawn = torch.randn(weights.shape, dtype=torch.float64, generator=generator)
            gradient = clipped(_gradient(loss, weights), self.c1)
            weights = weights - self.lr * gradient + std * drawn

        # Whatever is done with the retained afterwards is certified, too.
        weights = weights.detach().requires_grad_(True)
        optimiser = torch.optim.Adam([weights], lr=self.repair_lr)
        for _ in range(self.repair_steps):
            context.step(loss(weights), optimiser)
        _write(weights.detach(), student.heads)
        return student

    def _report(self, certificate: Certificate, context: Context) -> None:
        """The certificate and its price, for the trace."""
        context.facts.update(
            {
                "weights d": certificate.dimension,
                "clipping norm C0": self.c0,
                "eps": self.eps,
                "noisy steps": certificate.steps,
                "noise a step": certificate.variance**0.5 if self.noise else 0.0,
                "norm of all noise": certificate.noise_norm if self.noise else 0.0,
                "certified": "the heads alone" if self.noise else "nothing",
            }
        )
        if self.noise:
            context.facts["delta"] = self.delta
            context.facts["epsilon at delta"] = epsilon_at(certificate.mu, self.delta)


def clipped(vector: Tensor, norm: float) -> Tensor:
    """The vector, shortened to a norm where it is longer."""
    length = float(vector.norm())
    return vector * (norm / length) if length > norm else vector


def heads_loss(
    weights: Tensor,
    heads: Mapping[str, nn.Linear],
    features: Mapping[str, HeadFeatures],
    *,
    task: Task,
) -> Tensor:
    """The task's mean loss over all samples, heads added.

    Args:
        weights: Float64[d], of all heads, one after the other: weight, then bias.
        heads: Give the shapes.
        features: By head, of the samples that it reads.
        task: Of the labels.
    """
    losses: dict[str, Tensor] = {}
    for head, (matrix, bias) in _parted(weights, heads).items():
        logits = features[head].values @ matrix.T
        if bias is not None:
            logits = logits + bias
        losses[head] = task.mean_loss(logits, features[head].label)
    return added(losses)


def _gradient(loss: Callable[[Tensor], Tensor], weights: Tensor) -> Tensor:
    leaf = weights.detach().requires_grad_(True)
    return torch.autograd.grad(loss(leaf), leaf)[0]


def _vector(heads: Mapping[str, nn.Linear]) -> Tensor:
    """All heads' weights as one vector, Float64[d]."""
    parts: list[Tensor] = []
    for layer in heads.values():
        for parameter in layer.parameters():
            parts.append(parameter.detach().double().cpu().reshape(-1))
    return torch.cat(parts)


def _parted(
    weights: Tensor, heads: Mapping[str, nn.Linear]
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Each head's weight and bias out of the vector of all; None = the layer has no bias."""
    parted: dict[str, tuple[Tensor, Tensor | None]] = {}
    place = 0
    for head, layer in heads.items():
        size = layer.weight.numel()
        matrix = weights[place : place + size].view_as(layer.weight)
        place += size

        bias = None
        if layer.bias is not None:
            bias = weights[place : place + layer.out_features]
            place += layer.out_features
        parted[head] = (matrix, bias)
    return parted


@torch.no_grad()
def _write(weights: Tensor, heads: Mapping[str, nn.Linear]) -> None:
    """Set the heads' weights."""
    for head, (matrix, bias) in _parted(weights, heads).items():
        heads[head].weight.copy_(matrix)
        if bias is not None:
            heads[head].bias.copy_(bias)
