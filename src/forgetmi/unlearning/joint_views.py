"""The views of Forget-MI's losses: image and text embedding side by side (C in the paper), and the joint one (J)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import torch_generator
from forgetmi.core.types import Ints, Outputs
from forgetmi.unlearning.loop import embeddings
from forgetmi.unlearning.losses import distance
from forgetmi.unlearning.teacher import Table

Views = tuple[Tensor, Tensor]


def views(out: Outputs, scale: tuple[float, float, float]) -> Views:
    """C, Float[n, d_image + d_text], and J, Float[n, d_joint], each embedding over its own scale."""
    image, text, joint = embeddings(out)
    return torch.cat([image / scale[0], text / scale[1]], dim=1), joint / scale[2]


def start_distances(clean: Table, goal: Table) -> tuple[float, float, float]:
    """Mean distance each embedding has to go: image, text, joint.

    Raises:
        MethodError: One of them has nowhere to go.
    """
    image, text, joint = (
        float(distance(a, b).mean())
        for a, b in ((clean.image, goal.image), (clean.text, goal.text), (clean.joint, goal.joint))
    )
    if min(image, text, joint) == 0.0:
        raise MethodError(
            Fault(
                "the noise changes nothing in one modality",
                why="its distance at the start is 0",
                do="Set normalise to False, or give noise to both image and text.",
            )
        )
    return image, text, joint


def offset(table: Table, *, seed: int) -> Table:
    """The same embeddings moved by one fixed vector of length 1e-3 each."""

    def moved(values: Tensor, name: str) -> Tensor:
        step = torch.randn(
            values.shape[1], generator=torch_generator(seed, "unlearn", "offset", name)
        ).to(values)
        return values + 1e-3 * step / step.norm()

    return replace(
        table, **{name: moved(getattr(table, name), name) for name in ("image", "text", "joint")}
    )


def bounds_between(
    hold: Table,
    patients: Callable[[Ints], Ints],
    scale: tuple[float, float, float],
) -> tuple[float, float]:
    """Median distance between different patients' embeddings under the original, for C and J.

    Raises:
        MethodError: There are no two patients.
    """
    rows = torch.nonzero(hold.position >= 0).flatten()[:512]
    patient = torch.as_tensor(patients(rows.numpy()))
    other = torch.triu(patient[:, None] != patient[None, :])
    if not bool(other.any()):
        raise MethodError(
            Fault("the bound of direction 'away' needs retained samples of two patients")
        )
    c, j = (float(torch.cdist(view, view)[other].median()) for view in views(hold.of(rows), scale))
    return c, j
