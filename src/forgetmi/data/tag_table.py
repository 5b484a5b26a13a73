"""Millions of keys of equal length and their values in arrays, found by a key's first bytes, which are random."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import final

import numpy as np
import numpy.typing as npt

_PREFIX = 8  # bytes of a key that are sorted; few keys share them
_RECENT = 2**14  # tags that wait in a dictionary until they are sorted in


def _prefixes(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """UInt64[n], the first bytes of n keys as a number."""
    return keys[:, :_PREFIX].copy().view("<u8").reshape(-1)


def _span(ordered: npt.NDArray[np.uint64], key: bytes) -> range:
    """Places in a sorted array at which the first bytes are those of a key."""
    prefix = np.uint64(int.from_bytes(key[:_PREFIX], "little"))
    start = int(np.searchsorted(ordered, prefix))
    end = start
    while end < len(ordered) and ordered[end] == prefix:
        end += 1
    return range(start, end)


@final
class Records:
    """Records of a key and a value each, one after another, as they stand in a file: 76 bytes for one of 64.

    Args:
        content: The records.
        key, value: Bytes of each key, at least 8, and of each value.
    """

    def __init__(self, content: bytes, key: int, value: int) -> None:
        self.content = content
        self._key, self._length = key, key + value
        rows = np.frombuffer(content, np.uint8).reshape(-1, self._length)
        prefixes = _prefixes(rows)
        self._order = np.argsort(prefixes, kind="stable").astype(np.uint32)
        self._prefixes = prefixes[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return (self.record(row) for row in range(len(self)))

    def record(self, row: int) -> tuple[bytes, bytes]:
        """Key and value of one record."""
        start = row * self._length
        middle = start + self._key
        return self.content[start:middle], self.content[middle : start + self._length]

    def like(self, key: bytes) -> list[int]:
        """Numbers of the records whose keys begin with the same 8 bytes."""
        return [int(self._order[at]) for at in _span(self._prefixes, key)]

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None = there is none."""
        for row in self.like(key):
            known, value = self.record(row)
            if known == key:
                return value
        return None


@final
class TagPlaces:
    """Tag (16 bytes) to a whole number: 24 bytes each. Of two numbers for one tag the later one counts."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._gone: set[bytes] = set()
        self._prefixes = np.empty(0, np.uint64)
        self._rest = np.empty(0, np.uint64)
        self._places = np.empty(0, np.int64)

    def __contains__(self, tag: bytes) -> bool:
        return self._find(tag) is not None

    def __getitem__(self, tag: bytes) -> int:
        place = self._find(tag)
        if place is None:
            raise KeyError(tag)
        return place

    def __setitem__(self, tag: bytes, place: int) -> None:
        self._gone.discard(tag)
        self._recent[tag] = place
        if len(self._recent) >= _RECENT:
            self._sort_in()

    def __delitem__(self, tag: bytes) -> None:
        if tag not in self:
            raise KeyError(tag)
        self._recent.pop(tag, None)
        self._gone.add(tag)

    def _find(self, tag: bytes) -> int | None:
        if tag in self._recent:
            return self._recent[tag]
        if tag in self._gone:
            return None

        # The last one of those that are the same
        rest = int.from_bytes(tag[_PREFIX:], "little")
        for at in reversed(_span(self._prefixes, tag)):
            if int(self._rest[at]) == rest:
                return int(self._places[at])
        return None

    def _sort_in(self) -> None:
        """Put what is recent into the arrays, behind what has the same first bytes."""
        tags = np.frombuffer(b"".join(self._recent), np.uint8).reshape(len(self._recent), -1)
        prefixes = np.concatenate([self._prefixes, _prefixes(tags)])
        rest = np.concatenate([self._rest, _prefixes(tags[:, _PREFIX:])])
        places = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        places = np.concatenate([self._places, places])

        order = np.argsort(prefixes, kind="stable")
        self._prefixes, self._rest, self._places = prefixes[order], rest[order], places[order]
        self._recent = {}


@final
class Digests(MutableMapping[int, bytes]):
    """Digest (32 bytes) of each of n numbered things, as far as they are known.

    Args:
        count: n.
    """

    def __init__(self, count: int) -> None:
        self._digests = np.zeros((count, 32), np.uint8)
        self._known = np.zeros(count, bool)

    def __len__(self) -> int:
        return int(self._known.sum())

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._known).tolist())

    def __getitem__(self, number: int) -> bytes:
        if not self._known[number]:
            raise KeyError(number)
        return self._digests[number].tobytes()

    def __setitem__(self, number: int, digest: bytes) -> None:
        self._digests[number] = np.frombuffer(digest, np.uint8)
        self._known[number] = True

    def __delitem__(self, number: int) -> None:
        self._digests[number], self._known[number] = 0, False
