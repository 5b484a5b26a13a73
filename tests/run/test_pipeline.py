"""A run as resumable stages: complete, private, and the same after kill -9 as without."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from forgetmi.audit.rule import AuditSpec
from forgetmi.cli import main
from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.methods.retrain import Retrain
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.spec import RunSpec, write_yaml
from tests.evidence.copied_runs import replace, unrecorded
from tests.processes import started
from tests.runs import SMALL, TINY

SAME = (
    "models/*/model.safetensors",
    "models/*/vocab.txt",
    "signals/*.npz",
    "metrics.json",
    "metrics.csv",
    "partition.json",
    "spec.yaml",
)


def contents(root: Path) -> dict[str, str]:
    """Digests of everything that must not depend on how a run was interrupted (times and costs may)."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in SAME
        for path in sorted(root.glob(pattern))
    }


@pytest.fixture(scope="module")
def whole(signed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of TINY without a record: nothing in it is guarded by one."""
    root = unrecorded(signed_run, tmp_path_factory.mktemp("runs"))
    for path in (root / "partition.json", root / "manifest.json"):
        replace(path, path.read_bytes())
    return root


# Two epochs, so that a training can be interrupted; nothing after the unlearned model.
SHORT = dataclasses.replace(SMALL, retrains=0, audit=AuditSpec(enabled=False))


def test_a_run_is_complete(whole: Path) -> None:
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    models = {"original", "retrain-0", "retrain-1", "unlearned"}
    assert {f"models/{name}/model.safetensors" for name in models} <= names
    assert {f"signals/{name}.npz" for name in models} <= names
    assert {f"traces/{name}.json" for name in models} <= names
    assert {
        "spec.yaml",
        "partition.json",
        "metrics.json",
        "metrics.csv",
        "manifest.json",
        "report.html",
    } <= names
    assert not [name for name in names if "partial" in name or "state/" in name]


def test_no_identifier_and_no_report_text_leaves_the_cohort(whole: Path) -> None:
    cohort = TINY.cohort.load()
    folder = Path(str(cohort.image[0]).split("#")[0]).parent
    table = (folder / "cohort.csv").read_text().splitlines()
    header = table[0].split(",")
    raw = {line.split(",")[header.index("patient_id")] for line in table[1:]} - {""}
    raw |= {line.split(",")[header.index("study_id")] for line in table[1:]} - {""}
    sentences = {text[:60] for text in cohort.report}
    for path in whole.rglob("*"):
        if path.is_file() and path.suffix not in {".safetensors"}:
            text = path.read_bytes().decode("utf-8", "replace")
            assert not [one for one in raw if len(one) > 4 and one in text], path.name
            assert not [one for one in sentences if one in text], path.name
            assert str(folder) not in text, path.name


def test_the_same_run_again_changes_nothing(whole: Path) -> None:
    before = contents(whole)
    finish(TINY, whole, command=["forgetmi", "run"])
    assert contents(whole) == before


def in_silence(words: list[str], printed: Path) -> None:
    """A command in a process of its own, which prints to a file."""
    sys.stdout = sys.stderr = printed.open("w")
    sys.exit(main(words))


@pytest.mark.parametrize(
    ("spec", "moment"),
    [
        (SHORT, "state/original.pt"),
        pytest.param(SMALL, "state/original.pt", marks=pytest.mark.slow),
        pytest.param(SMALL, "signals/original.npz", marks=pytest.mark.slow),
        pytest.param(SMALL, "models/retrain-1/model.json", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(spec: RunSpec, moment: str, tmp_path: Path) -> None:
    asked, uninterrupted = tmp_path / "spec.yaml", tmp_path / "whole"
    asked.write_text(write_yaml(spec))
    finish(spec, uninterrupted, command=["forgetmi", "run"])

    # Kill it at the moment
    root = tmp_path / "killed"
    process = started(
        in_silence, ["run", "--spec", str(asked), "--out", str(root)], tmp_path / "printed"
    )
    deadline = time.monotonic() + 120
    while not (root / moment).exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.is_alive(), (tmp_path / "printed").read_text()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (root / "metrics.json").exists()

    finish(spec, root, command=["forgetmi", "run"])
    assert contents(root) == contents(uninterrupted)


@pytest.mark.slow  # tests/core/test_distributed.py has the same of each stage
@pytest.mark.usefixtures("whole_gate")  # as the other processes fit it
def test_two_processes_give_the_same_bits_as_one(tmp_path: Path) -> None:
    for workers, name in ((1, "one"), (2, "two")):
        spec = dataclasses.replace(TINY, workers=workers)
        finish(spec, tmp_path / name, command=["forgetmi", "run"])
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {name: digest for name, digest in one.items() if name != "spec.yaml"} == {
        name: digest for name, digest in two.items() if name != "spec.yaml"
    }


def test_another_seed_gives_other_weights(signed_run: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(
        TINY, seed=4, split_seed=3, retrains=0, audit=AuditSpec(enabled=False)
    )
    finish(other, tmp_path / "other", command=["forgetmi", "run"])
    key = "models/original/model.safetensors"
    assert contents(tmp_path / "other")[key] != contents(signed_run)[key]


def test_retrain_as_a_method_equals_a_retrained_reference(whole: Path, tmp_path: Path) -> None:
    from forgetmi.run.run_models import model_seed

    again = dataclasses.replace(
        TINY,
        method=Retrain(),
        seed=model_seed(TINY, "retrain-0"),
        split_seed=3,
        retrains=0,
        audit=AuditSpec(enabled=False),
    )
    finish(again, tmp_path / "again", command=["forgetmi", "run"])
    assert (
        contents(tmp_path / "again")["models/unlearned/model.safetensors"]
        == contents(whole)["models/retrain-0/model.safetensors"]
    )


def test_a_directory_of_another_run_is_refused_and_untouched(whole: Path) -> None:
    before = contents(whole)
    with pytest.raises(SpecError, match=r"another run.*retrains"):
        finish(dataclasses.replace(TINY, retrains=1), whole, command=[])
    assert contents(whole) == before


def test_changed_data_are_refused(whole: Path) -> None:
    stored = (whole / "partition.json").read_text()
    (whole / "partition.json").write_text(stored.replace('"notes": [', '"notes": ["another",', 1))
    with pytest.raises(ForgetMIError, match="has changed since this run was started"):
        finish(TINY, whole, command=[])
    (whole / "partition.json").write_text(stored)


def test_a_directory_in_use_is_refused(whole: Path) -> None:
    with RunDirectory(whole).lock(), pytest.raises(SpecError, match="another process"):
        finish(TINY, whole, command=[])


def test_a_full_disk_leaves_nothing_half_written(
    signed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from forgetmi.model import checkpoint_contents

    real = checkpoint_contents.to_bytes
    calls = []

    def full(tensors: object) -> bytes:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(tensors)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint_contents, "to_bytes", full)
    root = tmp_path / "full"
    spec = dataclasses.replace(TINY, retrains=0, audit=AuditSpec(enabled=False))
    with pytest.raises(ForgetMIError, match="disk is full"):
        finish(spec, root, command=[])
    assert [path.name for path in (root / "models").iterdir()] == ["original"]

    # Of the same seeds as the whole run, whose models and signals it must have
    finish(spec, root, command=[])
    after, whole = contents(root), contents(signed_run)
    same = {name for name in after if name.startswith(("models/", "signals/"))}
    assert len(same) == 6
    assert {name: after[name] for name in same} == {name: whole[name] for name in same}


def test_costs_are_recorded(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert {stage["stage"] for stage in manifest["stages"]} >= {
        "original",
        "retrain-0",
        "unlearned",
        "evaluate",
    }
    assert all(stage["cpu_seconds"] > 0 for stage in manifest["stages"])
    assert manifest["seeds"]["root"] == TINY.seed


def test_an_empty_request_and_everybody_are_refused(tmp_path: Path) -> None:
    for percent in (0.0, 100.0):
        partition = dataclasses.replace(SMALL.partition, percent=percent)
        with pytest.raises(ForgetMIError, match="percent"):
            finish(
                dataclasses.replace(SMALL, partition=partition),
                tmp_path / "none",
                command=[],
            )
    assert not (tmp_path / "none").exists()
