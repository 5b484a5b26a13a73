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
from forgetmi.core.errors import CohortError, Fault, PartitionError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.serialization import from_plain

SEALED, COMMITMENT = "canaries.json", "commitment.txt"


@dataclass(frozen=True)
class Canaries:
    """The sealed list.

    Args:
        cohort: Digest of the cohort.
        patients: Keyed digests; neighbours (first and second, third and fourth ...) have equal study counts and labels.
        included: For each, what its own fair coin said: trained on and then forgotten, or never seen.
        salt: Keeps the commitment from being guessed.
    """

    cohort: str
    patients: tuple[str, ...]
    included: tuple[bool, ...]
    salt: str

    @property
    def commitment(self) -> str:
        """SHA-256 of the list with its salt: publish it before training, show the list after."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def request(self) -> ForgetRequest:
        """Who is to be forgotten: every canary that was trained on."""
        return ForgetRequest(
            tuple(one for one, kept in zip(self.patients, self.included, strict=True) if kept),
            reason="canaries drawn by coin before training",
        )

    def by_code(self, cohort: Cohort) -> Ints:
        """Int[c] by patient code: 1 = trained on, 0 = never seen, -1 = no canary."""
        said = {name: int(kept) for name, kept in zip(self.patients, self.included, strict=True)}
        return np.array([said.get(name, -1) for name in codes(cohort.patient)[1]], np.int64)


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
    salt = hmac.new(key, f"canaries {seed} {cohort.digest}".encode(), hashlib.sha256).hexdigest()
    random = numpy_generator(int(salt[:15], 16), "canaries")
    kinds: dict[tuple[int, int], list[str]] = {}
    for name, kind in _free(cohort).items():
        kinds.setdefault(kind, []).append(name)
    found: list[tuple[str, str]] = []
    for kind in sorted(kinds):
        order = random.permutation(len(kinds[kind]))
        found += [
            (kinds[kind][a], kinds[kind][b]) for a, b in zip(order[::2], order[1::2], strict=False)
        ]
    if not 1 <= pairs <= len(found):
        raise CohortError(
            Fault(
                f"{pairs} pairs of canaries cannot be drawn",
                do=f"Ask for 1 to {len(found)}.",
                why=f"{len(found)} pairs of free patients agree in study count and label",
            )
        )
    chosen = [found[at] for at in random.permutation(len(found))[:pairs]]
    patients = tuple(str(one) for pair in chosen for one in pair)
    return Canaries(
        cohort.digest,
        patients,
        tuple(bool(coin) for coin in random.integers(0, 2, 2 * pairs)),
        salt,
    )


def _free(cohort: Cohort) -> dict[str, tuple[int, int]]:
    """Patients who may be trained on and are in a group of their own, with their study count and label."""
    patient, names = codes(cohort.patient)
    group, study = codes(cohort.group)[0], codes(cohort.study)[0]
    people_of = np.bincount(np.unique(np.stack([group, patient]), axis=1)[0])
    free = {}
    for code, name in enumerate(names):
        rows = np.flatnonzero(patient == code)
        label = cohort.label[rows][cohort.label[rows] >= 0]
        if (
            np.isin(cohort.split[rows], ("", "train")).all()
            and (people_of[group[rows]] == 1).all()
            and len(label)
        ):
            free[str(name)] = len(np.unique(study[rows])), int(np.bincount(label).argmax())
    return free


def keep_out(canaries: Canaries, partition: Partition, cohort: Cohort) -> Partition:
    """The same partition with the canaries that are not trained on among the held-out patients.

    Raises:
        PartitionError: One that is trained on is not forgotten.
    """
    said = canaries.by_code(cohort)[partition.patient]
    rows = np.flatnonzero(said == 0)
    if not np.isin(np.flatnonzero(said == 1), partition.forget).all():
        raise PartitionError(Fault("a canary that was trained on is not among the forgotten"))
    sides = {name: np.setdiff1d(partition.rows(name), rows) for name in ("retain", "validation")}
    note = f"canaries: {len(canaries.patients)} drawn by coin, sealed as {canaries.commitment[:16]}"
    return replace(
        partition,
        **sides,
        holdout=np.union1d(partition.holdout, rows),
        notes=(*partition.notes, note),
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
    try:
        found = from_plain(
            Canaries, json.loads(path.read_text(encoding="utf-8")), where=path.name, complete=True
        )
    except (OSError, ValueError) as error:
        raise CohortError(
            Fault(
                "the canaries cannot be read",
                where=path.name,
                why=type(error).__name__,
                do="Give the canaries.json of forgetmi cohort canaries.",
            )
        ) from error
    if found.cohort != cohort.digest:
        raise CohortError(Fault("the canaries are of another cohort", where=path.name))
    published = path.with_name(COMMITMENT)
    if published.exists() and published.read_text(encoding="utf-8").strip() != found.commitment:
        raise CohortError(
            Fault(
                "the canaries were changed after they were sealed",
                where=path.name,
                why=f"{COMMITMENT} beside it says otherwise",
            )
        )
    return found
