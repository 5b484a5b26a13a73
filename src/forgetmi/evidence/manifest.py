"""The data manifest: one keyed digest for every image and every report that models are trained on, in a sorted tree."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.json_text import parse_json
from forgetmi.core.partition import Partition
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.merkle import Absence, Inclusion, MerkleTree
from forgetmi.evidence.record import TrainingData

FORMAT = "forgetmi absence 1"
PROOFS = "absence.json"

# Most bytes of the proofs: 40,000 images take about 200 MiB
PROOFS_BYTES = 2**30


@dataclass(frozen=True)
class Proof:
    """What became of one forgotten image or report.

    Args:
        kind: "image" or "report".
        before: It was in the training data before.
        absent: It is not there after; None where its exact content is also a retained patient's.
        shared: In that case, that it is still there.
    """

    kind: str
    before: Inclusion
    absent: Absence | None
    shared: Inclusion | None


@dataclass(frozen=True)
class Proofs:
    """The content of absence.json.

    Args:
        format: Version of this form.
        proofs: One for each distinct image and report of the forgotten.
    """

    format: str
    proofs: tuple[Proof, ...]

    def to_json(self) -> str:
        """Stable JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Proofs:
        """Read what `to_json` wrote.

        Raises:
            EvidenceError: It is not of this form.
        """
        do = "Use the original file."
        values = parse_json(text, where=PROOFS, what="the proofs", do=do, error=EvidenceError)
        try:
            proofs = from_plain(cls, values, where=PROOFS, complete=True)
        except SpecError as error:
            raise EvidenceError(error.faults) from None

        if proofs.format != FORMAT:
            raise EvidenceError(
                Fault(
                    "the proofs have another format",
                    where=PROOFS,
                    why=f"this version reads {FORMAT}",
                    do="Use the version of forgetmi that wrote them.",
                )
            )
        return proofs


def leaf(key: bytes, kind: str, content: str) -> str:
    """Keyed digest of one image or report, so that nobody without the key can test a guess.

    Args:
        key: The identifier key.
        kind: "image" or "report".
        content: SHA-256 of the image file, or of the report's text in UTF-8, hex.
    """
    # Images and reports have domains of their own
    named = f"content\x1f{kind}\x1f{content}"
    return hmac.digest(key, named.encode(), hashlib.sha256).hex()


Content = tuple[str, str]
"""An image or a report: its kind, and its SHA-256 in hex."""


def contents(images: Strings, reports: Strings) -> list[tuple[Content, ...]]:
    """The image and the report of each row, as (kind, SHA-256) pairs.

    Args:
        images: SHA-256 of each row's image, "" = none.
        reports: Texts.
    """
    # Images of a study share a report: each text is hashed once
    digest_of = {}
    for report in set(reports.tolist()):
        digest_of[report] = hashlib.sha256(report.encode()).hexdigest()

    rows = []
    for image, report in zip(images.tolist(), reports.tolist(), strict=True):
        row: tuple[Content, ...] = (("report", digest_of[report]),)
        if image:
            row = (("image", image), *row)
        rows.append(row)
    return rows


def training_data(
    partition: Partition,
    *,
    images: Strings,
    reports: Strings,
    key: bytes,
) -> tuple[TrainingData, Proofs]:
    """The manifest before and after, and what became of each forgotten image and report.

    Args:
        partition: Forget and retain rows are trained on before, retain rows after.
        images, reports: See `contents`.
        key: The identifier key.
    """
    # Distinct images and reports, each with its leaf
    rows = contents(images, reports)
    retained = _leaves(rows, partition.retain, key)
    forgotten = _leaves(rows, partition.forget, key)

    # The trees after and before, and a proof for each forgotten leaf
    after = MerkleTree.of(retained.values())
    before = MerkleTree.of([*retained.values(), *forgotten.values()])
    proofs = []
    for (kind, _), digest in forgotten.items():
        proofs.append(_proof(kind, before.prove(digest), after.prove(digest)))

    # The order of the rows must not show which digest is whose
    proofs.sort(key=lambda proof: proof.before.leaf)

    # Absent after, or shared with somebody who stays
    absent = sum(proof.absent is not None for proof in proofs)
    data = TrainingData(
        cohort=partition.cohort,
        before=before.root,
        after=after.root,
        leaves_before=len(before),
        leaves_after=len(after),
        absent=absent,
        shared=len(proofs) - absent,
        proofs=PROOFS,
    )
    return data, Proofs(FORMAT, tuple(proofs))


def _leaves(rows: list[tuple[Content, ...]], chosen: Ints, key: bytes) -> dict[Content, str]:
    """Leaf of each distinct image and report in the chosen rows."""
    leaves = {}
    for row in chosen.tolist():
        for content in rows[row]:
            if content not in leaves:
                leaves[content] = leaf(key, *content)
    return leaves


def _proof(kind: str, before: Inclusion | Absence, after: Inclusion | Absence) -> Proof:
    """One proof; the leaf is in the tree before, and after either absent or shared."""
    assert isinstance(before, Inclusion)
    if isinstance(after, Absence):
        return Proof(kind, before, absent=after, shared=None)
    return Proof(kind, before, absent=None, shared=after)


def proof_faults(data: TrainingData, proofs: Proofs) -> list[Fault]:
    """What is wrong with the proofs that a record names; empty = all hold."""
    faults = []
    for number, proof in enumerate(proofs.proofs, start=1):
        if not _holds(proof, data):
            faults.append(
                Fault(
                    f"proof {number} does not hold",
                    where=data.proofs,
                    why="it does not lead to the root in the record",
                )
            )

    # As many as the record states, each about another image or report
    absent = sum(proof.absent is not None for proof in proofs.proofs)
    shared = sum(proof.shared is not None for proof in proofs.proofs)
    distinct = {proof.before.leaf for proof in proofs.proofs}
    if (absent, shared) != (data.absent, data.shared) or len(distinct) < len(proofs.proofs):
        faults.append(Fault("the number of proofs is not the record's", where=data.proofs))

    # Nobody else comes or goes
    if data.leaves_before != data.leaves_after + data.absent:
        faults.append(
            Fault(
                "the trees before and after differ by more than the forgotten",
                where=data.proofs,
                why=f"{data.leaves_before} leaves before, {data.leaves_after} after, {data.absent} absent",
            )
        )
    return faults


def _holds(proof: Proof, data: TrainingData) -> bool:
    """Whether a proof leads to the roots: the leaf is in the tree before, and absent or shared after."""
    if not _hexadecimal(proof):
        return False
    if (proof.absent is None) == (proof.shared is None):
        return False

    after = proof.absent or proof.shared
    assert after is not None
    return (
        after.leaf == proof.before.leaf
        and proof.before.holds(data.before, data.leaves_before)
        and after.holds(data.after, data.leaves_after)
    )


def _hexadecimal(proof: Proof) -> bool:
    """Whether everything that stands for a digest is 64 hex digits."""
    # A digest of another form could make bytes.fromhex fail
    digits = frozenset("0123456789abcdef")
    return all(len(text) == 64 and set(text) <= digits for text in _digests(asdict(proof)))


def _digests(value: Any) -> Iterable[str]:
    """Everything in a proof that stands for a digest: leaves and paths, at any depth."""
    if not isinstance(value, Mapping):
        return
    for name, item in value.items():
        if name == "leaf":
            yield item
        elif name == "path":
            yield from item
        else:
            yield from _digests(item)
