"""Batches of samples, and the orders they come in: each a pure function of a seed and the epoch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from forgetmi.core.arrays import Flags, Ints, Labels, Strings, codes
from forgetmi.core.batch import Batch
from forgetmi.core.cohort import Cohort
from forgetmi.core.devices import is_accelerator
from forgetmi.core.errors import CohortError, Fault, SpecError
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.core.modalities import IMAGE, TABLE
from forgetmi.core.seeding import numpy_generator
from forgetmi.data.device_films import Feeding
from forgetmi.data.feed import Feed
from forgetmi.data.image_store import ImageStore
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.data.noise import Columns, Perturber, column_deviations
from forgetmi.data.token_store import TokenStore
from forgetmi.data.tokenizer import Tokenizer

# For annotations alone: the orders of a loader can be planned without torch.
if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True, eq=False, repr=False)
class SampleStore:
    """All samples of a cohort, ready to be batched; made by `SampleStore.of`.

    Args:
        images: The cohort's images.
        tokens: The cohort's reports as tokens.
        tokenizer: Tokenizes perturbed reports.
        report: n texts, kept for perturbation and never shown.
        label: n labels as the cohort has them, values in the units of training.
        study: n codes, equal for images that share a report.
        scale: Of labels that are values.
        table: Float32[n, c] of measured columns; None = there are none.
        deviation: Float32[c], of each column of numbers over all rows, the unit of its noise; 0 = of categories.
        present: Modality to Bool[n], for modalities that some rows lack.
        feeding: How films get to an accelerator.
    """

    images: ImageStore
    tokens: TokenStore
    tokenizer: Tokenizer | LibraryTokenizer
    report: Strings
    label: Labels
    study: Ints
    scale: Scale = AS_IT_IS
    table: Columns | None = None
    deviation: Columns | None = None
    present: Mapping[str, Flags] = field(default_factory=dict)
    feeding: Feeding = field(default_factory=Feeding)
    _feeds: dict[str, Feed] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        lengths = {len(self.images), len(self.tokens), len(self.report), len(self.study)}
        if lengths != {len(self.label)}:
            raise CohortError(
                Fault(
                    "images, reports and labels are not of the same cohort",
                    why="they have different numbers of rows",
                )
            )

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        images: ImageStore,
        tokenizer: Tokenizer | LibraryTokenizer,
        *,
        scale: Scale = AS_IT_IS,
    ) -> Self:
        """Tokenize a cohort's reports once and join them to its images.

        Args:
            cohort: n rows.
            images: Built from the same cohort.
            tokenizer: Of the model that will read the batches.
            scale: Of labels that are values.

        Raises:
            CohortError: The images are of another cohort.
        """
        # Studies are numbered: batches compare them, and need no digest for that.
        return cls(
            images=images,
            tokens=TokenStore.build(cohort.report, tokenizer),
            tokenizer=tokenizer,
            report=cohort.report,
            label=scale.standard(cohort.label),
            study=codes(cohort.study)[0],
            scale=scale,
            table=cohort.table,
            deviation=column_deviations(cohort),
            present=cohort.present,
        )

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"SampleStore({self.images!r}, {self.tokens!r})"

    def batch(self, rows: Ints, *, perturbation: Perturber | None = None) -> Batch:
        """The samples of b rows, in that order, padded to the longest of their texts.

        Args:
            rows: Int[b], rows of the cohort.
            perturbation: Noise; None = the samples as they are.

        Returns:
            A batch on the CPU.
        """
        # Imported here: the orders of a loader can be planned without torch.
        import torch

        rows = np.asarray(rows, np.int64)
        images = self.images.images(rows)
        if perturbation is not None:
            images = perturbation.images(images, rows)

            # A film that is not there stays black
            if IMAGE in self.present:
                images = images * self.present[IMAGE][rows, None, None, None]
        return self.around(rows, torch.from_numpy(images), perturbation=perturbation)

    def batches(
        self, plan: Sequence[Ints], *, device: Any, perturbation: Perturber | None = None
    ) -> Iterator[Batch]:
        """Batches on an accelerator, read ahead and copied beside other work; see `forgetmi.data.feed.Feed`.

        Args:
            plan: Rows of each batch.
            device: Which accelerator.
            perturbation: Noise; None = the samples as they are.
        """
        feed = self.feed(device)
        threads = prefetch_workers_for(device)
        return feed.batches(plan, threads=threads, perturbation=perturbation)

    def feed(self, device: Any) -> Feed:
        """What feeds an accelerator; one for all loaders, so that films that it keeps there serve all of them."""
        import torch

        # A GPU without a number is the present one: both names mean one place for films.
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if str(device) not in self._feeds:
            self._feeds[str(device)] = Feed(self, device, self.feeding)
        return self._feeds[str(device)]

    def around(
        self,
        rows: Ints,
        images: Tensor,
        *,
        perturbation: Perturber | None = None,
        multiple: int = 1,
    ) -> Batch:
        """Films and all else of b rows.

        Args:
            rows: Int[b].
            images: Of the rows, in any form.
            perturbation: Noise of everything but the films.
            multiple: The longest text is padded to a multiple of so many tokens.
        """
        import torch

        tokens: list[Any] = [self.tokens.tokens(row) for row in rows]
        if perturbation is not None:
            self._perturb_texts(tokens, rows, perturbation)

        # As long as the longest text; the rest is padding.
        longest = max(map(len, tokens), default=0)
        if longest % multiple:
            longest = min(longest - longest % multiple + multiple, self.tokenizer.max_length)
        ids = np.full((len(rows), longest), self.tokenizer.pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for position, text in enumerate(tokens):
            ids[position, : len(text)] = text
            mask[position, : len(text)] = 1

        batch = Batch.image_text(
            image=images,
            tokens=torch.from_numpy(ids),
            mask=torch.from_numpy(mask),
            label=torch.from_numpy(self.label[rows]),
            study=torch.from_numpy(self.study[rows]),
            row=torch.from_numpy(rows.copy()),
        )
        if self.table is not None:
            table = self._measured(rows, perturbation)
            batch = batch.with_inputs(**{TABLE: torch.from_numpy(table)})
        if self.present:
            there = {
                name: torch.from_numpy(rows_of[rows]) for name, rows_of in self.present.items()
            }
            batch = replace(batch, present=there)
        return batch

    def _measured(self, rows: Ints, perturbation: Perturber | None) -> Columns:
        """Float32[b, c], the measured columns of some rows."""
        assert self.table is not None
        assert self.deviation is not None
        values = self.table[rows]
        return values if perturbation is None else perturbation.table(values, self.deviation, rows)

    def _perturb_texts(self, tokens: list[Any], rows: Ints, perturbation: Perturber) -> None:
        """Replace the tokens of those reports that the noise changes."""
        plain = [str(self.report[row]) for row in rows]
        noisy = perturbation.texts(plain, rows)
        for position, (before, after) in enumerate(zip(plain, noisy, strict=True)):
            if after != before:
                tokens[position] = self.tokenizer.encode([after])[0]


@final
class Loader:
    """Batches over some rows of a cohort; every row exactly once an epoch.

    The order of epoch e depends on (seed, e) alone, not on the epochs before it nor on the number of processes: with
    several, each takes its part of every entry of `plan`.

    Args:
        records: The cohort's samples.
        rows: Int[n], the rows of this set.
        batch_size: Samples in a batch, >= 1; the last one of an epoch may be smaller.
        seed: Seed of all orders.
        shuffle: Whether epochs are shuffled; otherwise they follow `rows`.
        avoid_single: Whether a last batch of one sample joins the batch before it (then of `batch_size` + 1): batch
            normalisation cannot train on one sample.
        prefetch_workers: Threads that read batches ahead while the device works on another; 0 = each is read when it is
            needed. See `prefetch_workers_for`. On an accelerator there are as many as it says.
        device: Where the batches are to be: cpu, or an accelerator, which `SampleStore.batches` feeds.

    Raises:
        SpecError: The batch size is not positive.
    """

    def __init__(
        self,
        records: SampleStore,
        rows: Ints,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        avoid_single: bool = False,
        prefetch_workers: int = 0,
        device: Any = "cpu",
    ) -> None:
        if batch_size < 1:
            raise SpecError(Fault(f"batch_size is {batch_size}", do="Choose 1 or more."))

        # Read-only: the orders of all epochs rest on these rows.
        self.records = records
        self.rows = np.array(rows, np.int64)
        self.rows.flags.writeable = False
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.avoid_single = avoid_single
        self.prefetch_workers = prefetch_workers
        self.device = device

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._cut(self.rows))

    def __repr__(self) -> str:
        return f"Loader({len(self.rows)} rows, batches of {self.batch_size}, seed {self.seed})"

    def plan(self, epoch: int) -> list[Ints]:
        """The rows of each batch of an epoch, without loading them."""
        if self.shuffle:
            return self._cut(self._shuffled("epoch", epoch))
        return self._cut(self.rows)

    def epoch(self, epoch: int, *, perturbation: Perturber | None = None) -> Iterator[Batch]:
        """The batches of an epoch."""
        return self._read(self.plan(epoch), perturbation)

    def window(self, epoch: int, count: int) -> Ints:
        """`count` rows of one shuffle of all rows; each epoch goes on where the last one stopped, round and round.

        With the same `count` in every epoch, no row comes again before all others came.
        """
        # One long ring of all rows, in which each epoch takes the next piece.
        order = self._shuffled("window")
        positions = np.arange(epoch * count, (epoch + 1) * count)
        return order[positions % max(1, len(order))]

    def random(self, epoch: int, count: int) -> Ints:
        """`count` rows drawn afresh for each epoch, without repeats while there are enough."""
        # Another shuffle each epoch; more rows than there are begin again at its start.
        order = self._shuffled("random", epoch)
        return order[np.arange(count) % max(1, len(order))]

    def batches(self, rows: Ints, *, perturbation: Perturber | None = None) -> Iterator[Batch]:
        """Batches over any rows of the cohort, in the order given."""
        return self._read(self._cut(np.asarray(rows, np.int64)), perturbation)

    def _shuffled(self, *keys: str | int) -> Ints:
        generator = numpy_generator(self.seed, "loader", *keys)
        return self.rows[generator.permutation(len(self.rows))]

    def _cut(self, rows: Ints) -> list[Ints]:
        """Rows in batches, in their order."""
        cuts = [*range(0, len(rows), self.batch_size), len(rows)]

        # Without the cut before it, a last single sample joins the batch before.
        if self.avoid_single and len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
            del cuts[-2]

        return [rows[start:stop] for start, stop in pairwise(cuts)]

    def _read(self, plan: list[Ints], perturbation: Perturber | None) -> Iterator[Batch]:
        if is_accelerator(self.device):
            self.records.feed(self.device).expect(self.rows)
            yield from self.records.batches(plan, device=self.device, perturbation=perturbation)
            return

        if self.prefetch_workers == 0:
            for rows in plan:
                yield self.records.batch(rows, perturbation=perturbation)
            return

        # Batches in their order; as many are read ahead as there are threads.
        waiting = deque(plan)
        ahead = deque()
        with ThreadPoolExecutor(self.prefetch_workers) as pool:
            while waiting or ahead:
                while waiting and len(ahead) <= self.prefetch_workers:
                    rows = waiting.popleft()
                    ahead.append(pool.submit(self.records.batch, rows, perturbation=perturbation))
                yield ahead.popleft().result()


def prefetch_workers_for(device: Any) -> int:
    """Threads to read ahead with: a processor that trains has no time to spare, an accelerator must not wait."""
    if not is_accelerator(device):
        return 0
    spare = (os.cpu_count() or 1) - 1
    return max(1, min(8, spare))
