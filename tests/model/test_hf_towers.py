"""Towers of the transformers library, on small random models that the tests make and store as published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as library_logging

from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.inputs import Tokens
from forgetmi.core.seeding import scope
from forgetmi.model.hf_config import image_rules
from forgetmi.model.tower_specs.hf import HfTextSpec, HfVisionSpec
from forgetmi.model.tower_specs.protocol import TrainingData

_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 40,
    "max_position_embeddings": 24,
}
TEXT: dict[str, dict[str, Any]] = {
    "bert": _SIZES,
    "roberta": {**_SIZES, "pad_token_id": 1},
    "distilbert": {
        **{"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        **{"vocab_size": 40, "max_position_embeddings": 24},
    },
    "electra": {**_SIZES, "embedding_size": 8},
    "modernbert": {
        **{**_SIZES, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        **{"cls_token_id": 1, "sep_token_id": 2},
    },
}
_VISION = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"intermediate_size": 24, "image_size": 32, "patch_size": 8},
}
VISION = {"vit": _VISION, "dinov2": _VISION, "dinov2_with_registers": _VISION}

# As RAD-DINO's own file has it, at another size
PREPROCESSOR = {
    "do_center_crop": True,
    "crop_size": {"height": 40, "width": 40},
    "size": {"shortest_edge": 48},
    "image_mean": [0.5307] * 3,
    "image_std": [0.2583] * 3,
    "rescale_factor": 1 / 255,
}
_NOTHING = TrainingData()


def stored(folder: Path, kind: str, sizes: dict[str, Any], *, trained: bool = True) -> Any:
    """A random model of the library, stored as a published one, with norms that a training would have moved."""
    library_logging.disable_progress_bar()
    with scope(0, kind):
        model = AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).eval()
        for weight in model.parameters():
            if trained and weight.ndim == 1:
                weight.data += 0.01 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return model


def loaded(spec: Any) -> Any:
    """The tower of a specification with its pretrained weights."""
    resolved = spec.resolve(_NOTHING)
    tower = resolved.build().eval()
    tower.load_state_dict(resolved.pretrained())
    return tower


def texts(pad: int) -> Tokens:
    """Three texts, the second of which is shorter."""
    ids = torch.arange(5, 26).reshape(3, 7)
    mask = torch.ones(3, 7, dtype=torch.int64)
    mask[1, 4:] = 0
    ids[1, 4:] = pad
    return Tokens(ids, mask)


@pytest.mark.parametrize("kind", list(TEXT))
@torch.no_grad()
def test_a_text_tower_embeds_as_the_library_does_whatever_stands_beside_a_text(
    kind: str, tmp_path: Path
) -> None:
    library = stored(tmp_path, kind, TEXT[kind])
    tower = loaded(HfTextSpec(source=str(tmp_path)))
    pad = tower.model.config.pad_token_id or 0
    batch = texts(pad)

    # The library's own first token, positions from behind the padding's id in RoBERTa's kind
    embedding = tower(batch)
    reference = library(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    assert embedding.shape == (3, tower.width)
    assert torch.allclose(embedding, reference[:, 0], atol=1e-6)

    # Alone, without padding
    alone = tower(Tokens(batch.ids[1:2, :4], batch.mask[1:2, :4]))
    assert torch.allclose(alone, embedding[1:2], atol=1e-5)

    # Word embeddings in place of the ids, which gradients reach
    soft = tower.soft(batch)
    assert torch.allclose(tower(soft), embedding, atol=1e-6)
    with torch.enable_grad():
        words = Tokens(soft.ids.detach().requires_grad_(True), soft.mask)
        tower(words)[:, 0].sum().backward()
    assert words.ids.grad is not None
    assert bool(words.ids.grad.any())

    # From any stage on
    for start in range(1, len(tower.stages()) + 1):
        between = tower(batch, stop=start)
        assert torch.equal(tower(Tokens(between, batch.mask), start=start), embedding)


@pytest.mark.parametrize("kind", list(TEXT))
def test_the_stages_of_a_text_tower_hold_all_its_weights(kind: str, tmp_path: Path) -> None:
    stored(tmp_path, kind, TEXT[kind])
    tower = HfTextSpec(source=str(tmp_path), random=True).resolve(_NOTHING).build()

    counted = 0
    for name in tower.stages():
        counted += sum(weight.numel() for weight in tower.get_submodule(name).parameters())
    assert counted == sum(weight.numel() for weight in tower.parameters())
    assert len(tower.stages()) >= 3


@torch.no_grad()
def test_mean_pooling_leaves_padding_out_and_is_taken_from_the_folder(tmp_path: Path) -> None:
    library = stored(tmp_path, "bert", TEXT["bert"])
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    tower = loaded(HfTextSpec(source=str(tmp_path)))
    batch = texts(0)

    hidden = library(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    assert tower.spec.pooling == "mean"
    assert torch.allclose(tower(batch)[1], hidden[1, :4].mean(0), atol=1e-6)


@pytest.mark.parametrize("kind", list(VISION))
@torch.no_grad()
def test_an_image_tower_takes_size_mean_and_deviation_from_its_own_files(
    kind: str, tmp_path: Path
) -> None:
    library = stored(tmp_path, kind, VISION[kind])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    tower = loaded(HfVisionSpec(source=str(tmp_path)))
    pixels = torch.rand(3, 1, 40, 40)
    assert tower.spec.size == 40

    # The class token of the library's last norm layer
    embedding = tower(pixels)
    colour = (pixels.expand(-1, 3, -1, -1) - 0.5307) / 0.2583
    options = {"interpolate_pos_encoding": True} if kind == "vit" else {}
    reference = library(pixel_values=colour, **options).last_hidden_state
    assert torch.allclose(embedding, reference[:, 0], atol=1e-6)
    assert torch.allclose(tower(pixels[1:2]), embedding[1:2], atol=1e-5)
    assert torch.equal(tower(tower.soft(pixels)), embedding)

    # The patches alone, without class token and registers
    mean = loaded(HfVisionSpec(source=str(tmp_path), pooling="mean"))
    assert torch.allclose(mean(pixels), reference[:, -25:].mean(1), atol=1e-6)

    for start in range(1, len(tower.stages()) + 1):
        assert torch.equal(tower(tower(pixels, stop=start), start=start), embedding)


def test_pixels_of_another_range_or_size_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, "vit", VISION["vit"])
    tower = HfVisionSpec(source=str(tmp_path), random=True).resolve(_NOTHING).build()

    with pytest.raises(MethodError, match=r"pixels are not in \[0, 1\]"):
        tower(torch.full((1, 1, 32, 32), 255.0))
    with pytest.raises(MethodError, match=r"pixels are not in \[0, 1\]"):
        tower(torch.full((1, 1, 32, 32), torch.nan))
    with pytest.raises(MethodError, match="it reads 1 or 3 channels of 32 x 32 pixels"):
        tower(torch.zeros(1, 1, 40, 40))


def test_a_folder_whose_encoder_needs_code_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "cxr-bert",
                "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"},
                "hidden_size": 768,
            }
        )
    )
    (tmp_path / "modeling_cxrbert.py").write_text("raise SystemExit('it ran')")

    with pytest.raises(SpecError, match="need Python code of their folder") as error:
        HfTextSpec(source=str(tmp_path)).resolve(_NOTHING)
    assert 'remove "auto_map"' in str(error.value)


@torch.no_grad()
def test_the_advice_for_such_a_folder_works(tmp_path: Path) -> None:
    # A BERT below "bert.", with a projection of its own, as CXR-BERT's weights are
    library = stored(tmp_path, "bert", TEXT["bert"])
    weights = {f"bert.{name}": value for name, value in library.state_dict().items()}
    weights["cls_projection_head.dense.weight"] = torch.zeros(4, 16)
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")

    tower = loaded(HfTextSpec(source=str(tmp_path)))
    batch = texts(0)
    reference = library(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state[:, 0]
    assert torch.allclose(tower(batch), reference, atol=1e-6)


def test_random_weights_under_a_pretrained_name_are_refused(tmp_path: Path) -> None:
    library = stored(tmp_path, "bert", TEXT["bert"])
    spec = HfTextSpec(source=str(tmp_path)).resolve(_NOTHING)

    # A whole layer is not there
    weights = {
        name: value for name, value in library.state_dict().items() if "layer.1." not in name
    }
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"lacks weights of the encoder.*encoder\.layer\.1\."):
        spec.pretrained()

    # Another model's weights altogether
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"and 3\d more"):
        spec.pretrained()

    # Nothing at all, and what stands for a file
    (tmp_path / "pytorch_model.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(SpecError, match="git-lfs pointer"):
        spec.pretrained()
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(SpecError, match="holds neither"):
        spec.pretrained()

    # All of them there, and never trained
    stored(tmp_path, "bert", TEXT["bert"], trained=False)
    with pytest.raises(SpecError, match=r"never trained.*random=true"):
        spec.pretrained()

    # Random weights are there for the asking
    assert HfTextSpec(source=str(tmp_path), random=True).resolve(_NOTHING).pretrained() is None


def test_a_file_that_is_not_only_tensors_is_not_unpickled(tmp_path: Path) -> None:
    stored(tmp_path, "bert", TEXT["bert"])
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Path("x")}, tmp_path / "pytorch_model.bin")

    with pytest.raises(SpecError, match="holds more than tensors"):
        HfTextSpec(source=str(tmp_path)).resolve(_NOTHING).pretrained()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "encoders of type 'gpt2' are not read"),
        ({"is_decoder": True}, "it is a decoder"),
        ({"quantization_config": {}}, "quantised"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000"),
    ],
)
def test_other_encoders_are_refused_by_their_configuration(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = {"model_type": "bert", **_SIZES, **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=message):
        HfTextSpec(source=str(tmp_path)).resolve(_NOTHING)


def test_texts_are_no_longer_than_the_positions_that_roberta_leaves(tmp_path: Path) -> None:
    stored(tmp_path, "roberta", TEXT["roberta"])
    tower = HfTextSpec(source=str(tmp_path), random=True).resolve(_NOTHING).build().eval()
    assert tower.spec.positions == 22

    for length in (22, 23):
        batch = Tokens(torch.full((1, length), 5), torch.ones(1, length, dtype=torch.int64))
        if length <= 22:
            assert tower(batch).shape == (1, 16)
            continue
        with pytest.raises(MethodError, match="a text has 23 tokens"):
            tower(batch)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("rescale_factor", None, "grey values are not scaled"),
        ("rescale_factor", 1.0, "grey values are not scaled"),
        ("crop_size", {"height": 40, "width": 41}, "no square"),
        ("crop_size", {"height": [40], "width": [40]}, "no square"),
        ("crop_size", 2**31, "no square"),
        ("image_mean", ["0.5", 0.5, 0.5], "no mean and standard deviation"),
        ("image_std", [0.0], "no mean and standard deviation"),
        ("image_std", [1e300], "no mean and standard deviation"),
    ],
)
def test_settings_of_images_that_no_film_can_have_are_refused(
    name: str, value: Any, what: str, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, name: value}))
    with pytest.raises(SpecError, match=what):
        image_rules(tmp_path)
