"""A model of your own: a Hugging Face ViT and a DistilBERT with a forward and a checkpoint format of their own.

Every command works on it, e.g. (see docs/bring_your_own_model.md):

    forgetmi methods --model-from examples.own_model:factory
    forgetmi run --out run --model-from examples.own_model:factory --images.size 32 --method cf_k
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import DistilBertConfig, DistilBertModel, ViTConfig, ViTModel

import forgetmi
from forgetmi.model.adapted import Adapted


class FilmAndReport(nn.Module):
    """The model as it is: made for a project of its own, without a thought of unlearning."""

    def __init__(self, sizes: forgetmi.Sizes) -> None:
        super().__init__()
        film = ViTConfig(
            image_size=sizes.image,
            patch_size=8,
            num_channels=1,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
        )
        report = DistilBertConfig(
            vocab_size=sizes.vocabulary,
            max_position_embeddings=sizes.longest,
            dim=32,
            n_layers=2,
            n_heads=2,
            hidden_dim=64,
        )
        self.film = ViTModel(film)
        self.report = DistilBertModel(report)
        self.film_head = nn.Linear(32, sizes.classes)
        self.report_head = nn.Linear(32, sizes.classes)

    def encode(self, films: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        film = self.film(films * 2 - 1).last_hidden_state[:, 0]
        return film, self.report(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]


# What forgetmi is told of it


def embeddings(model: FilmAndReport, batch: forgetmi.Batch) -> dict[str, Tensor]:
    """From a batch to the embedding of each modality."""
    film, report = model.encode(batch.image, batch.tokens, batch.mask)
    return {"image": film, "text": report}


def joint(model: FilmAndReport, embeddings: Mapping[str, Tensor]) -> Tensor:
    """One embedding of both, for methods that look at the link between them."""
    return embeddings["image"] * embeddings["text"]


def save(model: FilmAndReport, folder: Path) -> None:
    """The project's own checkpoint format."""
    torch.save({"version": 7, "weights": model.state_dict()}, folder / "project.pt")


def load(model: FilmAndReport, folder: Path) -> None:
    """Read it back."""
    model.load_state_dict(torch.load(folder / "project.pt", weights_only=True)["weights"])


def factory(sizes: forgetmi.Sizes) -> Adapted:
    """A new model, adapted; torch's generator is set to the run's seed while it is made."""
    return forgetmi.adapt(
        FilmAndReport(sizes),
        embeddings=embeddings,
        joint=joint,
        heads={"image": "film_head", "text": "report_head"},
        stages={
            "image": ("film.embeddings", "film.layers.0", "film.layers.1", "film.layernorm"),
            "text": (
                "report.embeddings",
                "report.transformer.layer.0",
                "report.transformer.layer.1",
            ),
        },
        words="report.embeddings.word_embeddings",
        save=save,
        load=load,
    )


if __name__ == "__main__":
    # The parts that methods will work on
    model = factory(forgetmi.Sizes(classes=4, image=32, vocabulary=200, longest=64))
    for name, part in sorted(model.parts().items()):
        print(f"{name}: {len(part.names)} tensors")
