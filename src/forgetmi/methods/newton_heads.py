"""Certified removal from the two linear heads: one Newton step on frozen embeddings."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.seeding import torch_generator
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.head_features import head_features, require_labels
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.ridge_head import certified_epsilon, minimise, newton
from forgetmi.unlearning.teacher import frozen, looked_up_or_run


@dataclass(frozen=True)
class NewtonHeads:
    """Fit both heads as L2-regularised logistic regressions on all patients, then remove the forgotten in closed form.

    **The certificate is about the heads alone. The encoders were trained on the forgotten, are not touched and still
    remember them**; it gives no protection against anyone who can read embeddings. Use it where the encoders never saw
    the patients (a public, pretrained encoder), or to see what removal from the heads alone achieves.

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

    Examples:
        >>> method = NewtonHeads(ridge=0.01)
        >>> method.ridge, method.info.exact
        (0.01, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Newton heads",
        paper="Guo et al., ICML 2020, arXiv 1911.03030",
        summary="The final linear step of each branch is recomputed as if the forgotten had not been there, with a "
        "certificate; the encoders before it are left as they are and still remember.",
        reads=frozenset({"forget", "retain", "labels", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="1/3 (1 + |forget| / |retain|), once",
        suits="models whose encoders never saw the patients",
        search={"ridge": (0.001, 0.01, 0.1), "std": (0.1, 1.0, 3.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"heads", "predictions"})
    moves: ClassVar[Moves] = "heads"

    ridge: float = 0.1
    std: float = 3.0
    delta: float = 1e-4

    def __post_init__(self) -> None:
        if not (self.ridge > 0 and self.std > 0 and 0 < self.delta < 1):
            raise MethodError(
                Fault("ridge and std must be above 0 and delta in (0, 1)", where="newton_heads")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student, teacher = copy.deepcopy(model), frozen(model)

        # Frozen embeddings of the forgotten and of the retained, with their labels.
        original = looked_up_or_run(teacher, context.cached)
        heads = tuple(student.heads)
        forget = head_features(original, loaders.forget.batches(loaders.forget.rows), heads)
        retain = head_features(original, loaders.retain.batches(loaders.retain.rows), heads)
        require_labels(retain)

        # Each head for itself.
        task = context.task
        for head, layer in student.heads.items():
            noise = self._noise(layer, head, seed=context.seed)
            kept = _with_constant(retain[head].values)
            features = torch.cat([kept, _with_constant(forget[head].values)])
            kept_label = retain[head].label
            label = torch.cat([kept_label, forget[head].label])

            # Fit on everyone, then one Newton step on the retained alone.
            everyone = task.convex(features, label, noise=noise, ridge=self.ridge)
            others = task.convex(kept, kept_label, noise=noise, ridge=self.ridge)
            fitted = minimise(everyone, torch.zeros(noise.numel(), dtype=torch.float64))
            removed = newton(others, fitted)
            _write(layer, removed.view_as(noise))

            # The certificate rests on what is left of the gradient on the retained.
            residual = float(others(removed)[0].norm())
            before = float(others(fitted)[0].norm())
            context.facts[head] = {
                "residual gradient before": before,
                "residual gradient after": residual,
                "epsilon": certified_epsilon(residual, std=self.std, delta=self.delta),
                "delta": self.delta,
                "distance to an exact refit": float((removed - minimise(others, removed)).norm()),
            }
        return student

    def _noise(self, layer: nn.Linear, head: str, *, seed: int) -> Tensor:
        """The random linear term of a head's objective, Float64[classes, features + 1]."""
        generator = torch_generator(seed, "unlearn", "newton heads", head)
        shape = (layer.out_features, layer.in_features + 1)
        return self.std * torch.randn(*shape, dtype=torch.float64, generator=generator)


def _with_constant(values: Tensor) -> Tensor:
    """Embeddings in double precision with a constant 1 appended, Float64[n, d + 1]."""
    values = values.double().cpu()
    return torch.cat([values, torch.ones_like(values[:, :1])], dim=1)


@torch.no_grad()
def _write(layer: nn.Linear, weight: Tensor) -> None:
    """Set a head's weight and bias; the bias is the last column."""
    layer.weight.copy_(weight[:, :-1])
    layer.bias.copy_(weight[:, -1])
