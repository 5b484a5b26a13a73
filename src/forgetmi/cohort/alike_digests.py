"""What alike spellings of identifiers share, as keyed digests: 17 bytes each, for there may be millions."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import final

import numpy as np

from forgetmi.cohort.identity import RULES

# An identifier's own digest, and the rules that would change it
Owner = tuple[str, tuple[str, ...]]


@final
class AlikeDigests(Mapping[str, Owner]):
    """Keyed digest of what alike spellings share, to the first identifier that has it.

    Args:
        entries: Digest of what is shared, digest of the identifier (16 hex digits each), and the rules that would
            change it; of equal ones the first counts.
    """

    def __init__(self, entries: Iterable[tuple[str, str, tuple[str, ...]]]) -> None:
        shared, identifiers, rules = array("Q"), array("Q"), array("B")
        for digest, identifier, changes in entries:
            shared.append(int(digest, 16))
            identifiers.append(int(identifier, 16))
            rules.append(sum(1 << RULES.index(rule) for rule in changes))

        # Sorted, so that one is found in a few steps
        self._shared, first = np.unique(np.array(shared, np.uint64), return_index=True)
        self._identifiers = np.array(identifiers, np.uint64)[first]
        self._rules = np.array(rules, np.uint8)[first]

    def __len__(self) -> int:
        return len(self._shared)

    def __iter__(self) -> Iterator[str]:
        return (f"{number:016x}" for number in self._shared.tolist())

    def __getitem__(self, digest: str) -> Owner:
        number = np.uint64(int(digest, 16))
        at = int(np.searchsorted(self._shared, number))
        if at == len(self._shared) or self._shared[at] != number:
            raise KeyError(digest)

        bits = int(self._rules[at])
        rules = tuple(rule for place, rule in enumerate(RULES) if bits >> place & 1)
        return f"{int(self._identifiers[at]):016x}", rules
