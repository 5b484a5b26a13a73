"""Parts of the release's unlearning, each as its switches say: optimiser, noise, gates, losses and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.authors_code.deviations import Deviations
from forgetmi.authors_code.image import PixelNoise
from forgetmi.authors_code.losses import Losses, Margins, capped, signed
from forgetmi.authors_code.noise import ReleaseNoise
from forgetmi.authors_code.optimiser import TransformersAdamW, parameter_groups
from forgetmi.authors_code.sampler import SEED, retain_order
from forgetmi.authors_code.step import Gates, padded
from forgetmi.authors_code.text_features import LENGTH
from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import scope
from forgetmi.data.noise import Perturbation, Perturber
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders


class StoredMargins:
    """The margins, which an interrupted run must find again."""

    def __init__(self) -> None:
        self.value: Margins | None = None

    def state_dict(self) -> dict[str, Any]:
        return {} if self.value is None else dict(self.value._asdict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = Margins(**state) if state else None


def make_optimiser(
    student: ImageText, deviations: Deviations, *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW of transformers or of PyTorch, over the parameters that may move."""
    groups = parameter_groups(
        student,
        weight_decay=weight_decay,
        decay_batch_norm=deviations.decayed_batch_norm,
    )

    if deviations.transformers_adamw:
        return TransformersAdamW(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr)


def make_noise(
    pixels: PixelNoise,
    text_level: float,
    synonyms: Mapping[str, str],
    deviations: Deviations,
    *,
    seed: int,
    epoch: int,
) -> Perturber:
    """The noise of one epoch: the release's form, or the paper's.

    Args:
        pixels: Mean and standard deviation of the image noise.
        text_level: Probability that a word is disturbed, 0 to 1.
        synonyms: Of the release's form; empty = no word is replaced.
        deviations: Which form, and whether the image noise is the same in every epoch.
        seed: Root seed.
        epoch: From 0.
    """
    draw = 0 if deviations.repeated_image_noise else epoch

    if deviations.keyword_noise:
        return ReleaseNoise(pixels, text_level, synonyms, seed, draw)
    return Perturbation(
        image_mean=pixels.mean,
        image_std=pixels.std,
        text_level=text_level,
        seed=seed,
        draw=draw,
    )


def make_gates(model: ImageText, deviations: Deviations) -> Gates:
    """The gates of one step: new random ones, or the model's own."""
    make = Gates.fresh if deviations.fresh_gates else Gates.shared
    dropout = 0.1 if deviations.gate_dropout else 0.0
    return make(model, whole_batch=deviations.whole_batch_gate, dropout=dropout)


def losses_of(
    distances: Losses, margins: Margins | None, deviations: Deviations, *, use_noise: bool
) -> Losses:
    """The distances of one step with the release's caps and signs.

    Args:
        distances: UU, MU, UR and MR.
        margins: Caps of UR and MR; None = none yet.
        deviations: Whether the caps apply, and whether the sign depends on the noise switch.
        use_noise: The noise switch.
    """
    losses = distances
    if deviations.capped_retention and margins is not None:
        losses = capped(losses, margins)

    minimised = use_noise or not deviations.sign_by_use_noise
    return signed(losses, use_noise=minimised)


def epoch_randomness(deviations: Deviations) -> AbstractContextManager[None]:
    """The global generators within one epoch: gates and dropout."""
    if deviations.repeated_randomness:
        return scope(SEED, "release", "epoch")
    return nullcontext()


def epoch_batches(
    model: ImageText,
    loaders: GuardedLoaders,
    noise: Perturber,
    deviations: Deviations,
    *,
    epoch: int,
) -> Iterator[tuple[Batch, Batch, Batch]]:
    """Forgotten samples, their noisy copies and retained ones; ends with the forget set."""
    forget_rows = loaders.forget.rows
    retain_rows = loaders.retain.rows

    # The release reads whole retain batches, in one order for all epochs.
    if deviations.fixed_retain_order:
        size = loaders.batch_size
        whole = -(-len(forget_rows) // size) * size
        order = retain_order(len(retain_rows), len(forget_rows))
        retain_rows = retain_rows[order[:whole]]
    else:
        retain_rows = loaders.retain.window(epoch, len(forget_rows))

    if not deviations.forget_in_file_order:
        forget_rows = loaders.forget.random(epoch, len(forget_rows))

    # The release pads every text to one length.
    length = 0
    if deviations.padded_texts:
        length = min(LENGTH, model.spec.text.positions)

    sets = (
        loaders.forget.batches(forget_rows),
        loaders.forget.batches(forget_rows, perturbation=noise),
        loaders.retain.batches(retain_rows),
    )
    # Fewer retained than forgotten samples end the epoch, too.
    for forget, noisy, retain in zip(*sets, strict=False):
        yield (
            padded(forget.to(model.device), length),
            padded(noisy.to(model.device), length),
            padded(retain.to(model.device), length),
        )


def backward(loss: Tensor, context: Context) -> None:
    """Add this batch's gradient to those of the batches before.

    Raises:
        MethodError: The loss is not finite.
    """
    if not bool(torch.isfinite(loss)):
        raise MethodError(
            Fault(
                f"the loss became {float(loss.detach())}",
                where=f"epoch {len(context.log.epochs)}",
                do="Use a smaller learning rate.",
            )
        )
    loss.backward()


def update(optimiser: torch.optim.Optimizer, context: Context) -> None:
    """One optimiser step on the gradients so far; the norm of the first ones is logged."""
    if context.log.first_gradient is None:
        moving = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        # An infinite limit measures the norm and clips nothing.
        norm = nn.utils.clip_grad_norm_(moving, float("inf"))
        context.log.first_gradient = float(norm)

    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    context.log.steps += 1
