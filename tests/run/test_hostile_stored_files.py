"""Files of a run that somebody changed: missing keys, other types, nulls, lists for mappings; each is one error."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from forgetmi.audit.result import Audit
from forgetmi.benchmark.store import Store
from forgetmi.cohort.partition_file import check_rows, read_stored
from forgetmi.core.errors import EvaluationError, ForgetMIError, PartitionError, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.report.manifest import Manifest
from forgetmi.run.audit_stage import declared_in, stored_duplicates
from forgetmi.run.costs import cost_of
from forgetmi.run.directory import RunDirectory
from forgetmi.run.report_facts import converted, stored_expectation
from forgetmi.run.trace_file import read_weights
from forgetmi.run.withdrawal_files import read_withdrawal

# What no file of a run may be
CONTENTS = [
    *("", " ", "null", "[]", "[1]", "1", '"text"', "{", "{}", "[" * 10_000, "NaN", "9" * 5000),
    *('{"a": 1, "a": 2}', '{"cost": null}', '{"cost": [1]}', '{"cost": {"seconds": "x"}}'),
    *(
        '{"scores": [], "notes": 1}',
        '{"copies": [1]}',
        '{"images": {"a": -1e999}}',
        '{"stages": [1]}',
    ),
    *(
        '{"cohort": 1, "forget": [0, 0]}',
        '{"forget": [99999999999999999999]}',
        '{"forget": {"a": 1}}',
    ),
]

READERS: dict[str, Callable[[Path], Any]] = {
    "partition.json": read_stored,
    "metrics.json": Evaluation.read,
    "audit.json": Audit.read,
    "manifest.json": Manifest.read,
    "rule.json": lambda path: declared_in(RunDirectory(path.parent)),
    "expected.json": lambda path: stored_expectation(RunDirectory(path.parent)),
    "withdrawal.json": lambda path: read_withdrawal(path.parent),
    "duplicates.json": lambda path: stored_duplicates(RunDirectory(path.parent)),
    "traces/original.json": lambda path: cost_of(RunDirectory(path.parents[1]), "original"),
    "traces/unlearned.json": lambda path: read_weights(RunDirectory(path.parents[1]), "unlearned"),
    "cells/a/cell.json": lambda path: Store(path.parents[2]).outcome("a"),
}


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_refused_in_words(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(ForgetMIError) as caught:
        READERS[name](path)
    for fault in caught.value.faults:
        assert path.name in fault.where or path.name in str(fault)


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', '{"a": 1.5}', "null"])
def test_changed_notices_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "notices.json").write_text(content)
    with pytest.raises(SpecError, match="notices"):
        converted(RunDirectory(tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_place_of_a_file_is_never_waited_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(ForgetMIError, match="pipe"):
        READERS[name](path)


def partition(**changes: Any) -> str:
    sets = {"forget": [0], "retain": [1], "validation": [2], "holdout": [3], "reference": []}
    stored = {"cohort": "a", "whole_patients": True, "notes": [], **sets, **changes}
    return json.dumps({key: value for key, value in stored.items() if value != "absent"})


WRONG = {
    "a set is missing": {"holdout": "absent"},
    "null for rows": {"forget": None},
    "a negative row, which would count from the end": {"forget": [-1]},
    "a row twice": {"forget": [0, 0]},
    "a fraction": {"forget": [0.5]},
    "truth for a row": {"forget": [True]},
    "text for a row": {"forget": ["0"]},
    "text for a truth value": {"whole_patients": "yes"},
    "text for notes": {"notes": "note"},
    "a number for a digest": {"cohort": 5},
}


@pytest.mark.parametrize("case", WRONG)
def test_partitions_are_checked_row_by_row(case: str, tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text(partition(**WRONG[case]))
    with pytest.raises(PartitionError, match=r"partition\.json"):
        read_stored(path)


def test_rows_beyond_the_cohort_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text(partition(forget=[4]))
    with pytest.raises(PartitionError, match="rows that the cohort does not have"):
        check_rows(read_stored(path), 4, path.name)
    check_rows(read_stored(path), 5, path.name)


def arrays(**changes: Any) -> dict[str, Any]:
    sound = {
        "model": np.array("a"),
        "cohort": np.array("b"),
        "row": np.arange(3),
        "patient": np.array(["p"] * 3),
        "study": np.array(["s"] * 3),
        "label": np.array([-1, 0, 1]),
        "image_logits": np.zeros((3, 2)),
        "text_logits": np.zeros((3, 2)),
    }
    return {key: value for key, value in {**sound, **changes}.items() if value is not None}


def npz(values: dict[str, Any], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **values)
    return file.getvalue()


SIGNALS = {
    "compressed": npz(arrays(), compressed=True),
    "a missing array": npz(arrays(label=None)),
    "an unknown array": npz(arrays(other=np.zeros(3))),
    "other lengths": npz(arrays(label=np.zeros(2, np.int64))),
    "other dimensions": npz(arrays(image_logits=np.zeros(3))),
    "text for numbers": npz(arrays(image_logits=np.array([["a", "b"]] * 3))),
    "complex numbers": npz(arrays(image_logits=np.zeros((3, 2), complex))),
    "three classes by one number": npz(
        arrays(
            image_logits=np.zeros((3, 1)), text_logits=np.zeros((3, 1)), label=np.array([0, 1, 2])
        )
    ),
    "other classes": npz(arrays(text_logits=np.zeros((3, 3)))),
    "a label that is no class": npz(arrays(label=np.array([0, 1, 2]))),
    "a row twice": npz(arrays(row=np.array([0, 0, 1]))),
    "no rows": npz({**{k: v[:0] if v.ndim else v for k, v in arrays().items()}}),
    "objects": npz(arrays(patient=np.array(["p", 1, None], object))),
    "cut short": npz(arrays())[:-200],
    "no zip": b"PK\x03\x04nothing",
    "nothing": b"",
}


@pytest.mark.parametrize("case", SIGNALS)
def test_signals_are_checked_array_by_array(case: str, tmp_path: Path) -> None:
    path = tmp_path / "signals.npz"
    path.write_bytes(SIGNALS[case])
    with pytest.raises(EvaluationError, match=r"^signals\.npz: the signals cannot be read"):
        Signals.load(path)


def test_a_header_that_claims_more_than_the_file_asks_for_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "signals.npz"
    path.write_bytes(npz(arrays(image_logits=None)))

    # A sound archive, in which one array has no more than a header
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)}
    np.lib.format.write_array_header_1_0(header, claim)
    with ZipFile(path, "a") as archive:
        archive.writestr("image_logits.npy", header.getvalue())
    with pytest.raises(EvaluationError, match="an array is cut short"):
        Signals.load(path)


def test_sound_signals_are_read(tmp_path: Path) -> None:
    path = tmp_path / "signals.npz"
    path.write_bytes(npz(arrays(joint_embedding=np.zeros((3, 4), np.float32))))
    assert len(Signals.load(path)) == 3
