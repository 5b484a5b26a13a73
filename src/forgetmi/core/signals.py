"""A model's outputs for every row of a cohort, as arrays on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Flags, Floats, Ints, Labels, Strings, read_only, taken
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import IMAGE, JOINT, TEXT, TODAYS_HEADS, named, parted
from forgetmi.core.partial_files import whole_file
from forgetmi.core.signals_file import FORMS, HEADS, PRESENT, read_arrays

Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Signals:
    """One model's outputs for every row, as arrays: each metric and attack is a pure function of these.

    `image_text` makes them for a model with an image and a text head.

    Args:
        model: Digest of the model's weights.
        cohort: Digest of the cohort.
        row: Rows of the cohort, n.
        patient, study: Keyed digests, n each.
        label: Int[n], -1 = unknown; Float[n] values or Float[n, f] findings, NaN = unknown.
        logits: float64[n, k] by head; none where the task has no heads (pairs).
        embedding: float32[n, d] by modality, and "joint"; what the model does not have is not there.
        present: Bool[n] by modality, whether each row has it; only modalities that some rows lack. Logits and embedding
            of what a row lacks are 0.
    """

    model: str
    cohort: str
    row: Ints
    patient: Strings
    study: Strings
    label: Labels
    logits: Mapping[str, Floats]
    embedding: Mapping[str, Embedding] = field(default_factory=dict)
    present: Mapping[str, Flags] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("row", "patient", "study", "label"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        for name in ("logits", "embedding", "present"):
            arrays = {key: read_only(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)

    @classmethod
    def image_text(
        cls,
        model: str,
        cohort: str,
        row: Ints,
        patient: Strings,
        study: Strings,
        label: Labels,
        image_logits: Floats,
        text_logits: Floats,
        image_embedding: Embedding | None = None,
        text_embedding: Embedding | None = None,
        joint_embedding: Embedding | None = None,
    ) -> Signals:
        """Signals of an image and a text head; None = the model has no such embedding."""
        embedding = {IMAGE: image_embedding, TEXT: text_embedding, JOINT: joint_embedding}
        there = {name: values for name, values in embedding.items() if values is not None}
        logits = {IMAGE: image_logits, TEXT: text_logits}
        return cls(model, cohort, row, patient, study, label, logits, there)

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        return f"Signals({len(self)} rows, model {self.model[:12]})"

    @property
    def classes(self) -> int:
        """Columns of each head's logits; 0 where there is no head."""
        return max((values.shape[1] for values in self.logits.values()), default=0)

    @property
    def image_logits(self) -> Floats:
        """float64[n, k] of the image head."""
        return self.of_head(IMAGE)

    @property
    def text_logits(self) -> Floats:
        """float64[n, k] of the text head."""
        return self.of_head(TEXT)

    @property
    def image_embedding(self) -> Embedding | None:
        """float32[n, d]; None = the model has none."""
        return self.embedding.get(IMAGE)

    @property
    def text_embedding(self) -> Embedding | None:
        """float32[n, d]; None = the model has none."""
        return self.embedding.get(TEXT)

    @property
    def joint_embedding(self) -> Embedding | None:
        """float32[n, d]; None = the model has none."""
        return self.embedding.get(JOINT)

    def of_head(self, head: str) -> Floats:
        """float64[n, k], the logits of one head.

        Raises:
            EvaluationError: The model has no such head.
        """
        if head not in self.logits:
            raise EvaluationError(Fault(f"the model has no {head} head"))
        return self.logits[head]

    def there(self, *modalities: str) -> Flags:
        """Bool[n], which rows have all of some modalities; one that is not said to be missing is there."""
        have = np.ones(len(self), dtype=bool)
        for modality in modalities:
            if modality in self.present:
                have &= self.present[modality]
        return have

    def named(self) -> dict[str, npt.NDArray[Any]]:
        """Logits and embeddings by the names of their arrays on disk ("image_logits", "joint_embedding")."""
        return named(self.logits, self.embedding)

    def replaced(self, **values: Any) -> Signals:
        """A copy with other values of some fields or arrays (by their names on disk); None = without that array.

        Examples:
            >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
            >>> original = toy_knowledge().signals["original"]
            >>> original.replaced(joint_embedding=None).joint_embedding is None
            True
        """
        fixed = {name: values.pop(name) for name in FORMS if name in values}
        logits, embedding = parted(self.named() | values)
        return replace(self, **fixed, logits=logits, embedding=embedding)

    def select(self, rows: Ints) -> Signals:
        """The signals of the given cohort rows, in that order.

        Raises:
            KeyError: A row is not in these signals.
        """
        # Where each row stands in these signals.
        order, in_order = self._order
        place = np.searchsorted(in_order, rows)
        if np.any(place >= len(order)) or np.any(in_order[place] != rows):
            raise KeyError("these signals do not hold every row that is selected")
        positions = order[place]

        # Every array, in that order.
        return replace(
            self,
            row=taken(self.row, positions),
            patient=taken(self.patient, positions),
            study=taken(self.study, positions),
            label=taken(self.label, positions),
            logits={head: taken(values, positions) for head, values in self.logits.items()},
            embedding={name: taken(values, positions) for name, values in self.embedding.items()},
            present={name: taken(there, positions) for name, there in self.present.items()},
        )

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Positions of the rows in ascending order, and the rows in that order."""
        order = np.argsort(self.row, kind="stable")
        return order, self.row[order]

    def save(self, path: Path) -> None:
        """Write an .npz, atomically; holds keyed digests, no identifier and no text."""
        arrays: dict[str, Any] = {}
        for name, (kinds, _) in FORMS.items():
            value = getattr(self, name)

            # Text as fixed-width strings, so that reading never unpickles.
            arrays[name] = np.asarray(value, dtype=str) if kinds == "U" else value

        # Without their names a head's array could be lost unnoticed.
        if tuple(self.logits) != TODAYS_HEADS:
            arrays[HEADS] = np.array(list(self.logits), dtype=str)
        arrays |= self.named()
        arrays |= {name + PRESENT: there for name, there in self.present.items()}

        with whole_file(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Signals:
        """Read what `save` wrote.

        Raises:
            EvaluationError: The file is missing, damaged, or no file of signals.
        """
        values = read_arrays(path)

        # Two values are single words, stored as arrays without dimension.
        fixed: dict[str, Any] = {name: values.pop(name) for name in FORMS}
        fixed["model"] = str(fixed["model"])
        fixed["cohort"] = str(fixed["cohort"])
        missing = [name for name in values if name.endswith(PRESENT)]
        fixed["present"] = {name.removesuffix(PRESENT): values.pop(name) for name in missing}
        logits, embedding = parted(values)
        return cls(**fixed, logits=logits, embedding=embedding)
