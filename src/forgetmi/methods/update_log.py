"""A log of what every training step did to the weights, by buckets of patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from forgetmi.errors import Fault, MethodError
from forgetmi.methods.training_log import load_log, save_log
from forgetmi.types import Batch, Ints

Buckets = tuple[int, ...]


@final
class UpdateLog:
    """Recorder of the weight updates of a training, summed over the batches that hold the same buckets of patients.

    Storage is 4 bytes x parameters x distinct sets of buckets. With one bucket a patient nearly every batch is a set of
    its own: at 1.1 M parameters and 720 steps 3.2 GB, at 113 M parameters 0.45 GB a step. With two buckets (those who
    may ask to be forgotten, and the rest) there are three sets at most. The log tells as much about the patients as
    their data do: store it as safely, and keep the one that unlearning hands back in its place.

    Args:
        bucket: Int[n], bucket of every row of the cohort; a patient's rows share one.
        limit: Largest size in bytes; a training that needs more stops.
    """

    def __init__(self, bucket: Ints, *, limit: float = 4e9) -> None:
        self.bucket = np.asarray(bucket, np.int64)
        self.limit = limit
        self.sums: dict[Buckets, Tensor] = {}
        self.steps: dict[Buckets, int] = {}
        self._before: Tensor | None = None

    @torch.no_grad()
    def before_step(self, model: Any, batch: Batch) -> None:
        """Remember the weights."""
        self._before = _vector(model)

    @torch.no_grad()
    def after_step(self, model: Any, batch: Batch) -> None:
        """Add the step's update to the sum of its set of buckets."""
        if self._before is None:
            raise MethodError(Fault("a step ended that had not begun"))
        buckets = tuple(np.unique(self.bucket[batch.row.cpu().numpy()]).tolist())
        update = _vector(model) - self._before
        if buckets in self.sums:
            update += self.sums[buckets]
        elif 4 * update.numel() * (len(self.sums) + 1) > self.limit:
            raise MethodError(Fault(
                f"the log of updates would exceed {self.limit:.3g} bytes after {sum(self.steps.values())} steps",
                do="Put patients into fewer buckets, or allow more."))
        self.sums[buckets] = update
        self.steps[buckets] = self.steps.get(buckets, 0) + 1
        self._before = None

    def affected(self, rows: Ints) -> list[Buckets]:
        """Sets of buckets with at least one of the given rows' buckets."""
        asked = set(self.bucket[rows].tolist())
        return [buckets for buckets in self.sums if asked & set(buckets)]

    def without(self, rows: Ints) -> UpdateLog:
        """A log that lacks every update the given rows' buckets had a part in; this one stays as it is."""
        kept, gone = UpdateLog(self.bucket, limit=self.limit), set(self.affected(rows))
        kept.sums = {buckets: update for buckets, update in self.sums.items() if buckets not in gone}
        kept.steps = {buckets: self.steps[buckets] for buckets in kept.sums}
        return kept

    def save(self, path: Path) -> None:
        """Write to a file."""
        save_log(path, "Amnesiac", {"bucket": torch.tensor(self.bucket), "limit": self.limit, "sums": self.sums,
                                    "steps": self.steps})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        values = load_log(path, "Amnesiac")
        log = cls(values["bucket"].numpy(), limit=values["limit"])
        log.sums, log.steps = values["sums"], values["steps"]
        return log


def _vector(model: Any) -> Tensor:
    """All weights as one vector, copied to the CPU."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]).cpu()
