"""Pairs of image and text without further labels: their training half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.task import Objective, Rule, Space
from forgetmi.model.pair_losses import info_nce


@dataclass(frozen=True)
class Pairs:
    """An image and its text, and nothing else; see `forgetmi.core.task.Task` for what each function is.

    All that is learned is which belong together (`link`). There are no heads, so that whatever is asked of logits
    raises: methods that need heads do not apply.

    Examples:
        >>> Pairs().headed, Pairs().outputs(0)
        (False, 0)
    """

    name: ClassVar[str] = "pairs"
    ordered: ClassVar[bool] = False
    headed: ClassVar[bool] = False

    def outputs(self, names: int) -> int:
        """None."""
        return 0

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Of no head."""
        _no_heads()

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Of no head."""
        _no_heads()

    def error(self, logits: Tensor, label: Tensor) -> Tensor:
        """Of no head."""
        _no_heads()

    def auc(self, logits: Tensor, label: Tensor) -> float | None:
        """Of no head."""
        _no_heads()

    def groups(self, label: Tensor) -> Tensor:
        """All samples are alike."""
        return torch.zeros_like(label)

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """1/2, as of samples of which nothing is known."""
        return torch.full_like(label, 0.5, dtype=torch.float32)

    def link(self, one: Tensor, other: Tensor, label: Tensor, study: Tensor) -> Tensor:
        """The contrastive loss."""
        return info_nce(one, other, study)

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Of no head."""
        _no_heads()

    def distance_without_truth(
        self, student: Tensor, teacher: Tensor, label: Tensor, *, truth: float
    ) -> Tensor:
        """Of no head."""
        _no_heads()

    def prediction(self, logits: Tensor) -> Tensor:
        """Of no head."""
        _no_heads()

    def mean_prediction(self, logits: Sequence[Tensor]) -> Tensor:
        """Of no head."""
        _no_heads()

    def other(self, label: Any, classes: int, *, rule: Rule, generator: np.random.Generator) -> Any:
        """There is no other label."""
        _no_heads()

    def space(self, head: nn.Linear) -> Space:
        """Of no head."""
        _no_heads()

    def convex(self, features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
        """Of no head."""
        _no_heads()


def _no_heads() -> NoReturn:
    raise MethodError(
        Fault(
            "this method does not apply to pairs",
            why="it reads predictions of a label, and pairs of image and text have none",
        )
    )


PAIRS = Pairs()
