"""The one retain order of the authors' release."""

from __future__ import annotations

import torch

from forgetmi.core.arrays import Ints

SEED = 42


def retain_order(retained: int, forgotten: int) -> Ints:
    """Positions of the retain samples in the order every epoch of the release reads them.

    Its sampler of the forget set seeds torch's global generator with 42 at the start of each pass and throws its own
    permutation away; the retain loader then draws from that state, always the same. This is that very permutation, for
    loaders with worker processes (without, one draw less precedes it).

    Args:
        retained, forgotten: Sizes of both sets.

    Returns:
        A permutation of 0 .. retained - 1. The unlearning loop ends with the forget loader, so that only the first
        batches of it are ever used.

    Source: AlignedSampler of the Forget-MI release (arXiv 2506.23145); torch.utils.data.RandomSampler.
    """
    # The forget set's sampler seeds the generator and throws its permutation away.
    state = torch.Generator().manual_seed(SEED)
    torch.randperm(forgotten, generator=state)

    # The retain loader first draws the base seed of its workers.
    _draw(state)

    # Then its sampler draws the seed of the permutation.
    seed = _draw(state)
    return torch.randperm(retained, generator=torch.Generator().manual_seed(seed)).numpy()


def _draw(state: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=state))
