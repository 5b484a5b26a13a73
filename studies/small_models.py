"""Small models of a user's own for the studies: films alone, films and reports, measured values and reports."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forgetmi import Batch, Sizes, adapt
from forgetmi.model.adapted import Adapted


class Films(nn.Module):
    """A small convolution net."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16), nn.ReLU()
        )
        self.middle = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.ReLU()
        )
        self.last = nn.Sequential(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU())
        self.out = nn.Linear(64, sizes.classes)
        self.pool = nn.AdaptiveAvgPool2d(1)


def _film(model: Films, batch: Batch) -> dict[str, Tensor]:
    """From films to their embedding."""
    maps = model.last(model.middle(model.stem(batch.image)))
    return {"image": model.pool(maps).flatten(1)}


def films(sizes: Sizes) -> Adapted:
    """A model that reads films alone."""
    return adapt(
        Films(sizes),
        modalities=("image",),
        embeddings=_film,
        heads={"image": "out"},
        stages={"image": ("stem", "middle", "last")},
    )


class Ward(nn.Module):
    """Measured values and a report, each with a head."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.values = nn.Sequential(
            nn.BatchNorm1d(len(sizes.columns)),
            nn.Linear(len(sizes.columns), 64),
            nn.ReLU(),
        )
        self.values_out = nn.Linear(64, sizes.classes)
        self.words = nn.Embedding(sizes.vocabulary, 64, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.text_out = nn.Linear(64, sizes.classes)


def _measured(model: Ward, batch: Batch) -> dict[str, Tensor]:
    """From values and reports to their embeddings; a value that is missing is 0."""
    table = batch.inputs["table"]
    assert isinstance(table, Tensor)
    weight = batch.mask[:, :, None].to(torch.float32)
    text = (model.words(batch.tokens) * weight).sum(1) / weight.sum(1).clamp(min=1)
    return {"table": model.values(table.nan_to_num()), "text": model.text(text)}


def ward(sizes: Sizes) -> Adapted:
    """A model that reads a table and texts."""
    return adapt(
        Ward(sizes),
        modalities=("table", "text"),
        embeddings=_measured,
        heads={"table": "values_out", "text": "text_out"},
        stages={"table": ("values",), "text": ("words", "text")},
        words="words",
    )


class Clinic(nn.Module):
    """Films by convolutions and reports by the mean of their words, each with a head."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.film = Films(sizes)
        self.words = nn.Embedding(sizes.vocabulary, 64, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.text_out = nn.Linear(64, sizes.classes)


def _both(model: Clinic, batch: Batch) -> dict[str, Tensor]:
    """From films and reports to their embeddings."""
    weight = batch.mask[:, :, None].to(torch.float32)
    text = (model.words(batch.tokens) * weight).sum(1) / weight.sum(1).clamp(min=1)
    return {**_film(model.film, batch), "text": model.text(text)}


def _product(model: Clinic, embeddings: Mapping[str, Tensor]) -> Tensor:
    """One embedding of a film and its report."""
    return embeddings["image"] * embeddings["text"]


def clinic(sizes: Sizes) -> Adapted:
    """A model that reads films and reports; small enough to be trained in seconds."""
    return adapt(
        Clinic(sizes),
        embeddings=_both,
        joint=_product,
        heads={"image": "film.out", "text": "text_out"},
        stages={"image": ("film.stem", "film.middle", "film.last"), "text": ("words", "text")},
        words="words",
    )
