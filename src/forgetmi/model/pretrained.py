"""Pretrained text encoders: where they are, the sizes they have, and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoConfig, BertConfig, BertModel

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import scope
from forgetmi.model.spec import TextEncoderSpec

# Settings that the text encoder does not vary: a pretrained model must have BERT's usual ones.
FIXED_SETTINGS = ("hidden_act", "layer_norm_eps", "type_vocab_size", "pad_token_id")
SIZES = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions")


def pretrained_directory(pretrained: str, *, download: bool = False) -> Path:
    """The local folder of a pretrained encoder: the directory itself, or a hub model's copy in the hub's cache.

    Args:
        pretrained: Local Hugging Face directory (or hub id).
        download: Whether a hub id may be fetched over the network.

    Raises:
        SpecError: There is no such directory, and no local copy of such a model.
    """
    # A folder of that name goes before a model of that name.
    if Path(pretrained).is_dir():
        return Path(pretrained)

    # Without leave to download, only the hub's cache is read.
    try:
        return Path(snapshot_download(pretrained, local_files_only=not download))
    except (OSError, ValueError) as error:
        raise _unreadable(
            "the pretrained text encoder cannot be found", error, download=download
        ) from error


def pretrained_text(pretrained: str, *, download: bool = False) -> TextEncoderSpec:
    """The specification that fits a pretrained BERT encoder; nothing but its configuration is read.

    Args:
        pretrained: Local Hugging Face directory (or hub id).
        download: Whether a hub id may be fetched over the network.

    Raises:
        SpecError: It cannot be read, or is not a BERT encoder of the usual kind.
    """
    # Names of the library, and ours.
    config = _configuration(pretrained, download=download)
    return TextEncoderSpec(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        pretrained=pretrained,
        download=download,
    )


def pretrained_weights(spec: TextEncoderSpec) -> dict[str, Tensor]:
    """Weights of the pretrained BERT encoder, by name; those the directory does not hold are left out.

    Raises:
        SpecError: It cannot be read, or its sizes differ from the specification's.
    """
    _check_sizes(spec)

    # Building the model draws random weights, which must not move the run's own generators.
    try:
        with scope(0, "construct"):
            loaded = BertModel.from_pretrained(
                spec.pretrained,
                local_files_only=not spec.download,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise _unreadable(
            "the pretrained weights cannot be read", error, download=spec.download
        ) from error

    # What the directory lacks has just been drawn at random and is nobody's pretrained weight.
    bert, loading = cast(tuple[BertModel, dict[str, Any]], loaded)
    weights = {}
    for name, value in bert.state_dict().items():
        if name not in loading["missing_keys"]:
            weights[name] = value
    return weights


def _configuration(pretrained: str, *, download: bool) -> BertConfig:
    """The configuration of a BERT encoder of the usual kind."""
    try:
        config = AutoConfig.from_pretrained(pretrained, local_files_only=not download)
    except (OSError, ValueError) as error:
        raise _unreadable(
            "the pretrained text encoder cannot be read", error, download=download
        ) from error

    if not isinstance(config, BertConfig):
        raise SpecError(
            Fault(
                "the pretrained text encoder is not a BERT model",
                where="text encoder",
                why=f"its type is {config.model_type!r}",
                do="Use one with the BERT architecture.",
            )
        )

    # Settings without an option of ours must be BERT's usual ones.
    usual = BertConfig()
    faults = []
    for name in FIXED_SETTINGS:
        if getattr(config, name) != getattr(usual, name):
            faults.append(
                Fault(
                    f"the pretrained text encoder has {name} = {getattr(config, name)!r}",
                    where="text encoder",
                    why=f"only {getattr(usual, name)!r} is supported",
                )
            )

    if faults:
        raise SpecError(faults)
    return config


def _check_sizes(spec: TextEncoderSpec) -> None:
    """Refuse a pretrained encoder whose sizes are not the specification's."""
    stored = pretrained_text(spec.pretrained, download=spec.download)

    faults = []
    for name in SIZES:
        if getattr(stored, name) != getattr(spec, name):
            faults.append(
                Fault(
                    f"the pretrained text encoder has {name} = {getattr(stored, name)}",
                    where="text encoder",
                    why=f"the specification has {getattr(spec, name)}",
                )
            )

    if faults:
        raise SpecError(faults)


def _unreadable(problem: str, error: Exception, *, download: bool) -> SpecError:
    # Downloading can be no advice where it was allowed already.
    advice = "Name a local directory, or allow the download."
    if download:
        advice = "Check the directory or hub id."
    return SpecError(Fault(problem, where="text encoder", why=type(error).__name__, do=advice))
