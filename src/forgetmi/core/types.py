"""Every type that crosses a wall between rooms; all frozen."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from forgetmi.core.errors import CohortError, EvaluationError, Fault, PartitionError

if TYPE_CHECKING:
    from torch import Tensor

Strings = npt.NDArray[np.str_] | npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SetName = Literal["forget", "retain", "validation", "holdout", "reference"]
SETS: tuple[SetName, ...] = ("forget", "retain", "validation", "holdout", "reference")
NEVER_SEEN: tuple[SetName, ...] = (
    "holdout",
    "reference",
)  # nothing is trained on them, nor chosen by them


def codes(values: Strings) -> tuple[Ints, Strings]:
    """Number values in the order of their first appearance (never sorted: digests sort differently under another key).

    Args:
        values: n strings.

    Returns:
        The n codes 0..k-1 and the k distinct values.
    """
    import pandas as pd

    code, unique = pd.factorize(np.asarray(values, dtype=object))
    return code.astype(np.int64), np.asarray(unique, dtype=object)


def _read_only(array: Any) -> Any:
    array = np.asarray(array)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Cohort:
    """One row per image-report pair. Identifiers are keyed digests: raw ones never leave the cohort room.

    Several images may share a study (and its report); several studies belong to one patient.

    Args:
        name: Short name for reports.
        patient, study, image_id: n keyed digests each.
        group: n digests of the unit that must stay on one side (family, article); the patient where there is none.
        image: n image locators for `forgetmi.data.decode.read_image`; empty where a row has no image.
        report: n report texts.
        label: n class indices, -1 = unknown.
        split: n of "" (free), "train", "validation", "holdout" or "reference".
        classes: Names of the k classes, in order.
        ordinal: Whether the classes are grades (edema) or names (causes).
        subgroups: Column name to n strings ("" = unknown), e.g. sex, view.
        show_images: Whether a report may show example radiographs.
        digest: Digest of the table's content, independent of the identifier key.
        key_id: Which identifier key made the digests.
        notices: What was converted or skipped on reading, in words, without identifiers.
    """

    name: str
    patient: Strings
    study: Strings
    image_id: Strings
    group: Strings
    image: Strings
    report: Strings
    label: Ints
    split: Strings
    classes: tuple[str, ...]
    ordinal: bool
    subgroups: Mapping[str, Strings]
    show_images: bool
    digest: str
    key_id: str
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("patient", "study", "image_id", "group", "image", "report", "label", "split"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))
            if len(getattr(self, name)) != len(self.label):
                raise CohortError(
                    Fault(
                        f"column {name} has {len(getattr(self, name))} rows, label {len(self.label)}"
                    )
                )
        object.__setattr__(
            self, "subgroups", {key: _read_only(value) for key, value in self.subgroups.items()}
        )

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"Cohort({self.name!r}, {len(self)} images, {len(codes(self.study)[1])} studies, "
            f"{len(codes(self.patient)[1])} patients, digest {self.digest[:12]})"
        )


@dataclass(frozen=True)
class ForgetRequest:
    """Who asked to be forgotten; whole patients unless single studies are named.

    Args:
        patients: Keyed digests of patients.
        studies: Keyed digests of single studies (of patients not in `patients`).
        reason: Free words for the record, without identifiers.
        date: ISO date of the request.
        notices: What was converted on reading the list, in words, without identifiers.
    """

    patients: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    reason: str = ""
    date: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """Which rows are forgotten, retained, held for validation, held out for reporting, or extra references.

    Patient-disjoint by construction: a patient (or group) on two sides raises. Only a request for single studies
    (`whole_patients=False`) lets one patient be in both forget and retain.

    Args:
        forget, retain, validation, holdout, reference: Row indices, sorted.
        patient, group: Codes for all n rows of the cohort (see `codes`).
        cohort: Digest of the cohort.
        whole_patients: False when single studies were asked for.
        notes: How the sets were drawn, in words (e.g. the distance of study counts).
        earlier: Rows of `forget` that earlier requests had forgotten; models go on being made without them, but what is
            measured is about the other rows (`of_request`).

    Raises:
        PartitionError: Sets overlap, are empty (forget, retain), or share a patient or group; nobody is forgotten now.
    """

    forget: Ints
    retain: Ints
    validation: Ints
    holdout: Ints
    patient: Ints
    group: Ints
    cohort: str
    reference: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    whole_patients: bool = True
    notes: tuple[str, ...] = ()
    earlier: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        for name in (*SETS, "patient", "group", "earlier"):
            object.__setattr__(self, name, _read_only(np.asarray(getattr(self, name), np.int64)))
        faults = [
            Fault(f"the {name} set is empty", do="Forget fewer patients, or use a larger cohort.")
            for name in ("forget", "retain")
            if len(getattr(self, name)) == 0
        ]
        if len(self.earlier) and not np.isin(self.forget, self.earlier).sum() == len(
            self.earlier
        ) < len(self.forget):
            faults.append(
                Fault(
                    "what was forgotten earlier is not a part of the forget set",
                    why="or is all of it",
                )
            )
        for i, one in enumerate(SETS):
            for two in SETS[i + 1 :]:
                a, b = getattr(self, one), getattr(self, two)
                if np.intersect1d(a, b).size:
                    faults.append(
                        Fault(f"{np.intersect1d(a, b).size} rows are in both {one} and {two}")
                    )
                    continue
                if not self.whole_patients and (one, two) == ("forget", "retain"):
                    continue
                for unit, code in (("patients", self.patient), ("groups", self.group)):
                    shared = np.intersect1d(code[a], code[b]).size
                    if shared and (unit == "patients" or (one, two) != ("forget", "retain")):
                        faults.append(
                            Fault(
                                f"{shared} {unit} are in both {one} and {two}",
                                why="a person must be wholly on one side",
                                do="Assign every row of a patient to one set.",
                            )
                        )
                        break
        if faults:
            raise PartitionError(faults)

    def rows(self, name: SetName) -> Ints:
        """Row indices of one set."""
        return getattr(self, name)

    def of_request(self) -> Partition:
        """The same with only what is forgotten now; what earlier requests had forgotten is in no set.

        For measuring and for the audit: patients forgotten before would water down what is said of those who ask now.
        """
        if not len(self.earlier):
            return self
        forget = np.setdiff1d(self.forget, self.earlier)
        whole = (
            self.whole_patients
            or not np.isin(self.patient[forget], self.patient[self.retain]).any()
        )
        return replace(self, forget=forget, whole_patients=whole, earlier=np.empty(0, np.int64))

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and patients in each set."""
        return {
            name: {
                "images": len(self.rows(name)),
                "patients": len(np.unique(self.patient[self.rows(name)])),
            }
            for name in SETS
        }

    def __repr__(self) -> str:
        parts = [
            f"{name} {n['patients']} patients/{n['images']} images"
            for name, n in self.counts().items()
        ]
        return f"Partition({', '.join(parts)})"


