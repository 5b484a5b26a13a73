"""Forget-MI: unlearn each modality and their joint embedding against noisy copies, retain both on other patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Share, Weight
from forgetmi.data.noise import (
    DEFAULT_IMAGE_MEAN,
    DEFAULT_IMAGE_STD,
    DEFAULT_TEXT_LEVEL,
    Perturbation,
)
from forgetmi.unlearning.four_losses import FourLosses
from forgetmi.unlearning.info import MethodInfo, Moves

# Forget-MI is the default method of a run, so every command's help imports this module to list its options. The help
# must not wait for torch: what needs torch is imported inside the functions that use it.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.model.net_module import NetModule
    from forgetmi.unlearning.context import Context
    from forgetmi.unlearning.joint_views import Bounds, Views
    from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
    from forgetmi.unlearning.teacher import OutputTable

WEIGHTS: dict[str, FourLosses[float]] = {
    "no_noise": FourLosses(UU=1, MU=1, UR=1, MR=1),
    "equal": FourLosses(UU=1, MU=1, UR=1, MR=1),
    "multimodal": FourLosses(UU=1, MU=2, UR=1, MR=2),
    "unimodal": FourLosses(UU=2, MU=1, UR=2, MR=1),
    "retention": FourLosses(UU=1, MU=1, UR=2, MR=2),
}


@dataclass(frozen=True)
class ForgetMI:
    """Forget-MI as the paper's text describes it, made to work.

    The published preset is ``noise="given"`` (standard deviation 0.1, level 0.5) with ``lr`` 1e-4 or 1e-5; it forgets
    little. ``setting="no_noise"`` fixes the direction to ``away`` and the noisy copy to the sample itself.

    Args:
        setting: Weights of the four losses: equal; multimodal (MU, MR x2); unimodal (UU, UR x2); retention (UR, MR x2);
            no_noise.
        direction: toward_noise pulls a forgotten sample to the original's embedding of its noisy copy; away pushes it
            from there up to a bound.
        noise: calibrated (on validation patients) or given.
        noise_mean: Mean of the image noise, pixel values in [0, 1].
        noise_std: Standard deviation of the image noise when given.
        text_level: Probability that a word is changed when given, 0 to 1.
        redraw: Draw the noise anew each epoch instead of once.
        epochs: Passes over the forget set.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.
        retain: Which retained samples an epoch sees: sequential or random; as many as forgotten ones.
        normalise: Divide each modality's distance by its mean distance at the start, so that neither dominates.
        bn: Batch-norm statistics of the student: eval (kept) or train (updated).

    Source: Hardan et al. 2025 (arXiv 2506.23145), equations 1 to 5. Deviations: the sign is an option, because the text
    says "away" while only the other reading is stable; ``away`` has a bound (the median distance between different
    patients' embeddings); one frozen gate fitted on the original serves teacher and student; the distance is smooth at
    0, and a retained sample that is where the original has it, to rounding, is not pulled (see `losses.keep`); the
    weights x2 are those of the authors' configuration, since the text gives none.

    Examples:
        >>> method = ForgetMI(setting="multimodal")
        >>> method.setting, method.info.exact
        ('multimodal', False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Forget-MI",
        paper="Hardan et al., MICCAI 2025, arXiv 2506.23145",
        summary="Moves the model's outputs for each forgotten image, report and pair to the original's outputs for a "
        "noisy copy of it, while other patients' embeddings stay where they were.",
        reads=frozenset({"forget", "retain", "validation", "labels", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="2 x |forget| / |retain|; once up to 1/3 for the teacher and 10/3 x |forget| / |retain| to calibrate",
        suits="comparison with the paper; withdrawals where the training data are at hand but retraining is not",
        own_epochs=True,
        search={
            "lr": (1e-4, 3e-4, 1e-3),
            "epochs": (15, 30),
            "setting": ("equal", "multimodal", "unimodal", "retention"),
        },
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "joint", "noise"})
    moves: ClassVar[Moves] = "embeddings"

    setting: Literal["no_noise", "equal", "multimodal", "unimodal", "retention"] = "equal"
    direction: Literal["toward_noise", "away"] = "toward_noise"
    noise: Literal["calibrated", "given"] = "calibrated"
    noise_mean: float = DEFAULT_IMAGE_MEAN
    noise_std: Weight = DEFAULT_IMAGE_STD
    text_level: Share = DEFAULT_TEXT_LEVEL
    redraw: bool = False
    epochs: Epochs = 30
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    retain: Literal["sequential", "random"] = "sequential"
    normalise: bool = False
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        import copy

        import numpy as np
        import torch

        from forgetmi.model.net_module import free_but_joining
        from forgetmi.unlearning.joint_views import bounds_between, start_distances, views
        from forgetmi.unlearning.loop import Means, adamw, concatenate, set_mode, split
        from forgetmi.unlearning.teacher import frozen, outputs_of

        teacher = frozen(model)
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student

        # The gate that teacher and student share stays as it is.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # Each epoch sees as many retained samples as forgotten ones.
        forget, retain = loaders.forget, loaders.retain
        draw = retain.window if self.retain == "sequential" else retain.random
        retain_rows = [draw(epoch, len(forget.rows)) for epoch in range(self.epochs)]

        # Targets: the original's outputs for the retained samples, and for noisy copies of the forgotten ones.
        all_retain_rows = np.unique(np.concatenate(retain_rows))
        retain_target = outputs_of(teacher, retain, all_retain_rows, context.cached)
        noise = self._noise(teacher, loaders, context)
        forget_target = self._forget_target(teacher, forget, noise, context)

        # The distance that each embedding has to go at the start is its unit, if asked for.
        scale = None
        if self.normalise:
            clean = outputs_of(teacher, forget, forget.rows, context.cached)
            scale = start_distances(clean, forget_target)

        # Pushing away needs a bound; pulling to the noisy copy has an end of its own.
        bounds = None
        if self.direction == "away" or self.setting == "no_noise":
            bounds = bounds_between(retain_target, retain.patients, scale)

        # Equation 5: weights that sum to 1.
        preset = WEIGHTS[self.setting]
        weights = (torch.tensor(preset) / sum(preset)).to(student.device)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            if self.redraw and noise is not None:
                noise_of_epoch = replace(noise, draw=epoch)
                forget_target = self._forget_target(teacher, forget, noise_of_epoch, context)

            means = Means(FourLosses._fields)
            forget_batches = forget.epoch(epoch)
            retain_batches = retain.batches(retain_rows[epoch])
            for forget_batch, retain_batch in zip(forget_batches, retain_batches, strict=True):
                # One forward pass for both batches.
                outputs = student(concatenate(forget_batch, retain_batch))
                forget_outputs, retain_outputs = split(outputs, len(forget_batch))

                losses = _four_losses(
                    unlearned_forget=views(forget_outputs, scale),
                    original_noisy=views(forget_target.of(forget_batch.row), scale),
                    unlearned_retain=views(retain_outputs, scale),
                    original_retain=views(retain_target.of(retain_batch.row), scale),
                    bounds=bounds,
                )
                terms = torch.stack(losses)
                total = (terms * weights.to(terms)).sum()
                context.step(total, optimiser, clip=self.clip)
                means.add(terms, len(forget_batch))
            context.log.epochs.append(means.read())
        return student

    def _noise(
        self, teacher: NetModule, loaders: GuardedLoaders, context: Context
    ) -> Perturbation | None:
        """The noise of the copies: none, calibrated on validation patients, or as given."""
        from forgetmi.unlearning.noise_calibration import calibrate_noise

        if self.setting == "no_noise":
            context.facts["noise"] = "none"
            return None

        image_std, text_level = self.noise_std, self.text_level
        if self.noise == "calibrated":
            image_std, text_level, facts = calibrate_noise(
                teacher, loaders, task=context.task, seed=context.seed, cached=context.cached
            )
            context.facts.update(facts)
        return Perturbation(
            image_mean=self.noise_mean,
            image_std=image_std,
            text_level=text_level,
            seed=context.seed,
        )

    def _forget_target(
        self,
        teacher: NetModule,
        forget: GuardedLoader,
        noise: Perturbation | None,
        context: Context,
    ) -> OutputTable:
        """The original's outputs for noisy copies of the forgotten samples.

        Without noise: its outputs for the samples themselves, moved by a fixed offset of length 1e-3, because the
        gradient of a distance that is 0 is 0.
        """
        from forgetmi.unlearning.joint_views import offset
        from forgetmi.unlearning.teacher import outputs_of, tabulate

        if noise is not None:
            noisy_batches = forget.batches(forget.rows, perturbation=noise)
            return tabulate(teacher, noisy_batches)
        clean = outputs_of(teacher, forget, forget.rows, context.cached)
        return offset(clean, seed=context.seed)


def _four_losses(
    *,
    unlearned_forget: Views,
    original_noisy: Views,
    unlearned_retain: Views,
    original_retain: Views,
    bounds: Bounds | None,
) -> FourLosses[Tensor]:
    """Equations 1 to 4; see `FourLosses`.

    Args:
        unlearned_forget: Forgotten samples under the model being unlearned.
        original_noisy: Their noisy copies under the original.
        unlearned_retain, original_retain: Retained samples under either.
        bounds: None pulls UU and MU to their targets; otherwise they are pushed away, up to these distances.
    """
    from forgetmi.unlearning.losses import away, keep, towards

    if bounds is None:
        uu = towards(unlearned_forget.unimodal, original_noisy.unimodal)
        mu = towards(unlearned_forget.joint, original_noisy.joint)
    else:
        uu = away(unlearned_forget.unimodal, original_noisy.unimodal, bound=bounds.unimodal)
        mu = away(unlearned_forget.joint, original_noisy.joint, bound=bounds.joint)

    ur = keep(unlearned_retain.unimodal, original_retain.unimodal)
    mr = keep(unlearned_retain.joint, original_retain.joint)
    return FourLosses(UU=uu, MU=mu, UR=ur, MR=mr)
