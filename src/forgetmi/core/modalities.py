"""The names of today's modalities, and the names that arrays of heads and embeddings have in files and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

IMAGE = "image"
TEXT = "text"
TABLE = "table"

# The embedding that a model makes of all modalities together
JOINT = "joint"

# Heads that today's models have, in the order in which their terms are added
TODAYS_HEADS = (IMAGE, TEXT)

LOGITS = "_logits"
EMBEDDING = "_embedding"

V = TypeVar("V")


def named(logits: Mapping[str, V], embedding: Mapping[str, V]) -> dict[str, V]:
    """Logits by head and embeddings by modality, as one table by array name; logits come first.

    Examples:
        >>> named({"image": 1, "text": 2}, {"joint": 3})
        {'image_logits': 1, 'text_logits': 2, 'joint_embedding': 3}
    """
    heads = {head + LOGITS: value for head, value in logits.items()}
    embeddings = {name + EMBEDDING: value for name, value in embedding.items()}
    return heads | embeddings


def parted(values: Mapping[str, V | None]) -> tuple[dict[str, V], dict[str, V]]:
    """What `named` put together: logits by head, and embeddings by modality; None = not there.

    Raises:
        KeyError: A name is that of no array.

    Examples:
        >>> parted({"image_logits": 1, "joint_embedding": 3, "text_embedding": None})
        ({'image': 1}, {'joint': 3})
    """
    logits: dict[str, V] = {}
    embedding: dict[str, V] = {}
    for name, value in values.items():
        if not name.endswith((LOGITS, EMBEDDING)):
            raise KeyError(name)
        if value is None:
            continue

        if name.endswith(LOGITS):
            logits[name.removesuffix(LOGITS)] = value
        else:
            embedding[name.removesuffix(EMBEDDING)] = value
    return logits, embedding