@dataclass(frozen=True)
class Batch:
    """Samples as tensors.

    Args:
        image: Float[b, 1, h, w], in [0, 1].
        tokens: Int64[b, l], padded to the longest text of the batch.
        mask: Int64[b, l], 1 = a token, 0 = padding.
        label: Int64[b], -1 = unknown.
        study: Int64[b], equal for images that share a report.
        row: Int64[b], row in the cohort.
    """

    image: Tensor
    tokens: Tensor
    mask: Tensor
    label: Tensor
    study: Tensor
    row: Tensor

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Outputs:
    """What a model returns for a batch of b samples.

    Args:
        image_logits, text_logits: Float[b, k] of the two heads.
        image_embedding, text_embedding, joint_embedding: Float[b, d]; None for models without (an ensemble).
    """

    image_logits: Tensor
    text_logits: Tensor
    image_embedding: Tensor | None = None
    text_embedding: Tensor | None = None
    joint_embedding: Tensor | None = None


class Model(Protocol):
    """Anything that maps a batch to outputs."""

    def __call__(self, batch: Batch) -> Outputs: ...


class Epochs(Protocol):
    """Batches over one set of rows, epoch by epoch; the order is a pure function of the epoch."""

    @property
    def rows(self) -> Ints: ...

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, /) -> Iterator[Batch]: ...


class Recorder(Protocol):
    """Watches training step by step (Amnesiac unlearning logs the updates of each patient group).

    Its state is saved with the training's after each epoch; an interrupted training takes it back and goes on. State
    holds tensors and plain values only; what is too large for that is written to the disk as it comes.
    """

    def before_step(self, model: Any, batch: Batch) -> None: ...

    def after_step(self, model: Any, batch: Batch) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...


