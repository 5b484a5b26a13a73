"""Models that this package knows nothing of: ViT with DistilBERT, images alone, a table with a text."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi import Batch, Outputs, Sizes, adapt
from forgetmi.model.factory import own_spec

# Columns of the table that the tests give the third model
COLUMNS = ("age", "pulse", "creatinine")


class Films(nn.Module):
    """A small convolution net whose author knew one modality."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=4, padding=1), nn.GroupNorm(2, 8), nn.ReLU()
        )
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU())
        self.out = nn.Linear(12, sizes.classes)


def film_embedding(model: Films, batch: Batch) -> dict[str, Tensor]:
    return {"image": model.body(model.stem(batch.image)).mean(dim=(2, 3))}


def films(sizes: Sizes) -> Any:
    return adapt(
        Films(sizes),
        modalities=("image",),
        embeddings=film_embedding,
        heads={"image": "out"},
        stages={"image": ("stem", "body")},
    )


class Ward(nn.Module):
    """Laboratory values and a report, joined before the only prediction; nothing is named but what must be."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.values = nn.Sequential(nn.Linear(2 * len(COLUMNS), 8), nn.ReLU())
        self.words = nn.Embedding(sizes.vocabulary, 8, padding_idx=0)
        self.last = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, sizes.classes))

    def forward(self, batch: Batch) -> Outputs:
        table = batch.inputs["table"]
        assert isinstance(table, Tensor)
        missing = table.isnan()
        values = self.values(torch.cat([table.nan_to_num(), missing.to(table)], dim=1))

        weight = batch.mask[:, :, None].to(values)
        text = (self.words(batch.tokens) * weight).sum(1) / weight.sum(1).clamp(min=1)
        return Outputs({"risk": self.last(torch.cat([values, text], dim=1))})


def ward(sizes: Sizes) -> Any:
    return adapt(Ward(sizes), modalities=("table", "text"), forward=Ward.forward)


# As they are named on a command line
NAMES: dict[str, str] = {
    "ViT + DistilBERT": "examples.own_model:factory",
    "image only": "tests.contract.foreign:films",
    "table + text": "tests.contract.foreign:ward",
}


class WithTable:
    """A cohort's samples with three laboratory values each, some of them missing.

    Args:
        samples: Images and reports.
    """

    def __init__(self, samples: Any) -> None:
        self.samples = samples
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn((len(samples), len(COLUMNS)), generator=generator)
        self.table[::3, 1] = torch.nan

    def __len__(self) -> int:
        return len(self.samples)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.samples, name)

    def batch(self, rows: Any, **more: Any) -> Batch:
        """With the table beside what there is."""
        batch = self.samples.batch(rows, **more)
        return batch.with_inputs(table=self.table[batch.row])


def prepared_for(kind: str, prepared: Any) -> Any:
    """A cohort, prepared for this package's own model, made ready for a foreign one."""
    spec = prepared.spec
    columns = COLUMNS if "table" in kind else ()
    longest = prepared.records.tokenizer.max_length
    sizes = Sizes(spec.classes, spec.image.size, spec.text.vocabulary, longest, columns)
    records = WithTable(prepared.records) if columns else prepared.records
    return dataclasses.replace(prepared, spec=own_spec(NAMES[kind], sizes), records=records)
