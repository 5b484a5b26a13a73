"""What models that never saw a patient say of them: targets out of a standing pool, as a method is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, MethodError


@dataclass(frozen=True, eq=False)
class PoolTargets:
    """Each head's logits for patients of the training side, by members of a pool that never saw that patient.

    A method gets nothing else of a pool: no other row, no embedding (those of different models lie in different
    spaces), and no member that judges it.

    Args:
        row: Int[n], rows of the cohort, sorted.
        logits: Float[n, k] by head, the mean over the members that never saw the row's patient, in the units of
            training.
        members: Digests of the weights of all members that speak.

    Examples:
        >>> targets = PoolTargets(np.array([2, 5]), {"image": np.array([[1.0], [3.0]])}, ("a", "b"))
        >>> targets.of(np.array([5, 2]))["image"].tolist()
        [[3.0], [1.0]]
    """

    row: Ints
    logits: Mapping[str, Floats]
    members: tuple[str, ...]

    def of(self, rows: Ints) -> dict[str, Floats]:
        """Float[n, k] by head, of some rows in their order.

        Raises:
            MethodError: The pool says nothing of a row.
        """
        place = np.searchsorted(self.row, rows)
        beyond = place >= len(self.row)
        if beyond.any() or (self.row[place] != rows).any():
            raise MethodError(Fault("the pool says nothing of some rows that were asked for"))
        return {head: values[place] for head, values in self.logits.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, in hex: what an interrupted run and the one that resumes it must share."""
        digest = hashlib.sha256("\n".join(self.members).encode())
        digest.update(self.row.tobytes())
        for head in sorted(self.logits):
            digest.update(head.encode() + self.logits[head].tobytes())
        return digest.hexdigest()
