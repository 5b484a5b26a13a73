"""Matches the names of stored weights to those of a BERT encoder, whatever stands before them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from transformers import BertConfig, BertModel

from forgetmi.core.errors import Fault
from forgetmi.core.printable import printable
from forgetmi.model.spec import TextEncoderSpec

# Every BERT encoder has this weight; what stands before its name stands before all others.
_ANCHOR = "embeddings.word_embeddings.weight"

# Parts of an encoder: a stored name that begins so is one of its weights, and must be known.
_PARTS = ("embeddings.", "encoder.", "pooler.")

# Counters that older versions stored among the weights.
_COUNTERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})

# Weights that models trained without a pooled output do not have.
POOLER = ("pooler.dense.bias", "pooler.dense.weight")

# Names that a message lists.
_LISTED = 3


@dataclass(frozen=True)
class Matched:
    """Which stored name holds each weight of an encoder.

    Args:
        names: Weight of the encoder to the stored name.
        faults: What is missing, unknown or ambiguous; empty = all weights are there, but perhaps the pooler.
    """

    names: Mapping[str, str]
    faults: tuple[Fault, ...] = ()


def encoder_shapes(spec: TextEncoderSpec) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of an encoder of these sizes; none of them is made."""
    with torch.device("meta"):
        bert = BertModel(
            BertConfig(
                vocab_size=spec.vocabulary,
                hidden_size=spec.hidden,
                num_hidden_layers=spec.layers,
                num_attention_heads=spec.heads,
                intermediate_size=spec.intermediate,
                max_position_embeddings=spec.positions,
            )
        )
    return {name: tuple(value.shape) for name, value in bert.state_dict().items()}


def match_names(stored: Iterable[str], expected: Iterable[str], where: str) -> Matched:
    """Find each weight of an encoder among stored names, which may all begin alike (module., bert., text_encoder.).

    Args:
        stored: Names in the files.
        expected: Names of the encoder's weights.
        where: The folder's name, for messages.
    """
    names = list(stored)
    renamed, faults = _current_names(names, where)

    # What stands before every name: known by one weight that no encoder lacks.
    prefixes = [name.removesuffix(_ANCHOR) for name in renamed if name.endswith(_ANCHOR)]
    prefixes = [prefix for prefix in prefixes if not prefix or prefix.endswith((".", "_", "/"))]
    if not prefixes:
        return Matched({}, (*faults, _no_encoder(names, where)))
    if len(prefixes) > 1:
        return Matched({}, (*faults, _several(prefixes, where)))

    # Those of the encoder alone: heads and other towers have other names.
    prefix = prefixes[0]
    own: dict[str, str] = {}
    for name, original in renamed.items():
        if name.startswith(prefix) and name.removeprefix(prefix).startswith(_PARTS):
            own[name.removeprefix(prefix)] = original
    for counter in _COUNTERS:
        own.pop(counter, None)

    wanted = list(expected)
    faults += _missing(wanted, own, prefix, where)
    unknown = sorted(own.keys() - set(wanted))
    if unknown:
        faults.append(
            Fault(
                f"{len(unknown)} stored weights are no part of an encoder of these sizes",
                where=where,
                why=_some(f"{prefix}{name}" for name in unknown),
                do="Use the config.json that belongs to the weights.",
            )
        )
    return Matched({name: own[name] for name in wanted if name in own}, tuple(faults))


def _current_names(stored: Iterable[str], where: str) -> tuple[dict[str, str], list[Fault]]:
    """Today's spelling of each stored name (LayerNorm.gamma and .beta are old) to the stored one."""
    renamed: dict[str, str] = {}
    twice = []
    for name in stored:
        new = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        new = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", new)
        if new in renamed:
            twice.append(new)
        renamed[new] = name

    if not twice:
        return renamed, []
    return renamed, [
        Fault(
            f"{len(twice)} weights are stored in an old and in today's spelling",
            where=where,
            why=_some(twice),
        )
    ]


def _missing(wanted: Iterable[str], own: Mapping[str, str], prefix: str, where: str) -> list[Fault]:
    """A fault if weights of the encoder are not there; a pooler may be absent as a whole."""
    wanted = list(wanted)
    missing = [name for name in wanted if name not in own]
    if not missing or sorted(missing) == sorted(POOLER):
        return []

    return [
        Fault(
            f"{len(missing)} of the encoder's {len(wanted)} weights are not among the stored ones",
            where=where,
            why=_some(f"{prefix}{name}" for name in missing),
            do="Use weights of the whole encoder: what is missing would be random.",
        )
    ]


def _no_encoder(names: list[str], where: str) -> Fault:
    why = f"no weight's name ends in {_ANCHOR}"
    if names:
        why += f"; there are {_some(names)}"
    return Fault(
        "the folder holds no weights of a BERT encoder",
        where=where,
        why=why,
        do="Name the folder of a model with the BERT architecture.",
    )


def _several(prefixes: list[str], where: str) -> Fault:
    return Fault(
        f"the folder holds {len(prefixes)} encoders",
        where=where,
        why="names begin with " + _some(repr(prefix) for prefix in sorted(prefixes)),
        do="Save the one that reads the reports by itself.",
    )


def _some(names: Iterable[str]) -> str:
    """A few names, and how many others there are."""
    listed = [printable(name, 120) for name in names]
    text = ", ".join(listed[:_LISTED])
    rest = len(listed) - _LISTED
    return f"{text} and {rest} more" if rest > 0 else text
