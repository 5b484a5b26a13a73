"""The views of Forget-MI's losses: image and text embedding side by side (C in the paper), and the joint one (J)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.modalities import JOINT
from forgetmi.core.seeding import torch_generator
from forgetmi.unlearning.loop import embeddings
from forgetmi.unlearning.losses import distance
from forgetmi.unlearning.teacher import OutputTable


class Views(NamedTuple):
    """What Forget-MI measures of a batch under a model.

    Args:
        unimodal: C, image and text embedding side by side, Float[n, d_image + d_text].
        joint: J, the joint embedding, Float[n, d_joint].
    """

    unimodal: Tensor
    joint: Tensor


class Bounds(NamedTuple):
    """Distances beyond which a sample is pushed no further, for C and for J."""

    unimodal: float
    joint: float


def views(out: Outputs, scale: Mapping[str, float] | None) -> Views:
    """C and J of a batch, each embedding divided by its own scale.

    Args:
        out: Of n samples.
        scale: Unit of each embedding by name; None = all have unit 1.
    """
    scaled: dict[str, Tensor] = {}
    for name, values in embeddings(out).items():
        scaled[name] = values / (scale[name] if scale else 1.0)

    # C, then J.
    joint = scaled.pop(JOINT)
    return Views(torch.cat(list(scaled.values()), dim=1), joint)


def start_distances(clean: OutputTable, goal: OutputTable) -> dict[str, float]:
    """Mean distance each embedding has to go, by name.

    Raises:
        MethodError: One of them has nowhere to go.
    """
    # Each embedding for itself.
    distances: dict[str, float] = {}
    goals = embeddings(goal.outputs)
    for name, values in embeddings(clean.outputs).items():
        distances[name] = float(distance(values, goals[name]).mean())
    if min(distances.values()) == 0.0:
        raise MethodError(
            Fault(
                "the noise changes nothing in one modality",
                why="its distance at the start is 0",
                do="Set normalise to False, or give noise to both image and text.",
            )
        )
    return distances


def offset(table: OutputTable, *, seed: int) -> OutputTable:
    """The same embeddings moved by one fixed vector of length 1e-3 each."""

    def moved(values: Tensor, name: str) -> Tensor:
        generator = torch_generator(seed, "unlearn", "offset", name)

        # A random direction, the same for every sample.
        step = torch.randn(values.shape[1], generator=generator).to(values)
        return values + 1e-3 * step / step.norm()

    embedding = table.outputs.embedding
    return table.replaced(
        embedding={name: moved(values, name) for name, values in embedding.items()}
    )


def bounds_between(
    table: OutputTable,
    patients: Callable[[Ints], Ints],
    scale: Mapping[str, float] | None,
) -> Bounds:
    """Median distance between different patients' embeddings under the original, for C and J.

    Args:
        table: The original's outputs for the retained samples; the first 512 are used.
        patients: From rows to patient codes.
        scale: Unit of each embedding by name; None = all have unit 1.

    Raises:
        MethodError: There are no two patients.
    """
    rows = torch.nonzero(table.position >= 0).flatten()[:512]

    # Each pair of samples of two different patients once.
    patient = torch.as_tensor(patients(rows.numpy()))
    pairs = torch.triu(patient[:, None] != patient[None, :])
    if not bool(pairs.any()):
        raise MethodError(
            Fault("the bound of direction 'away' needs retained samples of two patients")
        )

    # Median over these pairs, in C and in J.
    embedded = views(table.of(rows), scale)
    unimodal = torch.cdist(embedded.unimodal, embedded.unimodal)[pairs].median()
    joint = torch.cdist(embedded.joint, embedded.joint)[pairs].median()
    return Bounds(float(unimodal), float(joint))
