"""Canaries: patients of whom a coin decides, before training, who is trained on and later forgotten.

A fixed historical split supports no bound on epsilon, since nobody tossed coins; a planned one does (Steinke, Nasr and
Jagielski, NeurIPS 2023), and it makes forgotten and never-seen patients exchangeable by construction.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import CohortError, Fault, PartitionError, SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.json_text import read_json
from forgetmi.core.labels import strata
from forgetmi.core.partition import Partition
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.serialization import from_plain

# File names: the list itself, and its digest to publish
SEALED, COMMITMENT = "canaries.json", "commitment.txt"
_COMMITMENT_BYTES = 4096


@dataclass(frozen=True)
class Canaries:
    """The sealed list.

    Args:
        cohort: Digest of the cohort.
        patients: Keyed digests; neighbours (first and second, third and fourth ...) have equal study counts and labels.
        included: For each, the outcome of its own fair coin: trained on and then forgotten, or never seen.
        salt: Keeps the commitment from being guessed.
    """

    cohort: str
    patients: tuple[str, ...]
    included: tuple[bool, ...]
    salt: str

    def __post_init__(self) -> None:
        distinct = len(set(self.patients)) == len(self.patients)
        if not self.patients or not distinct or len(self.patients) != len(self.included):
            raise CohortError(
                Fault(
                    "the sealed list does not have one coin for each of its patients",
                    where=SEALED,
                    do="Restore the original list.",
                )
            )

    @property
    def commitment(self) -> str:
        """SHA-256 of the list with its salt: publish it before training, show the list after."""
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def request(self) -> ForgetRequest:
        """Who is to be forgotten: every canary that was trained on."""
        # Those whose coin came up for training
        pairs = zip(self.patients, self.included, strict=True)
        trained_on = tuple(patient for patient, included in pairs if included)
        return ForgetRequest(trained_on, reason="canaries drawn by coin before training")

    def by_code(self, cohort: Cohort) -> Ints:
        """Int[c] by patient code: 1 = trained on, 0 = never seen, -1 = no canary."""
        # In the order of the patient codes
        included_of = dict(zip(self.patients, self.included, strict=True))
        values = [int(included_of.get(patient, -1)) for patient in codes(cohort.patient)[1]]
        return np.array(values, np.int64)


def draw_canaries(cohort: Cohort, *, pairs: int, seed: int, key: bytes) -> Canaries:
    """Draw matched pairs of patients and toss a fair coin for each of the two, independently.

    The coins depend on the secret identifier key, so that they can be tossed again but not foreseen without it.

    Args:
        cohort: The cohort, before anything is trained on it.
        pairs: m; 2m patients, equal in study count and most frequent label within a pair.
        seed: Root seed.
        key: Of the cohort's digests.

    Raises:
        CohortError: There are not that many such pairs among the free patients.
    """
    # A stream that nobody without the key can foresee
    content = f"canaries {seed} {cohort.digest}"
    salt = hmac.new(key, content.encode(), hashlib.sha256).hexdigest()
    random = numpy_generator(int(salt[:15], 16), "canaries")

    # Free patients by study count and label; within each kind, pairs at random
    kinds: dict[tuple[int, int], list[str]] = {}
    for patient, kind in _free_patients(cohort).items():
        kinds.setdefault(kind, []).append(patient)
    possible: list[tuple[str, str]] = []
    for kind in sorted(kinds):
        patients_of_kind = kinds[kind]
        order = random.permutation(len(patients_of_kind))
        for first, second in zip(order[::2], order[1::2], strict=False):
            possible.append((patients_of_kind[first], patients_of_kind[second]))

    if not 1 <= pairs <= len(possible):
        raise CohortError(
            Fault(
                f"{pairs} pairs of canaries cannot be drawn",
                why=f"{len(possible)} pairs of free patients agree in study count and label",
                do=f"Ask for 1 to {len(possible)} pairs." if possible else "Use a larger cohort.",
            )
        )

    # The pairs, then the coins
    patients: list[str] = []
    for index in random.permutation(len(possible))[:pairs]:
        patients += possible[index]
    coins = random.integers(0, 2, 2 * pairs)
    return Canaries(
        cohort=cohort.digest,
        patients=tuple(patients),
        included=tuple(bool(coin) for coin in coins),
        salt=salt,
    )


def _free_patients(cohort: Cohort) -> dict[str, tuple[int, int]]:
    """Patients who may be trained on and are in a group of their own, with their study count and label."""
    # Codes, and the number of patients in each group
    patient, digests = codes(cohort.patient)
    group = codes(cohort.group)[0]
    study = codes(cohort.study)[0]
    strata_of_rows = strata(cohort.label)
    members = np.unique(np.stack([group, patient]), axis=1)
    group_size = np.bincount(members[0])

    # Each patient: trainable, alone in the group, with at least one known label
    free = {}
    for code, digest in enumerate(digests):
        rows = np.flatnonzero(patient == code)
        label = strata_of_rows[rows]
        known = label[label >= 0]
        trainable = np.isin(cohort.split[rows], ("", "train")).all()
        alone = (group_size[group[rows]] == 1).all()
        if trainable and alone and len(known):
            studies = len(np.unique(study[rows]))
            free[str(digest)] = studies, int(np.bincount(known).argmax())
    return free


def keep_out(canaries: Canaries, partition: Partition, cohort: Cohort) -> Partition:
    """The same partition with the canaries that are not trained on among the held-out patients.

    Raises:
        PartitionError: One that is trained on is not forgotten.
    """
    # The coin of each row's patient
    coin = canaries.by_code(cohort)[partition.patient]
    never_seen = np.flatnonzero(coin == 0)
    trained_on = np.flatnonzero(coin == 1)
    if not np.isin(trained_on, partition.forget).all():
        raise PartitionError(
            Fault(
                "a canary that was trained on is not in the forget set",
                why="every canary that was trained on is to be forgotten",
                do="Use the request of these canaries as the forget list.",
            )
        )

    note = f"canaries: {len(canaries.patients)} drawn by coin, sealed as {canaries.commitment[:16]}"
    return replace(
        partition,
        retain=np.setdiff1d(partition.retain, never_seen),
        validation=np.setdiff1d(partition.validation, never_seen),
        holdout=np.union1d(partition.holdout, never_seen),
        notes=(*partition.notes, note),
    )


def check_kept_out(canaries: Canaries, partition: Partition, cohort: Cohort) -> None:
    """Refuse a model that was trained on canaries which were to be held out.

    Raises:
        PartitionError: It was.
    """
    coin = canaries.by_code(cohort)[partition.patient]
    trained = np.union1d(partition.forget, partition.retain)
    if np.any(coin[trained] == 0):
        raise PartitionError(
            Fault(
                "the given original was trained on canaries that were to be held out",
                why="their coins decided that it never sees them",
                do="Give the model that was trained with these canaries.",
            )
        )


def write_canaries(directory: Path, canaries: Canaries) -> None:
    """Write the sealed list, and the commitment to publish."""
    write_json(directory / SEALED, asdict(canaries))
    write_text(directory / COMMITMENT, f"{canaries.commitment}\n")


def read_canaries(path: Path, cohort: Cohort) -> Canaries:
    """Read a sealed list.

    Raises:
        CohortError: It cannot be read, is of another cohort, or is not the one its commitment was published for.
    """
    do = "Give the canaries.json of forgetmi cohort canaries."
    plain = read_json(path, what="the canaries", do=do, error=CohortError)
    try:
        canaries = from_plain(Canaries, plain, where=path.name, complete=True)
    except SpecError as error:
        raise CohortError(error.faults) from None

    # Digests of patients mean nothing in another cohort
    if canaries.cohort != cohort.digest:
        raise CohortError(
            Fault(
                "the canaries were drawn for another cohort",
                where=path.name,
                why="its digest is not this cohort's",
                do="Give the cohort that they were drawn from.",
            )
        )

    # Under another rule of identifiers, or another key, nobody on the list would be found
    if not set(canaries.patients) <= set(cohort.patient):
        raise CohortError(
            Fault(
                "canaries are not in the cohort",
                where=path.name,
                why="the cohort was read with another identifier key, or another rule for spellings",
                do="Read it as it was read when they were drawn.",
            )
        )

    # The commitment, where it lies in the same folder, shows that the list was not changed
    commitment = path.with_name(COMMITMENT)
    if commitment.exists() and _published(commitment) != canaries.commitment:
        raise CohortError(
            Fault(
                "the canaries were changed after they were sealed",
                where=path.name,
                why=f"their digest is not the one in {COMMITMENT}",
                do="Restore the original list.",
            )
        )
    return canaries


def _published(path: Path) -> str:
    """The commitment as it was published."""
    source = Source(path.name, "the commitment", "Restore the file.", CohortError)
    return read_text(path, source, limit=_COMMITMENT_BYTES).strip()
