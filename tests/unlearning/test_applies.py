"""Why a method does not apply is said of the model that is there."""

from __future__ import annotations

import torch
from torch import nn

from forgetmi.core.batch import Batch
from forgetmi.core.inputs import Tokens
from forgetmi.methods.ct import CT
from forgetmi.model.adapted import Adapted, adapt
from forgetmi.model.tasks.classes import CLASSES
from forgetmi.unlearning.applies import applies


def model(modality: str) -> Adapted:
    """Of one modality, without a convolution."""
    module = nn.ModuleDict({"first": nn.Linear(4, 3), "head": nn.Linear(3, 2)})

    def embeddings(own: nn.ModuleDict, batch: Batch) -> dict[str, torch.Tensor]:
        values = batch.inputs[modality]
        assert not isinstance(values, Tokens)
        return {modality: own["first"](values.flatten(1))}

    return adapt(
        module,
        modalities=(modality,),
        embeddings=embeddings,  # type: ignore[arg-type]
        heads={modality: "head"},
        stages={modality: ("first",)},
    )


def test_a_model_without_an_image_tower_is_not_told_of_its_image_tower() -> None:
    assert applies(CT, model("table"), CLASSES).endswith("the model reads no images")
    assert applies(CT, model("image"), CLASSES).endswith("image tower have none")
