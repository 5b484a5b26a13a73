"""What a method may read: each set behind a loader that counts, hides labels unless declared, and refuses the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.devices import is_accelerator
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import all_unknown
from forgetmi.core.partition import SetName
from forgetmi.data.loaders import Loader, SampleStore, prefetch_workers_for
from forgetmi.data.noise import Perturber


class GuardedLoader:
    """One set of patients as a method sees it; see `forgetmi.data.loaders.Loader` for what each order means.

    Args:
        loader: Batches of the set.
        labels: Whether the method may read labels; otherwise every label is unknown.
        patient: Patient codes of all rows of the cohort.
        device: Where batches go, the model's.
    """

    def __init__(
        self, loader: Loader, *, labels: bool, patient: Ints, device: torch.device | str
    ) -> None:
        self._loader = loader
        self._labels = labels
        self._patient = patient
        self._device = device
        self.seen = 0

    def for_training(
        self, batch_size: int, *, rows: Ints | None = None, seed: int | None = None
    ) -> GuardedLoader:
        """The same set, or some rows of it, in the batches and order of a training from scratch.

        No batch holds a single sample. What is read is not counted here (see `Context.count`).

        Args:
            batch_size: Samples a batch.
            rows: Rows of this set, sorted; None = all.
            seed: Of the order; None = this set's.

        Raises:
            MethodError: A row is not of this set.
        """
        loader = self._loader
        rows = self.rows if rows is None else self.own(rows)

        # The same samples in the order of a training.
        training = Loader(
            loader.records,
            rows,
            batch_size=batch_size,
            seed=loader.seed if seed is None else seed,
            avoid_single=True,
            prefetch_workers=loader.prefetch_workers,
            device=loader.device,
        )

        return GuardedLoader(
            training, labels=self._labels, patient=self._patient, device=self._device
        )

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._loader)

    @property
    def rows(self) -> Ints:
        """Rows of this set."""
        return self._loader.rows

    def patients(self, rows: Ints) -> Ints:
        """Patient codes of the given rows (numbers, not identifiers)."""
        return self._patient[rows]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """All rows once, shuffled for that epoch."""
        return self._guard(self._loader.epoch(epoch))

    def window(self, epoch: int, count: int) -> Ints:
        """``count`` rows of one seeded shuffle; each epoch continues where the last stopped."""
        return self._loader.window(epoch, count)

    def random(self, epoch: int, count: int) -> Ints:
        """``count`` rows drawn afresh for that epoch."""
        return self._loader.random(epoch, count)

    def batches(self, rows: Ints, *, perturbation: Perturber | None = None) -> Iterator[Batch]:
        """The given rows of this set in order, perturbed if a perturbation is given.

        Raises:
            MethodError: A row is not of this set.
        """
        return self._guard(self._loader.batches(self.own(rows), perturbation=perturbation))

    def own(self, rows: Ints) -> Ints:
        """Check that the given rows are all of this set, and return them.

        Raises:
            MethodError: One is not.
        """
        # A method cannot read rows of other sets.
        outside = np.setdiff1d(rows, self.rows)
        if len(outside):
            raise MethodError(Fault(f"{len(outside)} rows asked for are not in this set"))

        return rows

    def present(self, rows: Ints) -> dict[str, torch.Tensor]:
        """Which of the given rows of this set have each modality, Bool[n]; only modalities that some row lacks.

        Raises:
            MethodError: A row is not of this set.
        """
        own = self.own(rows)
        who = self._loader.records.present
        return {name: torch.from_numpy(there[own]).to(self._device) for name, there in who.items()}

    def _guard(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Count the samples of each batch, and hide their labels unless declared."""
        for batch in batches:
            # Counted on the way to the method.
            self.seen += len(batch)
            batch = batch.to(self._device)
            if not self._labels:
                batch = replace(batch, label=all_unknown(batch.label))
            yield batch


class GuardedLoaders:
    """The sets a method declared, as attributes ``forget``, ``retain`` and ``validation``.

    Holdout and reference patients are not here at all: a method cannot name them.

    Args:
        records: Images and tokens of the cohort.
        rows: Rows of each set.
        patient: Patient codes of all rows of the cohort.
        reads: What the method declared.
        batch_size: Samples a batch.
        seed: Root seed of the orders.
        device: Where batches go, the model's.
    """

    def __init__(
        self,
        records: SampleStore,
        rows: Mapping[SetName, Ints],
        *,
        patient: Ints,
        reads: frozenset[str],
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size = batch_size
        self._reads = reads

        # Only declared sets are there at all.
        self._sets = {
            name: GuardedLoader(
                Loader(
                    records,
                    rows[name],
                    batch_size=batch_size,
                    seed=seed,
                    prefetch_workers=prefetch_workers_for(device),
                    device=device,
                ),
                labels="labels" in reads,
                patient=patient,
                device=device,
            )
            for name in ("forget", "retain", "validation")
            if name in reads
        }

        # What an accelerator keeps first: the forgotten, then the retained in the order of their window.
        if is_accelerator(device):
            feed = records.feed(device)
            for name in ("forget", "retain"):
                if name in self._sets:
                    feed.expect(self._sets[name].window(0, len(rows[name])))

    def _get(self, name: str) -> GuardedLoader:
        """A set, if the method declared it."""
        if name not in self._sets:
            raise MethodError(
                Fault(
                    f"the method reads the {name} set without declaring it",
                    do=f"Add {name!r} to its reads.",
                )
            )

        return self._sets[name]

    @property
    def forget(self) -> GuardedLoader:
        """Patients to be forgotten."""
        return self._get("forget")

    @property
    def retain(self) -> GuardedLoader:
        """Patients the model was trained on and keeps."""
        return self._get("retain")

    @property
    def validation(self) -> GuardedLoader:
        """Patients never trained on, never forgotten, never reported."""
        return self._get("validation")

    def seen(self) -> dict[str, int]:
        """Samples read so far from each declared set."""
        return {name: loader.seen for name, loader in self._sets.items()}

    def state_dict(self) -> dict[str, Any]:
        """Counters, so that an interrupted run reports the same totals."""
        return self.seen()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore the counters."""
        for name, seen in state.items():
            self._sets[name].seen = int(seen)