@dataclass(frozen=True, eq=False, repr=False)
class Signals:
    """What one model says about every row, as arrays: each metric and attack is a pure function of these.

    Args:
        model: Digest of the model's weights.
        cohort: Digest of the cohort.
        row: Rows of the cohort, n.
        patient, study: Keyed digests, n each.
        label: n, -1 = unknown.
        image_logits, text_logits: float64[n, k].
        image_embedding, text_embedding, joint_embedding: float32[n, d], or None.
    """

    model: str
    cohort: str
    row: Ints
    patient: Strings
    study: Strings
    label: Ints
    image_logits: Floats
    text_logits: Floats
    image_embedding: npt.NDArray[np.float32] | None = None
    text_embedding: npt.NDArray[np.float32] | None = None
    joint_embedding: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, f.name, _read_only(value))

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        return f"Signals({len(self)} rows, model {self.model[:12]})"

    def select(self, rows: Ints) -> Signals:
        """The signals of the given cohort rows, in that order.

        Raises:
            KeyError: A row is not in these signals.
        """
        order = np.argsort(self.row, kind="stable")
        place = np.searchsorted(self.row[order], rows)
        if np.any(place >= len(order)) or np.any(self.row[order][place] != rows):
            raise KeyError("these signals do not hold every row asked for")
        at = order[place]
        return replace(
            self,
            **{
                f.name: getattr(self, f.name)[at]
                for f in fields(self)
                if isinstance(getattr(self, f.name), np.ndarray)
            },
        )

    def save(self, path: Path) -> None:
        """Write an .npz, atomically; holds keyed digests, no identifier and no text."""
        import os

        arrays: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                arrays[f.name] = (
                    np.asarray(value, dtype=str)
                    if f.name in {"model", "cohort", "patient", "study"}
                    else value
                )
        partial = path.with_name(f".{path.name}.partial.npz")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Signals:
        """Read what `save` wrote.

        Raises:
            EvaluationError: The file is missing, damaged, or no file of signals.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in stored.files}
            return cls(**{**values, "model": str(values["model"]), "cohort": str(values["cohort"])})
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            BadZipFile,
            zlib.error,
        ) as error:
            raise EvaluationError(
                Fault(
                    "the signals cannot be read",
                    where=path.name,
                    why=type(error).__name__,
                    do="Give a file that forgetmi wrote; remove a damaged one from a run, and the run makes it again.",
                )
            ) from error


@dataclass(frozen=True)
class Score:
    """One measured number with its interval.

    Args:
        name: What was measured, e.g. "auc", "f1", "sample_mia".
        value: The number.
        interval: 95 % interval, bootstrap over patients; None where it is not defined (said in `note`).
        patients, images: How many the value rests on.
        better: Which direction is good; "closer" = closer to `reference`.
        reference: The mean over the retrained models, where there are any.
        head: "image", "text" or "both".
        on: The set it was measured on.
        note: One sentence where the number needs it.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    patients: int
    images: int
    better: Literal["higher", "lower", "closer"]
    reference: float | None = None
    head: str = ""
    on: str = ""
    note: str = ""


@dataclass(frozen=True)
class Failed:
    """A measurement that could not be made, and why; never a silent default."""

    name: str
    reason: str
    head: str = ""
    on: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All scores of all models of a run.

    Args:
        scores: Model name ("original", "unlearned", "retrain-0", ...) to its scores.
        notes: What the reader must know about all of them.
    """

    scores: Mapping[str, tuple[Score | Failed, ...]]
    notes: tuple[str, ...] = ()

    def get(self, model: str, name: str, *, head: str = "", on: str = "") -> Score | Failed:
        """One score.

        Raises:
            KeyError: It was not measured.
        """
        for score in self.scores[model]:
            if (score.name, score.head, score.on) == (name, head, on):
                return score
        raise KeyError(f"{model}: {name} (head {head!r}, on {on!r}) was not measured")

    def to_json(self) -> str:
        """Stable JSON; NaN is never written."""

        def plain(score: Score | Failed) -> dict[str, Any]:
            values = {f.name: getattr(score, f.name) for f in fields(score)}
            if isinstance(score, Score) and not math.isfinite(score.value):
                raise ValueError(f"{score.name} on {score.on} is not finite; report it as Failed")
            return {"kind": "score" if isinstance(score, Score) else "failed", **values}

        return (
            json.dumps(
                {
                    "scores": {m: [plain(s) for s in scores] for m, scores in self.scores.items()},
                    "notes": list(self.notes),
                },
                indent=1,
                sort_keys=True,
                allow_nan=False,
            )
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Read what `to_json` wrote.

        Raises:
            EvaluationError: It is damaged, or something else.
        """

        def rich(values: dict[str, Any]) -> Score | Failed:
            values = dict(values)
            kind = values.pop("kind")
            if kind == "failed":
                return Failed(**values)
            if values["interval"] is not None:
                values["interval"] = tuple(values["interval"])
            return Score(**values)

        try:
            stored = json.loads(text)
            return cls(
                {m: tuple(rich(s) for s in scores) for m, scores in stored["scores"].items()},
                tuple(stored["notes"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(
                Fault(
                    "the measurement cannot be read",
                    where="metrics.json",
                    why=type(error).__name__,
                    do="Restore the file, or give the run's command again, which makes it anew.",
                )
            ) from error


ORIGINAL, UNLEARNED = "original", "unlearned"


RETRAIN = re.compile(r"retrain-\d+")
