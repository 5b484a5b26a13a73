"""Forget-MI as its authors released it, every deviation from the paper behind a switch of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from forgetmi.authors_code.deviations import Deviations
from forgetmi.authors_code.image import PixelNoise
from forgetmi.authors_code.losses import (
    Losses,
    Margins,
    capped,
    margins_after,
    normalised_weights,
    signed,
    total_loss,
)
from forgetmi.authors_code.noise import ReleaseNoise
from forgetmi.authors_code.optimiser import TransformersAdamW, parameter_groups
from forgetmi.authors_code.sampler import SEED, retain_order
from forgetmi.authors_code.step import Gates, padded, step_losses
from forgetmi.authors_code.text_features import LENGTH
from forgetmi.authors_code.text_noise import read_synonyms
from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.ranges import Epochs, LearningRate
from forgetmi.core.seeding import scope
from forgetmi.data.noise import Perturbation, Perturber
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import Means


@dataclass(frozen=True)
class ForgetMIRelease:
    """Forget-MI as released, for comparison with published numbers; it forgets little.

    Args:
        use_noise: True minimises UU and MU, False maximises them; the noisy copies are used either way.
        noise_mean: Mean of the pixel noise, grey values of [0, 1].
        noise_std: Standard deviation of the pixel noise, grey values, >= 0.
        text_noise_level: Probability that a word of a noisy report is disturbed, 0 to 1.
        synonyms: Path of the release's Synonyms.csv; empty = no word is replaced by a synonym.
        alpha: Weight of UR, >= 0.
        beta: Weight of UU, >= 0.
        theta: Weight of MU, >= 0.
        gamma: Weight of MR, >= 0.
        epochs: Passes over the forget set, >= 0.
        lr: Learning rate, >= 0.
        weight_decay: Weight decay, >= 0.
        deviations: Which of the release's deviations from the paper are on.

    Source: training/forgetmi_partial of the Forget-MI release (arXiv 2506.23145). Left out: the similarity to a
    retrained model it logs each epoch, a learning-rate schedule that is made and never stepped, gradient clipping that
    is never reached, and a gate whose result is not used.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Forget-MI (release)",
        paper="Hardan et al., MICCAI 2025, arXiv 2506.23145, released code",
        summary="The published code of Forget-MI, step for step: one small update per pass over the forgotten data, "
        "with random gates and a sign that depends on one switch.",
        reads=frozenset({"forget", "retain", "teacher"}),
        exact=False,
        cost="3.3 x |forget| / |retain|",
        suits="comparison with published numbers only",
        own_epochs=True,
        search={"lr": (1e-5, 1e-4, 3e-4), "noise_std": (0.1, 0.2), "theta": (1.0, 2.0)},
    )

    use_noise: bool = False
    noise_mean: float = 0.0
    noise_std: float = 0.1
    text_noise_level: float = 0.5
    synonyms: str = ""
    alpha: float = 1.0
    beta: float = 1.0
    theta: float = 2.0
    gamma: float = 2.0
    epochs: Epochs = 30
    lr: LearningRate = 1e-4
    weight_decay: float = 0.01
    deviations: Deviations = field(default_factory=Deviations)

    def __post_init__(self) -> None:
        faults = [
            Fault(
                f"{name} is {getattr(self, name)}",
                where="forget_mi_release",
                do="Choose 0 or more.",
            )
            for name in (
                "noise_std",
                "alpha",
                "beta",
                "theta",
                "gamma",
                "epochs",
                "lr",
                "weight_decay",
            )
            if not getattr(self, name) >= 0
        ]
        if not 0 <= self.text_noise_level <= 1:
            faults.append(
                Fault(
                    f"text_noise_level is {self.text_noise_level}",
                    where="forget_mi_release",
                    do="Choose 0 to 1.",
                )
            )
        if not faults and self.alpha + self.beta + self.theta + self.gamma == 0:
            faults.append(Fault("all four weights are 0", where="forget_mi_release"))
        if faults:
            raise SpecError(faults)

    def apply(self, model: ImageText, loaders: GuardedLoaders, context: Context) -> ImageText:
        """Run the method; see the class."""
        on = self.deviations
        teacher = copy.deepcopy(model).requires_grad_(False).train(on.teacher_in_train_mode)
        student = copy.deepcopy(model).train(on.student_in_train_mode)
        if self.epochs == 0:
            return student
        student.gate.requires_grad_(False)
        optimiser, margins = self._optimiser(student), _Kept()
        weights = normalised_weights(
            alpha=self.alpha,
            beta=self.beta,
            theta=self.theta,
            gamma=self.gamma,
            rounded=on.rounded_weights,
        )
        synonyms = read_synonyms(Path(self.synonyms)) if self.synonyms and on.keyword_noise else {}
        context.facts.update(weights=weights._asdict(), synonyms=len(synonyms))
        changing = {
            "student": student,
            "teacher": teacher,
            "optimiser": optimiser,
            "margins": margins,
        }
        for epoch in context.epochs(self.epochs, **changing):
            learns = epoch > 0 or not on.idle_first_epoch
            noise = self._noise(synonyms, context.seed, epoch)
            means, current = Means(Losses._fields), None
            with self._randomness():
                for forget, noisy, retain in self._batches(model, loaders, noise, epoch):
                    distances = step_losses(
                        student,
                        teacher,
                        forget=forget,
                        noisy=noisy,
                        retain=retain,
                        gates=self._gates(model),
                        six_forwards=on.six_forwards,
                    )
                    current, losses = (
                        distances,
                        self._losses(distances, margins.value if epoch > 0 else None),
                    )
                    means.add(torch.stack(losses), len(forget))
                    if learns:
                        _backward(total_loss(losses, weights), context)
                        if not on.one_step_per_epoch:
                            _update(optimiser, context)
            if learns and on.one_step_per_epoch:
                _update(optimiser, context)
            if epoch == 0 and current is not None:
                margins.value = margins_after(current)
            context.log.epochs.append(means.read())
        return student

    def _losses(self, losses: Losses, margins: Margins | None) -> Losses:
        if self.deviations.capped_retention and margins is not None:
            losses = capped(losses, margins)
        return signed(losses, use_noise=self.use_noise or not self.deviations.sign_by_use_noise)

    def _gates(self, model: ImageText) -> Gates:
        on = self.deviations
        make = Gates.fresh if on.fresh_gates else Gates.shared
        return make(model, whole_batch=on.whole_batch_gate, dropout=0.1 if on.gate_dropout else 0.0)

    def _optimiser(self, student: ImageText) -> torch.optim.Optimizer:
        on = self.deviations
        groups = parameter_groups(
            student, weight_decay=self.weight_decay, decay_batch_norm=on.decayed_batch_norm
        )
        return (
            TransformersAdamW(groups, lr=self.lr)
            if on.transformers_adamw
            else torch.optim.AdamW(groups, lr=self.lr)
        )

    def _noise(self, synonyms: dict[str, str], seed: int, epoch: int) -> Perturber:
        draw = 0 if self.deviations.repeated_image_noise else epoch
        if self.deviations.keyword_noise:
            pixels = PixelNoise(self.noise_mean, self.noise_std)
            return ReleaseNoise(pixels, self.text_noise_level, synonyms, seed, draw)
        return Perturbation(
            image_mean=self.noise_mean,
            image_std=self.noise_std,
            text_level=self.text_noise_level,
            seed=seed,
            draw=draw,
        )

    def _randomness(self) -> AbstractContextManager[None]:
        """The global generators within one epoch: gates and dropout."""
        return (
            scope(SEED, "release", "epoch")
            if self.deviations.repeated_randomness
            else nullcontext()
        )

    def _batches(
        self,
        model: ImageText,
        loaders: GuardedLoaders,
        noise: Perturber,
        epoch: int,
    ) -> Iterator[tuple[Batch, Batch, Batch]]:
        """Forgotten samples, their noisy copies and retained ones; ends with the forget set."""
        on, size = self.deviations, loaders.batch_size
        rows, kept = loaders.forget.rows, loaders.retain.rows
        if on.fixed_retain_order:
            whole = -(-len(rows) // size) * size
            kept = kept[retain_order(len(kept), len(rows))[:whole]]
        else:
            kept = loaders.retain.window(epoch, len(rows))
        if not on.forget_in_file_order:
            rows = loaders.forget.random(epoch, len(rows))
        length = min(LENGTH, model.spec.text.positions) if on.padded_texts else 0
        sets = (
            loaders.forget.batches(rows),
            loaders.forget.batches(rows, perturbation=noise),
            loaders.retain.batches(kept),
        )
        for triple in zip(
            *sets, strict=False
        ):  # fewer retained than forgotten samples end the epoch, too
            forget, noisy, retain = (padded(batch.to(model.device), length) for batch in triple)
            yield forget, noisy, retain


class _Kept:
    """The margins, which an interrupted run must find again."""

    def __init__(self) -> None:
        self.value: Margins | None = None

    def state_dict(self) -> dict[str, Any]:
        return {} if self.value is None else dict(self.value._asdict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = Margins(**state) if state else None


def _backward(loss: Tensor, context: Context) -> None:
    """Add this batch's gradient to those of the batches before."""
    if not bool(torch.isfinite(loss)):
        raise MethodError(
            Fault(
                f"the loss became {float(loss.detach())}",
                where=f"epoch {len(context.log.epochs)}",
                do="Use a smaller learning rate.",
            )
        )
    loss.backward()


def _update(optimiser: torch.optim.Optimizer, context: Context) -> None:
    if context.log.first_gradient is None:
        moving = [p for group in optimiser.param_groups for p in group["params"]]
        context.log.first_gradient = float(
            nn.utils.clip_grad_norm_(moving, float("inf"))
        )  # measures, clips nothing
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    context.log.steps += 1
