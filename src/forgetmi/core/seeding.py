"""One root seed, one independent random stream per purpose; nothing else in the package seeds anything."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

# For annotations alone: a run specification must load without torch, so functions import it.
if TYPE_CHECKING:
    import torch


def derive(root: int, *keys: str | int) -> int:
    """A 63-bit seed that depends on the root seed and every key, the same on every platform.

    Args:
        root: The run's root seed.
        keys: What the stream is for, e.g. ``("train", "order", epoch)``.
    """
    # The first letter of its type keeps the text "1" apart from the number 1.
    parts = [str(int(root))]
    for key in keys:
        parts.append(f"{type(key).__name__[0]}{key}")
    text = "\x1f".join(parts)

    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_generator(root: int, *keys: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose; see `derive`."""
    return np.random.Generator(np.random.PCG64(derive(root, *keys)))


def torch_generator(root: int, *keys: str | int) -> torch.Generator:
    """A torch CPU generator for one purpose; see `derive`."""
    import torch

    return torch.Generator().manual_seed(derive(root, *keys))


def device_generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator of a device's own, which draws there; its values are others than those of the processor's."""
    import torch

    return torch.Generator(device).manual_seed(seed)


@contextmanager
def scope(root: int, *keys: str | int) -> Iterator[None]:
    """Set the global generators of Python, NumPy and torch for a block (dropout needs them) and restore them after."""
    import torch

    seed = derive(root, *keys)

    # What is put back afterwards.
    python = random.getstate()
    legacy = np.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []

    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
