"""The text encoder: BERT with a pooled [CLS] embedding and a linear head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

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
        self.recompute = False
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
        self.dropout = nn.Dropout(spec.dropout)
        self.projection = nn.Identity() if spec.hidden == width else nn.Linear(spec.hidden, width)
        self.classifier = nn.Linear(width, classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """Word embeddings of token ids: Int64[b, l] -> Float[b, l, hidden], what `forward` takes as ``inputs``."""
        return self.bert.embeddings.word_embeddings(tokens)

    def steps(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each step from the tokens to the embedding: embeddings, every layer, pooling."""
        return (
            (self.bert.embeddings,),
            *((layer,) for layer in self._layers()),
            (cast(nn.Module, self.bert.pooler), self.dropout, self.projection),
        )

    def encode(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        inputs: Tensor | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """Run some of the `steps`, the first of them at least where ``start`` is 0.

        Args:
            x: Int64[b, l] token ids, not read where ``inputs`` is given; or what the step before ``start`` gave.
            mask: Int64[b, l], 1 = a token, 0 = padding.
            inputs: As for `forward`.
            start, stop: First step, and the one to stop before; None = all up to the embedding.
        """
        if start == 0:
            words: dict[str, Any] = (
                {"input_ids": x} if inputs is None else {"inputs_embeds": inputs}
            )
            x = self.bert.embeddings(**words)
        padding = torch.zeros_like(mask, dtype=x.dtype).masked_fill(
            mask == 0, torch.finfo(x.dtype).min
        )
        padding = padding[:, None, None, :]
        *lower, last = self._layers()
        steps: list[Callable[[Tensor], Tensor]] = [
            *(partial(self._layer, layer, padding=padding) for layer in lower),
            partial(_first_token, last, padding=padding),
            self._pool,
        ]
        for step in steps[max(0, start - 1) : None if stop is None else stop - 1]:
            x = step(x)
        return x

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        *,
        inputs: Tensor | None = None,
        start: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Embed and classify.

        Args:
            tokens: Int64[b, l] token ids, not read where ``inputs`` is given; or what the step before ``start`` gave.
            mask: Int64[b, l], 1 = a token, 0 = padding.
            inputs: Float[b, l, hidden] word embeddings in place of the tokens' own (see `embed`).
            start: First of the `steps` to run.

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
        embedding = self.encode(tokens, mask, inputs=inputs, start=start)
        return embedding, self.classifier(embedding)

    def _layers(self) -> list[BertLayer]:
        """The transformer layers, by depth."""
        return cast(list[BertLayer], list(self.bert.encoder.layer))

    def _layer(self, layer: BertLayer, hidden: Tensor, padding: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(layer, hidden, padding, use_reentrant=False))
        return layer(hidden, padding)

    def _pool(self, first: Tensor) -> Tensor:
        return self.projection(self.dropout(cast(nn.Module, self.bert.pooler)(first)))


def _first_token(layer: BertLayer, hidden: Tensor, padding: Tensor) -> Tensor:
    """A transformer layer's output for the first token alone.

    Args:
        layer: The layer.
        hidden: Float[b, l, hidden], its input.
        padding: Float[b, 1, 1, l], added to the attention scores.

    Returns:
        Float[b, 1, hidden].
    """
    attention, first = layer.attention.self, hidden[:, :1]

    def heads(values: Tensor) -> Tensor:
        return values.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

    query, key, value = (
        heads(attention.query(first)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
    )
    weights = attention.dropout((query @ key.mT * attention.scaling + padding).softmax(dim=-1))
    attended = (weights @ value).transpose(1, 2).flatten(2)
    return layer.feed_forward_chunk(layer.attention.output(attended, first))
