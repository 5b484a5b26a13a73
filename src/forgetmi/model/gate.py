"""The multimodal adaptation gate: one embedding of the link between an image and its report."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forgetmi.errors import Fault, MethodError
from forgetmi.model.initialise import initialise
from forgetmi.model.modes import evaluating
from forgetmi.seeding import torch_generator
from forgetmi.types import Epochs

if TYPE_CHECKING:
    from forgetmi.model.image_text import ImageText


class MultimodalAdaptationGate(nn.Module):
    """Shift the image embedding by what the report adds: ``LayerNorm(e_i + alpha h)``.

    With g = sigmoid(a.[e_i; e_t]) and h = W [e_i; g e_t], alpha = min(beta |e_i| / (|h| + 1e-8), 1) for each sample.

    Args:
        width: Width d of both embeddings.
        beta: Largest length of the shift, as a multiple of the image embedding's, > 0.

    Source: the gate of Rahman et al. 2020 (ACL) in the form of the Forget-MI release, whose parameter names are kept.
    Deviations from the release: norms are taken per sample, not over the whole batch (a sample's embedding does not
    depend on its batch mates); beta is fixed at 1, not a random parameter; no dropout; the gate is fitted once instead
    of drawn anew at each step.
    """

    def __init__(self, width: int, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta
        self.fc1 = nn.Linear(2 * width, 1)
        self.fc2 = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Joint embedding.

        Args:
            image, text: Float[b, d] embeddings.

        Returns:
            Float[b, d].
        """
        weight = torch.sigmoid(self.fc1(torch.cat([image, text], dim=1)))
        shift = self.fc2(torch.cat([image, weight * text], dim=1))
        length, longest = (torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (shift, self.beta * image))
        alpha = (longest / (length + 1e-8)).clamp(max=1.0)
        return self.norm(image + alpha * shift)


def fit_gate(model: ImageText, loader: Epochs, *, seed: int, steps: int = 300, lr: float = 1e-3) -> None:
    """Fit the gate, in place, so that a throw-away class head can read the label from the joint embedding.

    The gate starts from its initial weights; the encoders and heads do not change. Their embeddings are computed once,
    in eval mode. After unlearning, fit it again on retained patients so that nothing fitted on the forgotten is kept.

    Args:
        model: The trained model.
        loader: Rows to fit on; those with label -1 are left out.
        seed: Root seed.
        steps: Steps of Adam, >= 0.
        lr: Learning rate of Adam.

    Raises:
        MethodError: No row has a label, or the fit diverges.
    """
    parts = []
    with evaluating(model), torch.no_grad():
        for batch in loader.epoch(0):
            batch = batch.to(model.device)
            known = batch.label >= 0
            outputs = model(batch)
            parts.append((batch.label[known], outputs.image_embedding[known], outputs.text_embedding[known]))
    label, image, text = (torch.cat(part) for part in zip(*parts, strict=True))
    if len(label) == 0:
        raise MethodError(Fault("the gate cannot be fitted", why="no row has a label", do="Use rows with labels."))
    initialise(model, seed=seed, names=("gate",))
    gate = copy.deepcopy(model.gate).requires_grad_(True)
    weight, bias = (torch.zeros(*shape, device=model.device, requires_grad=True)
                    for shape in ((model.spec.classes, image.shape[1]), (model.spec.classes,)))
    optimiser = torch.optim.Adam([*gate.parameters(), weight, bias], lr=lr)
    draw = torch_generator(seed, "gate", "rows")
    for step in range(steps):
        rows = torch.randperm(len(label), generator=draw)[:256].to(label.device)
        logits = nn.functional.linear(gate(image[rows], text[rows]), weight, bias)
        loss = nn.functional.cross_entropy(logits, label[rows])
        if not bool(torch.isfinite(loss)):
            raise MethodError(Fault(f"the gate's loss became {float(loss)} at step {step}", why=f"learning rate {lr}"))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    model.gate.load_state_dict(gate.state_dict())
