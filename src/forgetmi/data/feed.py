"""Batches on an accelerator: films cross as they are stored, beside other work, and become grey values there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.modalities import IMAGE
from forgetmi.data.device_films import DeviceFilms, Feeding
from forgetmi.data.image_store import ImageStore
from forgetmi.data.noise import Perturber

# For annotations alone: the orders of a loader can be planned without torch.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger(__name__)

# Batches that are read ahead; each is read by all threads together.
AHEAD = 2


class Samples(Protocol):
    """The samples of a cohort (`forgetmi.data.loaders.SampleStore`)."""

    @property
    def images(self) -> ImageStore: ...

    def around(
        self, rows: Ints, images: Tensor, *, perturbation: Perturber | None, multiple: int
    ) -> Batch: ...


@dataclass(frozen=True)
class _Ahead:
    """A batch that is being read: its rows, which of them are read, their films, and the threads' work."""

    rows: Ints
    read: Ints
    films: Tensor
    batch: Future[Batch]
    copies: tuple[Future[bool], ...]


@final
class Feed:
    """Batches of one cohort on one accelerator; films that it keeps there serve every loader of the cohort.

    Films are read by threads, film by film in contiguous copies, during which the interpreter is free for other
    threads; into pinned memory where the device is a GPU, from which they are copied on a stream of their own while the
    model works on the batch before.

    Args:
        samples: Of the cohort.
        device: An accelerator.
        feeding: Where films are kept and how many bits they have.
    """

    def __init__(self, samples: Samples, device: torch.device, feeding: Feeding) -> None:
        self._samples = samples
        self._device = device
        self._feeding = feeding
        self._rounded = False

        size = samples.images.preprocessing.size
        self._films = DeviceFilms(len(samples.images), size, device, feeding)
        self._stream = _copying_stream(device)

    def expect(self, rows: Ints) -> None:
        """Say which rows will be read again and again; the first rows come first where not all can be kept."""
        self._films.expect(rows)

    def batches(
        self, plan: Iterable[Ints], *, threads: int, perturbation: Perturber | None = None
    ) -> Iterator[Batch]:
        """The samples of each entry of a plan, on the device.

        Args:
            plan: Rows of each batch.
            threads: That read ahead, >= 1.
            perturbation: Noise; that of films is drawn on the device.
        """
        waiting = deque(np.asarray(rows, np.int64) for rows in plan)
        ahead: deque[_Ahead] = deque()
        with ThreadPoolExecutor(threads) as pool:
            while waiting or ahead:
                while waiting and len(ahead) <= AHEAD:
                    ahead.append(self._begun(waiting.popleft(), pool, perturbation))
                yield self._finished(ahead.popleft(), perturbation)

    def _begun(
        self, rows: Ints, pool: ThreadPoolExecutor, perturbation: Perturber | None
    ) -> _Ahead:
        """Let threads read a batch: texts and films that are not on the device."""
        import torch

        read = np.flatnonzero(~self._films.loaded(rows))
        kind = torch.uint8 if self._feeding.bits == 8 else torch.uint16
        size = self._samples.images.preprocessing.size
        pinned = self._stream is not None
        films = torch.empty((len(read), size, size), dtype=kind, pin_memory=pinned)

        copies = []
        for film, row in zip(films.numpy(), rows[read].tolist(), strict=True):
            copies.append(pool.submit(self._samples.images.copy_stored, row, film))
        batch = pool.submit(
            self._samples.around,
            rows,
            films,
            perturbation=perturbation,
            multiple=self._feeding.multiple,
        )
        return _Ahead(rows, read, films, batch, tuple(copies))

    def _finished(self, ahead: _Ahead, perturbation: Perturber | None) -> Batch:
        """A batch on the device, its films as grey values."""
        # Each thread says whether its film lost anything; all of them must be done.
        rounded = [copy.result() for copy in ahead.copies]
        if any(rounded):
            self._tell_rounded()
        batch = self._copied(ahead.batch.result())

        stored = self._films.gather(ahead.rows, ahead.read, batch.image)
        images = _grey(stored)[:, None]
        if perturbation is not None:
            images = perturbation.films(images, ahead.rows)

            # A film that is not there stays black
            if IMAGE in batch.present:
                images = images * batch.present[IMAGE][:, None, None, None]
        batch = batch.with_inputs(**{IMAGE: images})
        return replace(batch, numbers=tuple(ahead.rows.tolist()))

    def _copied(self, batch: Batch) -> Batch:
        """The batch on the device; nothing waits for the copies but what reads them."""
        import torch

        if self._stream is None:
            return batch.each(lambda values: values.to(self._device, non_blocking=True))

        with torch.cuda.stream(self._stream):
            pinned = batch.each(lambda values: values.pin_memory())
            there = pinned.each(lambda values: values.to(self._device, non_blocking=True))
        using = torch.cuda.current_stream(self._device)
        using.wait_stream(self._stream)

        # Their memory is not given away before the other stream is done with it.
        def kept(values: Tensor) -> Tensor:
            values.record_stream(using)
            return values

        return there.each(kept)

    def _tell_rounded(self) -> None:
        """Say once that films lost grey values."""
        if not self._rounded:
            self._rounded = True
            logger.warning("films of more than 8 bits are rounded to 8 bits for the device")


def _copying_stream(device: torch.device) -> Any:
    """A stream for copies; None where a device has none."""
    import torch

    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _grey(stored: Tensor) -> Tensor:
    """Float[b, size, size] in [0, 1], to the bit as on the processor.

    The divisor is a tensor, because a GPU multiplies by the inverse of a number instead of dividing by it.
    """
    import torch

    white = 255.0 if stored.dtype == torch.uint8 else 65535.0
    divisor = torch.full((), white, device=stored.device)
    return stored.to(torch.float32).div_(divisor)
