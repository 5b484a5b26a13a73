"""The text encoder: BERT with a pooled [CLS] embedding and a linear head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.spec import TextEncoderSpec

_PAD = 0


class TextEncoder(nn.Module):
    """BERT, pooled [CLS] (tanh), dropout, linear head.

    Nothing reads the last layer's other tokens, so that layer computes [CLS] alone: a third of the work of two layers.

    Args:
        spec: Sizes.
        width: Width d of the image embedding; a linear projection follows the pooling where BERT's width differs,
            because the ranking loss and the gate need equal widths.
        classes: Number k of classes.

    Source: the text branch of Chauhan et al. 2020 (arXiv 2008.09884). Deviations: the projection; eager attention.
    """

    def __init__(self, spec: TextEncoderSpec, *, width: int, classes: int) -> None:
        super().__init__()
        self.spec = spec

        # BERT of the given sizes.
        self.bert = BertModel(
            BertConfig(
                vocab_size=spec.vocabulary,
                hidden_size=spec.hidden,
                num_hidden_layers=spec.layers,
                num_attention_heads=spec.heads,
                intermediate_size=spec.intermediate,
                pad_token_id=_PAD,
                max_position_embeddings=spec.positions,
                hidden_dropout_prob=spec.dropout,
                attention_probs_dropout_prob=spec.attention_dropout,
            )
        )
        self.bert.set_attn_implementation("eager")

        # Head, on an embedding as wide as the image's.
        self.dropout = nn.Dropout(spec.dropout)
        self.projection: nn.Module = nn.Identity()
        if spec.hidden != width:
            self.projection = nn.Linear(spec.hidden, width)
        self.classifier = nn.Linear(width, classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """Word embeddings of token ids: Int64[b, l] -> Float[b, l, hidden], what `forward` takes as ``inputs``."""
        return self.bert.embeddings.word_embeddings(tokens)

    def steps(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each step from the tokens to the embedding: embeddings, every layer, pooling."""
        layers = [(layer,) for layer in self._layers()]
        pooler = cast(nn.Module, self.bert.pooler)
        return (self.bert.embeddings,), *layers, (pooler, self.dropout, self.projection)

    def encode(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        inputs: Tensor | None = None,
        start: int = 0,
        stop: int | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Run some of the `steps`, the first of them at least where ``start`` is 0.

        Args:
            x: Int64[b, l] token ids, not read where ``inputs`` is given; or the output of the step before ``start``.
            mask: Int64[b, l], 1 = a token, 0 = padding.
            inputs: As for `forward`.
            start, stop: First step, and the one to stop before; None = all up to the embedding.
            recompute: Compute the layers' activations again in the backward pass.
        """
        # The first step: word, position and type embeddings.
        if start == 0:
            words = {"input_ids": x}
            if inputs is not None:
                words = {"inputs_embeds": inputs}
            x = self.bert.embeddings(**words)

        # Attention scores of padding become the smallest number there is.
        padding = torch.zeros_like(mask, dtype=x.dtype)
        padding = padding.masked_fill(mask == 0, torch.finfo(x.dtype).min)
        padding = padding[:, None, None, :]

        # The steps after the embeddings; the last layer computes the first token alone.
        *lower, last = self._layers()
        recompute = recompute and torch.is_grad_enabled()
        steps: list[Callable[[Tensor], Tensor]] = []
        for layer in lower:
            steps.append(partial(_all_tokens, layer, padding=padding, recompute=recompute))
        steps.append(partial(_first_token, last, padding=padding))
        steps.append(self._pool)

        # The embeddings were step 0, so the list starts at step 1.
        end = None if stop is None else stop - 1
        for step in steps[max(0, start - 1) : end]:
            x = step(x)
        return x

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        *,
        inputs: Tensor | None = None,
        start: int = 0,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Embed and classify.

        Args:
            tokens: Int64[b, l] token ids, not read where ``inputs`` is given; or the output of the step before
                ``start``.
            mask: Int64[b, l], 1 = a token, 0 = padding.
            inputs: Float[b, l, hidden] word embeddings in place of the tokens' own (see `embed`).
            start: First of the `steps` to run.
            recompute: As for `encode`.

        Returns:
            Embedding Float[b, d] and logits Float[b, k].

        Raises:
            SpecError: The texts are longer than the model's positions.
        """
        if mask.shape[1] > self.spec.positions:
            raise SpecError(
                Fault(
                    f"a text has {mask.shape[1]} tokens",
                    where="text encoder",
                    why=f"the model holds {self.spec.positions} positions",
                    do="Cut reports when they are tokenised.",
                )
            )

        embedding = self.encode(tokens, mask, inputs=inputs, start=start, recompute=recompute)
        return embedding, self.classifier(embedding)

    def _layers(self) -> list[BertLayer]:
        """The transformer layers, by depth."""
        return cast(list[BertLayer], list(self.bert.encoder.layer))

    def _pool(self, first: Tensor) -> Tensor:
        pooler = cast(nn.Module, self.bert.pooler)
        return self.projection(self.dropout(pooler(first)))


def _all_tokens(layer: BertLayer, hidden: Tensor, *, padding: Tensor, recompute: bool) -> Tensor:
    """A transformer layer's output for every token: Float[b, l, hidden]."""
    if recompute:
        return cast(Tensor, checkpoint(layer, hidden, padding, use_reentrant=False))
    return layer(hidden, padding)


def _first_token(layer: BertLayer, hidden: Tensor, *, padding: Tensor) -> Tensor:
    """A transformer layer's output for the first token alone.

    Args:
        layer: The layer.
        hidden: Float[b, l, hidden], its input.
        padding: Float[b, 1, 1, l], added to the attention scores.

    Returns:
        Float[b, 1, hidden].
    """
    attention = layer.attention.self
    first = hidden[:, :1]

    # One query, keys and values of all tokens: Float[b, heads, 1 or l, head size].
    query = _split_heads(attention.query(first), attention.attention_head_size)
    key = _split_heads(attention.key(hidden), attention.attention_head_size)
    value = _split_heads(attention.value(hidden), attention.attention_head_size)

    # Attention of the first token to all, padding excepted.
    scores = query @ key.mT * attention.scaling + padding
    weights = attention.dropout(scores.softmax(dim=-1))
    attended = (weights @ value).transpose(1, 2).flatten(2)

    # Residual and feed-forward parts of the layer.
    return layer.feed_forward_chunk(layer.attention.output(attended, first))


def _split_heads(values: Tensor, size: int) -> Tensor:
    return values.unflatten(-1, (-1, size)).transpose(1, 2)
