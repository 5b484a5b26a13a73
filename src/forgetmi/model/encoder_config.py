"""The config.json of a BERT encoder: sizes alone are taken from it, and no code of the folder is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import BertConfig

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import mapping, read_json
from forgetmi.core.plain_text import Source
from forgetmi.core.printable import quoted
from forgetmi.model.spec import TextEncoderSpec

CONFIG = "config.json"

# Settings that the text encoder does not vary: a pretrained model must have BERT's usual ones.
FIXED_SETTINGS: Mapping[str, Any] = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
}

# Our names of the sizes and the library's.
_SIZES = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
}
_SHARES = {"dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob"}


def read_encoder_config(folder: Path) -> TextEncoderSpec:
    """The sizes that a folder's config.json states; what it does not state are BERT's own.

    `auto_map`, which names Python files in the folder, is passed over: the weights must fit BERT itself.

    Args:
        folder: A Hugging Face folder.

    Raises:
        SpecError: It cannot be read, or is not of a BERT encoder of the usual kind; all faults at once.
    """
    values = _values(folder)
    where = f"{folder.name}/{CONFIG}"

    # A configuration without a type is of the first years, when BERT was the only one.
    kind = values.get("model_type", "bert")
    if kind != "bert":
        raise SpecError(
            Fault(
                "the pretrained text encoder is not a BERT model",
                where=where,
                why=f"its type is {quoted(kind)}",
                do="Use one with the BERT architecture.",
            )
        )

    # Settings without an option of ours must be BERT's usual ones.
    faults = []
    for name, usual in FIXED_SETTINGS.items():
        if values.get(name, usual) != usual:
            faults.append(
                Fault(
                    f"the pretrained text encoder has {name} = {quoted(values[name])}",
                    where=where,
                    why=f"only {usual!r} is supported",
                )
            )

    sizes: dict[str, Any] = {}
    for ours, theirs in {**_SIZES, **_SHARES}.items():
        value = values.get(theirs, getattr(BertConfig(), theirs))
        whole = ours in _SIZES
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            expected = "a whole number" if whole else "a number"
            faults.append(
                Fault(f"{theirs} is {quoted(value)}", where=where, why=f"{expected} is expected")
            )
        sizes[ours] = value

    if faults:
        raise SpecError(faults)
    return TextEncoderSpec(**sizes)


def _values(folder: Path) -> dict[str, Any]:
    """The content of config.json."""
    source = Source(
        f"{folder.name}/{CONFIG}",
        "the pretrained text encoder",
        "Name a complete Hugging Face folder.",
    )
    content = read_json(folder / CONFIG, what=source.what, do=source.do, where=source.where)
    return mapping(content, source)
