from __future__ import annotations

import pytest
import torch

from forgetmi.core.errors import SpecError
from forgetmi.model.image_resnet import ImageResNet
from forgetmi.model.spec import ResNetSpec, compact


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_paper_sizes():
    model = ImageResNet(ResNetSpec(), 4).eval()
    assert count(model) == 3_313_548
    with torch.no_grad():
        embedding, logits = model(torch.rand(1, 1, 2048, 2048))
    assert embedding.shape == (1, 768)
    assert logits.shape == (1, 4)


@pytest.mark.parametrize(
    ("side", "features"), [(1537, 768), (2048, 768), (2560, 768), (1536, 192), (2561, 1728)]
)
def test_features_follow_the_last_map(side, features):
    model = ResNetSpec(size=side)
    maps = model.map_side() // 2
    assert model.features == 192 * maps * maps == features


def test_map_side_equals_the_real_one():
    for side in range(17, 50, 3):
        spec = ResNetSpec(
            size=side, stem_stride=3, stem_width=2, widths=(2, 2), blocks=1, pooling="global"
        )
        seen = []
        model = ImageResNet(spec, 2).eval()
        model.pool.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0].shape[-1]))
        model(torch.rand(1, 1, side, side))
        assert seen == [spec.map_side()]


def test_release_key_layout():
    keys = set(ImageResNet(ResNetSpec(), 4).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "fc1.weight", "fc1.bias", *(f"bn1.{n}" for n in norm)}
    for stage in range(1, 8):
        for block in (0, 1):
            for i in (1, 2):
                expected |= {
                    f"layer{stage}.{block}.conv{i}.weight",
                    *(f"layer{stage}.{block}.bn{i}.{n}" for n in norm),
                }
        expected |= {
            f"layer{stage}.0.downsample.0.weight",
            *(f"layer{stage}.0.downsample.1.{n}" for n in norm),
        }
    assert keys == expected


def test_compact_size():
    assert 690_000 < count(ImageResNet(compact(4, 890).image, 4)) < 710_000
    assert compact(4, 890).image.features == 128


def test_too_small_for_the_pooling_is_refused_at_construction():
    with pytest.raises(
        SpecError, match=r"images of 64 pixels are too small.*Use at least 513 pixels"
    ):
        ResNetSpec(size=64)
    assert ResNetSpec(size=513).map_side() == 2


def test_another_size_is_refused_at_forward():
    model = ImageResNet(ResNetSpec(size=64, stem_width=2, widths=(2, 2), blocks=1), 2).eval()
    with pytest.raises(SpecError, match="96x96 pixels do not fit"):
        model(torch.rand(1, 1, 96, 96))
    model(torch.rand(1, 1, 64, 64))


def test_all_faults_at_once():
    with pytest.raises(SpecError) as caught:
        ResNetSpec(stem_stride=0, blocks=0, widths=(0,))
    assert len(caught.value.faults) == 3
