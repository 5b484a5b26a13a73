"""Forget-MI as its authors released it, every deviation from the paper behind a switch of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from forgetmi.authors_code.deviations import Deviations
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate
from forgetmi.unlearning.info import MethodInfo, Moves

# A configuration of the authors holds this method, and the help is made from it: what needs torch is imported inside
# the functions that use it.
if TYPE_CHECKING:
    from forgetmi.model.image_text import ImageText
    from forgetmi.unlearning.context import Context
    from forgetmi.unlearning.loaders import GuardedLoaders

_NOT_NEGATIVE = (
    "noise_std",
    "alpha",
    "beta",
    "theta",
    "gamma",
    "epochs",
    "lr",
    "weight_decay",
)


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
    needs: ClassVar[frozenset[Need]] = frozenset({"paper's model"})
    moves: ClassVar[Moves] = "own layers"

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
        faults = []
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            # Written so that a value that is not a number is refused, too.
            if not value >= 0:
                faults.append(_out_of_range(name, value, "Choose 0 or more."))
        if not 0 <= self.text_noise_level <= 1:
            faults.append(
                _out_of_range("text_noise_level", self.text_noise_level, "Choose 0 to 1.")
            )

        if not faults and self.alpha + self.beta + self.theta + self.gamma == 0:
            faults.append(Fault("all four weights are 0", where="forget_mi_release"))
        if faults:
            raise SpecError(faults)

    def apply(self, model: ImageText, loaders: GuardedLoaders, context: Context) -> ImageText:
        """Run the method; see the class."""
        import copy

        import torch

        from forgetmi.authors_code import release_parts as parts
        from forgetmi.authors_code.image import PixelNoise
        from forgetmi.authors_code.losses import (
            Losses,
            margins_after,
            normalised_weights,
            total_loss,
        )
        from forgetmi.authors_code.step import step_losses
        from forgetmi.unlearning.loop import Means

        deviations = self.deviations
        teacher = copy.deepcopy(model).requires_grad_(False)
        teacher.train(deviations.teacher_in_train_mode)
        student = copy.deepcopy(model).train(deviations.student_in_train_mode)
        if self.epochs == 0:
            return student

        # The gate that teacher and student share stays as it is.
        student.gate.requires_grad_(False)
        optimiser = parts.make_optimiser(
            student, deviations, lr=self.lr, weight_decay=self.weight_decay
        )
        margins = parts.StoredMargins()
        weights = normalised_weights(
            alpha=self.alpha,
            beta=self.beta,
            theta=self.theta,
            gamma=self.gamma,
            rounded=deviations.rounded_weights,
        )

        pixels = PixelNoise(self.noise_mean, self.noise_std)
        synonyms = self._synonyms()
        context.facts.update(weights=weights._asdict(), synonyms=len(synonyms))

        # Everything that an interrupted run must find again; in train mode the teacher's statistics move, too.
        changing = {
            "student": student,
            "teacher": teacher,
            "optimiser": optimiser,
            "margins": margins,
        }
        for epoch in context.epochs(self.epochs, **changing):
            learns = epoch > 0 or not deviations.idle_first_epoch
            noise = parts.make_noise(
                pixels,
                self.text_noise_level,
                synonyms,
                deviations,
                seed=context.seed,
                epoch=epoch,
            )
            means = Means(Losses._fields)
            last_distances: Losses | None = None

            with parts.epoch_randomness(deviations):
                batches = parts.epoch_batches(model, loaders, noise, deviations, epoch=epoch)
                for forget, noisy, retain in batches:
                    distances = step_losses(
                        student,
                        teacher,
                        forget=forget,
                        noisy=noisy,
                        retain=retain,
                        gates=parts.make_gates(model, deviations),
                        six_forwards=deviations.six_forwards,
                    )
                    last_distances = distances

                    # Retention is capped from the second epoch on.
                    losses = parts.losses_of(
                        distances,
                        margins.value if epoch > 0 else None,
                        deviations,
                        use_noise=self.use_noise,
                    )
                    means.add(torch.stack(losses), len(forget))

                    if learns:
                        parts.backward(total_loss(losses, weights), context)
                        if not deviations.one_step_per_epoch:
                            parts.update(optimiser, context)

            # The release sums the gradients of all batches and applies them once.
            if learns and deviations.one_step_per_epoch:
                parts.update(optimiser, context)

            # The caps come from the last batch of the first epoch.
            if epoch == 0 and last_distances is not None:
                margins.value = margins_after(last_distances)
            context.log.epochs.append(means.read())

        return student

    def _synonyms(self) -> dict[str, str]:
        """Word to synonym; empty where no file is given, or the paper's noise is used."""
        from pathlib import Path

        from forgetmi.authors_code.text_noise import read_synonyms

        if not self.synonyms or not self.deviations.keyword_noise:
            return {}
        return read_synonyms(Path(self.synonyms))


def _out_of_range(name: str, value: float, advice: str) -> Fault:
    return Fault(f"{name} is {value}", where="forget_mi_release", do=advice)
