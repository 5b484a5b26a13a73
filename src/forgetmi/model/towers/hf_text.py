"""A text tower: any encoder of the transformers library that reads tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.inputs import Tokens
from forgetmi.model.towers.hf_model import hf_model, hf_weights
from forgetmi.model.towers.stages import run_stages, sequence_of

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.hf import HfTextSpec


class HfText(nn.Module):
    """BERT, RoBERTa, DistilBERT, ELECTRA, ModernBERT and their like, and a pooling of their last layer.

    Args:
        spec: Resolved; see `forgetmi.model.tower_specs.hf.HfTextSpec`.

    Source: the models of the transformers library. Deviation: its own pooling layer, which most published encoders have
    not trained, is not used.
    """

    def __init__(self, spec: HfTextSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = hf_model(spec.config)
        self.width: int = self.model.config.hidden_size

    @property
    def words(self) -> str:
        """Name of the table of word embeddings."""
        table = self.model.get_input_embeddings()
        return next(name for name, module in self.named_modules() if module is table)

    @staticmethod
    def pretrained(spec: HfTextSpec) -> dict[str, Tensor]:
        """The weights in the specification's folder, by the names that they have here."""
        weights = hf_weights(spec.config, spec.folder())
        return {f"model.{name}": value for name, value in weights.items()}

    def prepare(self, raw: Tokens) -> Tokens:
        """Tokens as they are, if the encoder has positions for so many.

        Raises:
            MethodError: The texts are longer, or there is none.
        """
        length = raw.mask.shape[1]
        if not 0 < length <= self.spec.positions:
            raise MethodError(
                Fault(
                    f"a text has {length} tokens",
                    where="text tower",
                    why=f"the encoder reads 1 to {self.spec.positions}",
                    do="Cut reports when they are tokenised: --text.max-length.",
                )
            )
        return raw

    def stages(self) -> tuple[str, ...]:
        """Embeddings, each layer, and what follows them; none where the encoder is built otherwise."""
        return sequence_of(self.model, "model")

    def soft(self, x: Tokens) -> Tokens:
        """Word embeddings in place of the ids."""
        if x.ids.is_floating_point():
            return x
        return Tokens(self.model.get_input_embeddings()(x.ids), x.mask)

    def forward(self, x: Tokens, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed texts; see `forgetmi.model.towers.protocol.Tower`."""
        x = self.prepare(x)
        modules = [self.get_submodule(name) for name in self.stages()] if start or stop else []
        return run_stages(
            partial(self._embedding, x, cached=start > 0),
            modules,
            start=start,
            value=x.ids,
            stop=stop,
        )

    def _embedding(self, x: Tokens, *, cached: bool) -> Tensor:
        """Float[b, width] of tokens or word embeddings."""
        options: dict[str, Any] = {"attention_mask": x.mask}

        # What was computed before takes the place of the first stages' outputs, whatever goes in
        if cached:
            options["input_ids"] = torch.zeros_like(x.mask, dtype=torch.int64)
        elif x.ids.is_floating_point():
            options["inputs_embeds"] = x.ids
        else:
            options["input_ids"] = x.ids

        # RoBERTa counts positions from behind the padding's id, over tokens alone
        if self.spec.position_offset:
            counted = x.mask.cumsum(1) * x.mask
            options["position_ids"] = counted + self.spec.position_offset - 1

        hidden = self.model(**options).last_hidden_state
        return self._pooled(hidden, x.mask)

    def _pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One embedding a text: that of its first token, or the mean over its tokens."""
        if self.spec.pooling == "cls":
            return hidden[:, 0]

        weight = mask[:, :, None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
