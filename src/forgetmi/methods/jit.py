"""JiT: make the model flat around each forgotten sample, reading nothing else."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import mean_of_those_there, own_heads
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.core.net import Need
from forgetmi.core.ranges import Draws, Epochs, LearningRate, Weight
from forgetmi.core.seeding import torch_generator
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise
from forgetmi.unlearning.losses import distance


@dataclass(frozen=True)
class JiT:
    """Just in time: shrink how much the logits change between a forgotten sample and noisy copies of it.

    For each modality the mean over copies of ``|f(x) - f(x')| / |x - x'|``, a local Lipschitz constant; no gradient
    flows through the noisy copies. Use it where neither labels nor any other patient's data are at hand. Nothing keeps
    the others in place: watch the utility of each class.

    Args:
        copies: Noisy copies of each sample a step, >= 1.
        image_std: Standard deviation of the image noise, pixel values in [0, 1], >= 0.
        text_std: Standard deviation of the noise on word embeddings, as a multiple of theirs in the batch, >= 0.
        epochs: Passes over the forget set, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0; no other data would repair what it costs.
        clip: Largest gradient norm, 0 = none.

    Source: Foster et al. 2024 (arXiv 2402.01401), repository Zeroshot-Unlearning-At-Scale (``lipschitz.py``; one pass
    of SGD, 25 copies, standard deviation 0.01 at rate 3e-4 for a VGG16, 0.5 at 0.1 or 0.8 at 1.5 for a ViT).
    Deviations: noise, rate and passes tuned (docs/tuning.md); each modality has its own constant, since each head sees
    one; the mean over a batch, not the sum; AdamW, whose step does not depend on the size of the constant; the text's
    input are its word embeddings, whose table stays as it is; batch statistics of evaluation and no dropout, which the
    code leaves open; differences of the logits below 1e-4 count less (see `losses.distance`), so that the gradient is
    finite at 0.

    Examples:
        >>> method = JiT(copies=10)
        >>> method.copies, method.info.exact
        (10, False)
        >>> sorted(method.info.reads)
        ['forget']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="JiT",
        paper="Foster et al., 2024, arXiv 2402.01401",
        summary="The model is made indifferent to small changes of the forgotten patients' images and reports; nothing "
        "else is read.",
        reads=frozenset({"forget"}),
        exact=False,
        cost="(1 + copies / 3) x |forget| / |retain|",
        suits="withdrawals where only the forgotten patients' data are at hand",
        own_epochs=True,
        search={"lr": (2e-5, 5e-5, 2e-4), "epochs": (1, 3), "image_std": (0.05, 0.1, 0.2)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"words", "noise", "predictions"})

    copies: Draws = 25
    image_std: float = 0.1
    text_std: float = 0.5
    epochs: Epochs = 3
    lr: LearningRate = 5e-5
    weight_decay: Weight = 0.0
    clip: Weight = 5.0

    def __post_init__(self) -> None:
        if not (self.copies >= 1 and self.image_std >= 0 and self.text_std >= 0):
            raise MethodError(
                Fault("copies must be at least 1, both deviations at least 0", where="jit")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model).eval()

        # What joins the embeddings and the table of word embeddings stay as they are.
        free_but_joining(student)
        if student.words:
            student.get_submodule(student.words).requires_grad_(False)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            # New noise in each epoch.
            generator = torch_generator(context.seed, "unlearn", "lipschitz", epoch)

            def objective(
                batch: Batch, generator: torch.Generator = generator
            ) -> dict[str, Tensor]:
                return self._terms(student, batch, generator)

            batches = loaders.forget.epoch(epoch)
            means = minimise(batches, objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student.requires_grad_(True)

    def _terms(
        self, student: NetModule, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Local Lipschitz constant of each modality, the mean over the copies."""
        # The text's input are its word embeddings.
        inputs = {name: student.embed(batch, name).detach() for name in student.modalities}
        clean = student(batch, text_inputs=inputs.get(TEXT))

        constants: list[Tensor] = []
        for _ in range(self.copies):
            copies = {
                name: self._disturbed(name, values, batch, generator)
                for name, values in inputs.items()
            }

            # No gradient flows through the noisy copies.
            with torch.no_grad():
                disturbed = batch
                if IMAGE in copies:
                    disturbed = batch.with_inputs(image=copies[IMAGE])
                noisy = student(disturbed, text_inputs=copies.get(TEXT))

            # Change of the logits over change of the input.
            of_copy = [
                mean_of_those_there(
                    lipschitz,
                    (_logits(clean, name), _logits(noisy, name), values, copies[name]),
                    batch.present.get(name),
                )
                for name, values in inputs.items()
            ]
            constants.append(torch.stack(of_copy))

        mean = torch.stack(constants).mean(dim=0)
        return dict(zip(inputs, mean, strict=True))

    def _disturbed(
        self, modality: str, values: Tensor, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """A noisy copy of one modality's input; padding gets no noise."""
        if modality == IMAGE:
            return disturb(values, std=self.image_std, generator=generator)

        std = self.text_std * float(values[batch.mask.bool()].std(correction=0))
        noisy_words = disturb(values, std=std, generator=generator)
        return torch.lerp(values, noisy_words, batch.mask[:, :, None].to(values))


def _logits(out: Outputs, modality: str) -> Tensor:
    """The logits in which a modality speaks, Float[b, k]."""
    return torch.cat([out.head(name) for name in own_heads(out, modality)], dim=1)


def disturb(values: Tensor, *, std: float, generator: torch.Generator) -> Tensor:
    """Values plus normal noise, kept between their smallest and largest.

    Args:
        values: Float of any shape.
        std: Standard deviation, >= 0.
        generator: On the CPU, so that the draw is the same on every device.
    """
    # Drawn on the CPU.
    noise = torch.randn(values.shape, generator=generator).to(values)
    return (values + std * noise).clamp(values.min(), values.max())


def lipschitz(clean: Tensor, noisy: Tensor, x: Tensor, disturbed: Tensor) -> Tensor:
    """Mean over the samples of |f(x) - f(x')| / |x - x'|; a sample that the noise leaves as it is counts 0.

    Args:
        clean, noisy: Float[b, k], f(x) and f(x'); no gradient flows into the second.
        x, disturbed: Float[b, ...], x and x'.

    Returns:
        Scalar, >= 0.
    """
    input_distance = (x - disturbed).flatten(1).norm(dim=1)
    output_distance = distance(clean, noisy.detach())
    return (output_distance / input_distance.clamp(min=1e-8)).mean()
