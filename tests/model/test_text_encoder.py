from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig

from forgetmi.core.errors import SpecError
from forgetmi.model.execution import Execution
from forgetmi.model.initial_weights import initialise
from forgetmi.model.initialise import build
from forgetmi.model.pretrained import pretrained_text
from forgetmi.model.spec import ModelSpec, TextEncoderSpec, compact
from forgetmi.model.text_encoder import TextEncoder


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_compact_size():
    text = compact(4, 890).text
    model = TextEncoder(text, width=128, classes=4)
    assert 400_000 < sum(p.numel() for p in model.parameters()) < 420_000
    assert not list(model.projection.parameters())


def test_padding_does_not_matter(spec):
    text = TextEncoder(spec.text, width=8, classes=4).eval()
    tokens, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    short, _ = text(tokens, mask)
    pad = torch.nn.functional.pad
    long, _ = text(pad(tokens, (0, 5), value=11), pad(mask, (0, 5)))
    torch.testing.assert_close(short, long, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 3])
def test_outputs_and_gradients_are_those_of_the_whole_encoder(spec, layers: int):
    text = TextEncoder(replace(spec.text, layers=layers), width=8, classes=4).eval()
    tokens = torch.randint(
        5, spec.text.vocabulary, (3, 7), generator=torch.Generator().manual_seed(0)
    )
    mask = (torch.arange(7) < torch.tensor([[7], [4], [1]])).long()
    whole = text.projection(text.bert(tokens, attention_mask=mask).pooler_output)
    found, _ = text(tokens, mask)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
    weights = torch.randn(whole.shape, generator=torch.Generator().manual_seed(1))
    parameters = list(text.bert.parameters())
    for one, two in zip(
        torch.autograd.grad((found * weights).sum(), parameters),
        torch.autograd.grad((whole * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_recomputed_activations_change_no_gradient(spec, samples):
    found = []
    for again, training in ((False, False), (True, False), (False, True), (True, True)):
        model = build(replace(spec, text=replace(spec.text, layers=2)), seed=0).train(training)
        model.execution = Execution(recompute=again)
        torch.manual_seed(0)  # dropout
        outputs = model(samples(4, batch_size=4).all)
        (outputs.image_logits.sum() + outputs.text_logits.square().sum()).backward()
        found.append(
            (
                {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
                {name: value.clone() for name, value in model.named_buffers()},
            )
        )
    for (kept, before), (computed, after) in ((found[0], found[1]), (found[2], found[3])):
        assert kept.keys() == computed.keys()
        assert all(torch.equal(kept[name], computed[name]) for name in kept)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_forward_from_word_embeddings_equals_forward_from_tokens(spec):
    text = TextEncoder(spec.text, width=8, classes=4).eval()
    tokens, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    inputs = text.embed(tokens).detach().requires_grad_()
    for one, two in zip(text(tokens, mask), text(tokens, mask, inputs=inputs), strict=True):
        assert torch.equal(one, two)
    text(tokens, mask, inputs=inputs)[1][0, 0].backward()
    assert float(inputs.grad.norm()) > 0


def test_too_long_text_is_refused(spec):
    text = TextEncoder(spec.text, width=8, classes=4)
    with pytest.raises(SpecError, match="17 tokens"):
        text(torch.ones(1, 17, dtype=torch.long), torch.ones(1, 17, dtype=torch.long))


def test_faults_are_listed_together():
    with pytest.raises(SpecError) as caught:
        TextEncoderSpec(layers=0, dropout=1.0)
    assert len(caught.value.faults) == 2
    with pytest.raises(SpecError, match="multiple of heads"):
        TextEncoderSpec(hidden=10, heads=4)


def test_pretrained_weights_are_used_and_restored(pretrained: Path, spec: ModelSpec):
    text = pretrained_text(str(pretrained))
    assert (text.hidden, text.layers, text.vocabulary, text.positions) == (8, 2, 50, 16)
    stored = BertModel.from_pretrained(pretrained).state_dict()
    model = build(replace(spec, text=text), seed=3)
    for name, value in stored.items():
        assert torch.equal(model.text_model.bert.state_dict()[name], value), name
    with torch.no_grad():
        for parameter in model.text_model.bert.parameters():
            parameter.fill_(7.0)
    initialise(model, seed=4, names=["text_model.bert.encoder.layer.1"])
    state = model.text_model.bert.state_dict()
    for name, value in stored.items():
        expected = value if name.startswith("encoder.layer.1.") else torch.full_like(value, 7.0)
        assert torch.equal(state[name], expected), name


def test_weights_the_directory_lacks_are_keyed_by_the_seed(tmp_path: Path, spec: ModelSpec):
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "headless")
    text = pretrained_text(str(tmp_path / "headless"))
    plain = build(replace(spec, text=replace(text, pretrained="")), seed=5)
    model = build(replace(spec, text=text), seed=5)
    assert torch.equal(
        model.text_model.bert.pooler.dense.weight, plain.text_model.bert.pooler.dense.weight
    )


def test_other_width_is_projected(pretrained: Path, spec: ModelSpec, samples):
    wide = replace(
        spec, text=pretrained_text(str(pretrained)), image=replace(spec.image, widths=(4, 20))
    )
    model = build(wide, seed=0).eval()
    outputs = model(samples(3, batch_size=3).all)
    assert outputs.text_embedding.shape == outputs.image_embedding.shape == (3, 20)
    assert model.text_model.projection.weight.shape == (20, 8)


def test_sizes_must_agree(pretrained: Path, spec: ModelSpec):
    text = replace(pretrained_text(str(pretrained)), layers=1, intermediate=32)
    with pytest.raises(SpecError) as caught:
        build(replace(spec, text=text), seed=0)
    assert len(caught.value.faults) == 2


def test_missing_or_foreign_directories_are_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="cannot be read"):
        pretrained_text(str(tmp_path / "absent"))
    DistilBertConfig().save_pretrained(tmp_path / "other")
    with pytest.raises(SpecError, match="not a BERT model"):
        pretrained_text(str(tmp_path / "other"))
    BertConfig(hidden_act="relu", type_vocab_size=1).save_pretrained(tmp_path / "unusual")
    with pytest.raises(SpecError) as caught:
        pretrained_text(str(tmp_path / "unusual"))
    assert len(caught.value.faults) == 2
