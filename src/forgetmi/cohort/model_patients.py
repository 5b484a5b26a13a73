"""Which patients a model has seen: trained on, held out and forgotten, by keyed digests that travel with the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort, Spelling
from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.merkle import MerkleTree

# Under which name a checkpoint keeps them
NAME = "patients"


@dataclass(frozen=True)
class People:
    """Patients by keyed digest, with those of their studies that count.

    Args:
        patients, studies: Keyed digests, sorted.
        root: Root of the Merkle tree over the patients; see `root_of`.
    """

    patients: tuple[str, ...]
    studies: tuple[str, ...]
    root: str

    @classmethod
    def of(cls, patients: Iterable[str], studies: Iterable[str]) -> Self:
        """People with their root, each digest once."""
        distinct = tuple(sorted({*patients}))
        return cls(distinct, tuple(sorted({*studies})), root_of(distinct))

    @classmethod
    def of_rows(cls, cohort: Cohort, rows: Ints) -> Self:
        """Everybody in some rows of a cohort."""
        return cls.of(map(str, cohort.patient[rows]), map(str, cohort.study[rows]))

    def with_others(self, other: People) -> Self:
        """These and others."""
        return self.of((*self.patients, *other.patients), (*self.studies, *other.studies))

    def without_studies(self, studies: Iterable[str], patients: Iterable[str]) -> Self:
        """These without some studies, and without the patients of whom none is left."""
        kept = {*self.studies} - {*studies}
        return self.of({*self.patients} - {*patients}, kept)


@dataclass(frozen=True)
class ModelPatients:
    """Who a model has seen; see `patients_of`.

    It answers, for any later request and whatever seed it has, who may be called never seen by this model, who was
    forgotten before, and who can be forgotten at all.

    Args:
        key_id: Which identifier key made the digests.
        spelling: Digest of the rule by which identifiers were compared; see `spelling_digest`.
        cohort: Digest of the cohort that the model was made with.
        trained: Trained on and not forgotten. A patient without studies may have been trained on: nobody knows, and
            they are called neither trained on nor never seen.
        forgotten: Of earlier requests; the model was made without them, or made to forget them.
        validation: Never trained on, but looked at while models were chosen.
        holdout, reference: Never seen.
    """

    key_id: str
    spelling: str
    cohort: str
    trained: People
    forgotten: People
    validation: People
    holdout: People
    reference: People

    def to_plain(self) -> dict[str, Any]:
        """As plain values for a checkpoint."""
        return asdict(self)

    def after(self, cohort: Cohort, partition: Partition) -> ModelPatients:
        """Who the model that forgot more patients has seen.

        Args:
            cohort, partition: Of the request; its forget rows are not trained on any more.
        """
        gone = People.of_rows(cohort, partition.forget)
        kept = {*map(str, cohort.patient[partition.retain])}

        trained = self.trained.without_studies(gone.studies, {*gone.patients} - kept)
        return replace(self, trained=trained, forgotten=self.forgotten.with_others(gone))


def patients_of(
    cohort: Cohort,
    partition: Partition,
    *,
    trained: Ints,
    forgotten: Ints,
    unknown: Ints | None = None,
) -> ModelPatients:
    """Who a model that was made with a partition has seen.

    Args:
        cohort: The cohort.
        partition: Its sets.
        trained: Rows that the model was trained on and that it has not forgotten since.
        forgotten: Rows that it was made without, or made to forget.
        unknown: Rows of which nobody knows whether it was trained on them; None = there are none.
    """
    of_training = People.of_rows(cohort, trained)
    if unknown is not None:
        of_training = of_training.with_others(People.of(map(str, cohort.patient[unknown]), ()))
    return ModelPatients(
        key_id=cohort.key_id,
        spelling=spelling_digest(cohort.spelling),
        cohort=cohort.digest,
        trained=of_training,
        forgotten=People.of_rows(cohort, forgotten),
        validation=People.of_rows(cohort, partition.validation),
        holdout=People.of_rows(cohort, partition.holdout),
        reference=People.of_rows(cohort, partition.reference),
    )


def read_patients(plain: Any, *, where: str) -> ModelPatients:
    """What `ModelPatients.to_plain` wrote.

    Args:
        plain: The stored values.
        where: Name of the file, for messages.

    Raises:
        CheckpointError: They are of another form, or a root is not that of its patients.
    """
    try:
        people = from_plain(ModelPatients, plain, where=where, complete=True)
    except SpecError as error:
        raise CheckpointError(error.faults) from None

    for name in ("trained", "forgotten", "validation", "holdout", "reference"):
        of_set: People = getattr(people, name)
        if root_of(of_set.patients) != of_set.root:
            raise CheckpointError(
                Fault(
                    f"the patients in {name} are not those of their root",
                    where=where,
                    do="Use the original files.",
                )
            )
    return people


def spelling_digest(spelling: Spelling) -> str:
    """Digest of what decides which spellings of an identifier name the same person."""
    rule = [spelling.rules, sorted(spelling.stands_for.items())]
    return hashlib.sha256(json.dumps(rule).encode()).hexdigest()


def root_of(patients: Iterable[str]) -> str:
    """Root of the Merkle tree over patients, whose leaves are hashes of their keyed digests."""
    leaves = [hashlib.sha256(f"patient\x1f{digest}".encode()).hexdigest() for digest in patients]
    return MerkleTree.of(leaves).root
