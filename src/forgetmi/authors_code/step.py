"""One step of the release's unlearning loop: forward passes, gates, four losses."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import nn

from forgetmi.authors_code.gate import ReleaseGate
from forgetmi.authors_code.losses import Embeddings, Losses, four_losses
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.inputs import Tokens
from forgetmi.model.image_text import ImageText


class Gates(NamedTuple):
    """The gate of each branch."""

    unlearned_forget: ReleaseGate
    original_noisy: ReleaseGate
    unlearned_retain: ReleaseGate
    original_retain: ReleaseGate

    @classmethod
    def fresh(cls, model: ImageText, *, whole_batch: bool = True, dropout: float = 0.1) -> Self:
        """Four gates with random weights from the global generator, in train mode."""
        width = model.spec.image.features

        # Drawn in the order of the branches.
        gates = []
        for _ in cls._fields:
            gate = ReleaseGate(width, whole_batch=whole_batch, dropout=dropout)
            gates.append(gate.to(model.device))
        return cls(*gates)

    @classmethod
    def shared(cls, model: ImageText, *, whole_batch: bool, dropout: float) -> Self:
        """The model's own gate for all branches, in train mode."""
        gate = ReleaseGate.of(model.gate, whole_batch=whole_batch, dropout=dropout)
        return cls(gate, gate, gate, gate)


def step_losses(
    student: ImageText,
    teacher: ImageText,
    *,
    forget: Batch,
    noisy: Batch,
    retain: Batch,
    gates: Gates,
    six_forwards: bool = True,
) -> Losses:
    """The four distances of one step; the student's gradient flows through them.

    The models' modes are left as they are. In train mode every forward pass moves running statistics, those of the
    teacher, too, and their order is the release's: retain, noisy, forget, the original first each time.

    Args:
        student, teacher: The model being unlearned and the original.
        forget, noisy, retain: Forgotten samples, their noisy copies, and retained samples.
        gates: Of this step.
        six_forwards: Whether the two passes that enter no loss are run, too.

    Source: training/forgetmi_partial of the Forget-MI release (arXiv 2506.23145).
    """
    # Retained samples under both models, the original first.
    with torch.no_grad():
        original_retain = teacher(retain)
    unlearned_retain = student(retain)

    # Noisy copies under the original; two more passes enter no loss, but move running statistics.
    with torch.no_grad():
        original_noisy = teacher(noisy)
        if six_forwards:
            student(noisy)
            teacher(forget)

    # Forgotten samples under the student.
    unlearned_forget = student(forget)

    return four_losses(
        unlearned_forget=_embeddings(unlearned_forget, gates.unlearned_forget),
        original_noisy=_embeddings(original_noisy, gates.original_noisy),
        unlearned_retain=_embeddings(unlearned_retain, gates.unlearned_retain),
        original_retain=_embeddings(original_retain, gates.original_retain),
    )


def _embeddings(outputs: Outputs, gate: ReleaseGate) -> Embeddings:
    """Embeddings of both encoders, and the joint one of a gate."""
    image, text = outputs.image_embedding, outputs.text_embedding
    if image is None or text is None:
        raise MethodError(Fault("this method needs a model with image and text embeddings"))

    return Embeddings(image, text, gate(image, text))


def padded(batch: Batch, length: int) -> Batch:
    """The batch with texts padded to that many tokens; longer ones are left as they are."""
    missing = max(0, length - batch.tokens.shape[1])
    ids = nn.functional.pad(batch.tokens, (0, missing))
    mask = nn.functional.pad(batch.mask, (0, missing))
    return batch.with_inputs(text=Tokens(ids, mask))
