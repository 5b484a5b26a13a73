"""Files that runs store: partition, signals, traces, duplicates, audits, scores, facts, plans, records and proofs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec
from forgetmi.benchmark.store import Store
from forgetmi.cohort.canaries import Canaries
from forgetmi.cohort.partition_file import check_rows, read_stored
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.evidence.manifest import Proofs, proof_faults
from forgetmi.evidence.record import Record, TrainingData
from forgetmi.evidence.record_files import read_record
from forgetmi.model.checkpoint_facts import facts_digest, read_facts
from forgetmi.model.spec import ModelSpec
from forgetmi.report import near_duplicates
from forgetmi.report.manifest import Manifest
from forgetmi.requests.cost_law import read_cost_law
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_plan import FOLDS, PLAN, Folds, PoolPlan, read_folds, read_plan
from forgetmi.run.shadow_plan import Plan
from forgetmi.run.trace_file import OF_UNLEARNING, StoredTrace, read_trace
from tests.fuzz.hostile import answers, changed, damaged, plain_of
from tests.fuzzing import fuzz

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def texts(sound: Any) -> st.SearchStrategy[bytes]:
    """JSON of sound values that were changed, or damaged as bytes."""
    written = json.dumps(sound, indent=1, sort_keys=True).encode()
    return changed(sound).map(lambda value: json.dumps(value).encode()) | damaged(written)


def fuzz_file(path: Path, sound: Any, read: Callable[[], Any]) -> None:
    """Read one file again and again, with other content each time."""
    path.parent.mkdir(parents=True, exist_ok=True)

    @given(texts(sound))
    def check(text: bytes) -> None:
        path.write_bytes(text)
        answers(read)

    fuzz(check)


PARTITION = {
    "cohort": "a",
    "whole_patients": True,
    "notes": ["n"],
    "forget": [0],
    "retain": [1, 2],
    "validation": [3],
    "holdout": [4],
    "reference": [],
    "earlier": [],
}


def test_partitions(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"

    def read() -> Partition:
        stored = read_stored(path)
        check_rows(stored, 5, path.name)
        people = np.arange(5)
        return Partition(**stored.rows, patient=people, group=people, cohort=stored.cohort)

    fuzz_file(path, PARTITION, read)


def test_traces(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    sound = {**plain_of(StoredTrace), "options": {"lr": 1}}
    fuzz_file(run.trace("a"), sound, lambda: read_trace(run, "a", needs=OF_UNLEARNING))


def test_duplicates(tmp_path: Path) -> None:
    from forgetmi.run.audit_stage import stored_duplicates

    copy = {"kind": "same file", "similarity": 1.0, "patient": "a", "item": "b", "do": "Look."}
    copy |= {"other_patient": "c", "other_item": "d", "other_set": "retain"}
    sound = {
        "warnings": [],
        "images_compared": [1, 2],
        "reports_compared": [1, 2],
        "copies": [copy],
    }
    run = RunDirectory(tmp_path)
    fuzz_file(run.duplicates, sound, lambda: near_duplicates.warnings(stored_duplicates(run)))


def test_audits(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    fuzz_file(path, plain_of(Audit), lambda: Audit.read(path))


def test_rules(tmp_path: Path) -> None:
    from forgetmi.run.audit_stage import declared_in

    run = RunDirectory(tmp_path)
    fuzz_file(run.rule, json.loads(AuditSpec().to_json()), lambda: declared_in(run))


def test_scores(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    scores = [{"kind": "score", **plain_of(Score)}, {"kind": "failed", **plain_of(Failed)}]
    fuzz_file(path, {"scores": {"original": scores}, "notes": ["n"]}, lambda: Evaluation.read(path))


def test_manifests(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    sound = plain_of(Manifest)
    sound["stages"] = [{"stage": "a", "seconds": 1.0, "cpu_seconds": 1.0, "peak_memory": 1}]
    fuzz_file(path, sound, lambda: Manifest.read(path))


def test_outcomes_of_a_benchmark(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sound = {"reason": "", "cost": {"seconds": 1.0, "cpu_seconds": 1.0, "peak_memory": 1}}
    sound |= {"weights": "a", "identity": {}}
    fuzz_file(store.folder("a") / "cell.json", sound, lambda: store.outcome("a"))


def test_canaries_and_plans() -> None:
    @given(changed(plain_of(Canaries)), changed(plain_of(Plan)))
    def check(canaries: Any, plan: Any) -> None:
        answers(lambda: from_plain(Canaries, canaries, where="f", complete=True).commitment)
        answers(lambda: from_plain(Plan, plan, where="f", complete=True))

    fuzz(check)


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    sound = plain_of(Record)
    days = {"received": "2026-01-02", "due": "2026-02-01"}
    sound["request"] |= {"due": days["due"], "in_service": days["due"]}
    sound["request"]["each"] = [withdrawal | days for withdrawal in sound["request"]["each"]]
    record = from_plain(Record, sound, where="f", complete=True)
    canonical = record.to_bytes()

    @given(texts(sound) | damaged(canonical))
    def check(text: bytes) -> None:
        path.write_bytes(text)
        answers(lambda: read_record(path))

    fuzz(check)


def test_cost_laws(tmp_path: Path) -> None:
    sound = json.loads((ROOT / "studies" / "cost_law.json").read_text())
    few = ("retrain", "forget_mi")
    sound["methods"] = [method for method in sound["methods"] if method["name"] in few]
    sound["runs"] = [run for run in sound["runs"] if run["method"] in few]
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(sound))
    assert read_cost_law(path).lines.keys() == set(few)

    fuzz_file(path, sound, lambda: read_cost_law(path))


@pytest.mark.parametrize("name", ["plan", "folds"])
def test_pools(name: str, tmp_path: Path) -> None:
    plan, folds = plain_of(PoolPlan), plain_of(Folds)
    (tmp_path / PLAN).write_text(json.dumps(plan))
    (tmp_path / FOLDS).write_text(json.dumps(folds))

    def read() -> Any:
        return read_folds(tmp_path, read_plan(tmp_path))

    sound, file = (plan, PLAN) if name == "plan" else (folds, FOLDS)
    fuzz_file(tmp_path / file, sound, read)


def test_proofs() -> None:
    facts = plain_of(TrainingData)
    sound = plain_of(Proofs) | {"format": "forgetmi absence 1"}

    @given(changed(sound), changed(facts))
    def check(proofs: Any, data: Any) -> None:
        read = answers(lambda: Proofs.from_json(json.dumps(proofs)))
        training = answers(lambda: from_plain(TrainingData, data, where="f", complete=True))
        if read is not None:
            training = training or from_plain(TrainingData, facts, where="f", complete=True)
            proof_faults(training, read)

    fuzz(check)


def test_facts_of_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "model" / "model.json"
    path.parent.mkdir()
    sound: dict[str, Any] = {
        "format": 1,
        "version": "1",
        "spec": ModelSpec().to_plain(),
        "classes": ["a", "b", "c", "d"],
        "preprocessing": {"images": {"size": 32}, "text": {"max_length": 8}},
        "extra": {},
        "weights": "a",
        "vocabulary": "b",
    }

    @given(changed(sound), st.booleans())
    def check(facts: Any, sealed: bool) -> None:
        if sealed and isinstance(facts, dict):
            try:
                facts["digest"] = facts_digest(facts)
            except ValueError:
                return
        path.write_text(json.dumps(facts))
        read = answers(lambda: read_facts(path))
        if read is not None:
            answers(lambda: ModelSpec.from_plain(read["spec"]))

    fuzz(check)


def test_tokenizers(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    vocabulary = {word: number for number, word in enumerate(words)}
    normalizer = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None}
    sound = {"model": {"type": "WordPiece", "vocab": vocabulary}, "normalizer": normalizer}
    fuzz_file(path, sound, lambda: Tokenizer.from_pretrained_directory(tmp_path).digest)


ROWS = 3
ARRAYS: dict[str, Any] = {
    "model": np.array("a"),
    "cohort": np.array("b"),
    "row": np.arange(ROWS),
    "patient": np.array(["a"] * ROWS),
    "study": np.array(["b"] * ROWS),
    "label": np.zeros(ROWS, np.int64),
    "image_logits": np.zeros((ROWS, 2)),
    "text_logits": np.zeros((ROWS, 2)),
    "joint_embedding": np.zeros((ROWS, 2), np.float32),
}
OTHER = [
    *(np.array(1), np.zeros(0), np.zeros((2, 2, 2)), np.array(["x"]), np.array([2**63], np.uint64)),
    *(np.array([True] * 3), np.array([1j] * 3), np.full(3, np.nan), np.array([b"a"] * 3)),
    *(np.zeros((3, 0)), np.array([-1, 0, 1]), np.array([0, 0, 1]), np.zeros(3, "V4")),
    np.array(["2024-01-01"] * 3, "datetime64[D]"),
]


def npz(arrays: dict[str, Any], compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


@st.composite
def signals(draw: st.DrawFn) -> bytes:
    """An .npz of arrays of which some were replaced or left out, perhaps compressed."""
    arrays = dict(ARRAYS)
    for name in draw(st.lists(st.sampled_from([*ARRAYS, "other"]), max_size=3)):
        if draw(st.booleans()):
            arrays.pop(name, None)
        else:
            arrays[name] = draw(st.sampled_from(OTHER))
    return npz(arrays, draw(st.booleans()))


def test_signals(tmp_path: Path) -> None:
    path = tmp_path / "signals.npz"
    sound = npz(ARRAYS, compressed=False)

    @given(signals() | damaged(sound) | st.binary(max_size=100))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        read = answers(lambda: Signals.load(path))
        if read is not None:
            assert len(read.select(read.row)) == len(read)

    fuzz(check)
