"""Films kept on an accelerator as they are stored, 16 or 8 bits a pixel, so that an epoch reads none from the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import ShareBelowOne

# For annotations alone: the orders of a loader can be planned without torch.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

StoreOn = Literal["auto", "device", "host"]
FilmBits = Literal[16, 8]

# Share of the memory that was free on the device at the first batch; the rest is for activations.
SHARE = 0.6

# Where all films are asked for: what a model needs at least is left.
MOST = 0.9


@final
@dataclass(frozen=True)
class Feeding:
    """How films get to an accelerator; on a processor nothing of it is used.

    Args:
        store_on: Where films are kept between epochs: device, all of them; host, none on the device; auto, as many as
            fit into ``share`` of the device's free memory, those that are asked for first before the others.
        bits: 8 rounds the films to 256 grey values on their way, which halves what is read, copied and kept: nothing is
            lost of films that have 8 bits and were not resized, else up to 1/510 of the range from black to white.
        share: Of the free memory, 0 to below 1.
        multiple: Reports are padded to multiples of so many tokens, >= 1, so that there are few shapes.
    """

    store_on: StoreOn = "auto"
    bits: FilmBits = 16
    share: ShareBelowOne = SHARE
    multiple: int = 32


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; 0 where it does not tell."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


@final
class DeviceFilms:
    """Places on a device for the films of some rows; a film is copied there when it is first read.

    Args:
        rows: Number of rows of the cohort.
        size: Side of the films, pixels.
        device: Which.
        feeding: How many may be there.
    """

    def __init__(self, rows: int, size: int, device: torch.device, feeding: Feeding) -> None:
        self._size = size
        self._device = device
        self._feeding = feeding
        self._left: int | None = None  # films for which there is still memory; None = not asked yet

        # Where each row's film is or will be: which tensor, and which place in it; -1 = it has no place.
        self._part = np.full(rows, -1, np.int64)
        self._slot = np.full(rows, -1, np.int64)
        self._loaded = np.zeros(rows, bool)
        self._sizes: list[int] = []
        self._parts: dict[int, Tensor] = {}

    @property
    def bytes_each(self) -> int:
        """Bytes of one film."""
        return self._size**2 * self._feeding.bits // 8

    def expect(self, rows: Ints) -> None:
        """Give places to rows that will be read, as long as there is memory; the first rows first.

        Raises:
            SpecError: All films are to be on the device, and there is not the memory.
        """
        if self._feeding.store_on == "host":
            return

        # Those without a place, once each, in the order given.
        without = rows[self._part[rows] < 0]
        _, first = np.unique(without, return_index=True)
        new = without[np.sort(first)]
        room = self._room()
        if self._feeding.store_on == "device" and len(new) > room:
            raise self._too_many(len(new) - room)

        new = new[:room]
        if len(new):
            self._part[new] = len(self._sizes)
            self._slot[new] = np.arange(len(new))
            self._sizes.append(len(new))
            self._left = room - len(new)

    def loaded(self, rows: Ints) -> np.ndarray:
        """Bool[b], which films are there already."""
        return self._loaded[rows]

    def gather(self, rows: Ints, read: Ints, films: Tensor) -> Tensor:
        """The films of a batch, of which some were read from the host; those that have a place are kept.

        Args:
            rows: Int[b], the batch's rows.
            read: Int[r], places in the batch of those that were read.
            films: [r, size, size] on the device, their pixels.

        Returns:
            [b, size, size], on the device.
        """
        self._keep(rows[read], films)
        if len(read) == len(rows):
            return films

        # From each part its own; mostly all come from one.
        kept = np.setdiff1d(np.arange(len(rows)), read)
        parts = np.unique(self._part[rows[kept]])
        if not len(read) and len(parts) == 1:
            return _bits(self._parts[int(parts[0])])[self._there(self._slot[rows])].view(
                films.dtype
            )

        batch = films.new_empty((len(rows), self._size, self._size))
        if len(read):
            _bits(batch)[self._there(read)] = _bits(films)
        for part in parts.tolist():
            places = kept[self._part[rows[kept]] == part]
            source = _bits(self._parts[part])[self._there(self._slot[rows[places]])]
            _bits(batch)[self._there(places)] = source
        return batch

    def _keep(self, rows: Ints, films: Tensor) -> None:
        """Store films that were read, where they have a place and are not there yet."""
        new = (self._part[rows] >= 0) & ~self._loaded[rows]
        for part in np.unique(self._part[rows[new]]).tolist():
            positions = np.flatnonzero(new & (self._part[rows] == part))
            if part not in self._parts:
                shape = (self._sizes[part], self._size, self._size)
                self._parts[part] = films.new_empty(shape)
            slots = self._there(self._slot[rows[positions]])
            chosen = _bits(films)[self._there(positions)]
            _bits(self._parts[part])[slots] = chosen
            self._loaded[rows[positions]] = True

    def _there(self, places: Ints) -> Tensor:
        """Places as a tensor on the device, copied without waiting."""
        import torch

        values = torch.from_numpy(np.ascontiguousarray(places))
        if self._device.type == "cuda":
            values = values.pin_memory()
        return values.to(self._device, non_blocking=True)

    def _room(self) -> int:
        """For how many more films there is memory."""
        if self._left is None:
            share = MOST if self._feeding.store_on == "device" else self._feeding.share
            self._left = int(share * free_memory(self._device)) // self.bytes_each
        return self._left

    def _too_many(self, more: int) -> SpecError:
        needed = (sum(self._sizes) + more + self._room()) * self.bytes_each / 2**30
        return SpecError(
            Fault(
                f"the films need {needed:.1f} GiB",
                where="--store-on device",
                why="the device has not so much free memory",
                do="Choose auto, or --film-bits 8.",
            )
        )


def _bits(films: Tensor) -> Tensor:
    """The same memory as a type of the same width that every device can index: uint16 is not indexed everywhere."""
    import torch

    return films.view(torch.int16) if films.dtype == torch.uint16 else films
