"""Methods that need the original's training: SISA, Amnesiac and anybody's own, through the whole pipeline."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from forgetmi.audit.rule import AuditSpec
from forgetmi.cli import main
from forgetmi.core.errors import EvidenceError
from forgetmi.core.registry import methods
from forgetmi.core.signals import Signals
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.verify import verify
from forgetmi.methods.amnesiac import Amnesiac
from forgetmi.methods.sisa import Sisa
from forgetmi.model.checkpoint import load
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.recipe import Recipe
from forgetmi.run.finish import finish
from forgetmi.run.spec import write_yaml
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.original import watched
from tests.processes import started
from tests.run.test_pipeline import contents, in_silence
from tests.runs import SMALL, TINY

# Without references: the logs are what is looked at
SHORT = dataclasses.replace(
    TINY,
    training=Recipe(epochs=2),
    request=SMALL.request,
    retrains=0,
    audit=AuditSpec(enabled=False),
)
RUNS = {
    "sisa": dataclasses.replace(SHORT, method=Sisa(shards=2, slices=2)),
    "amnesiac": dataclasses.replace(SHORT, method=Amnesiac(repair_epochs=1)),
}


@pytest.fixture(scope="module", params=sorted(RUNS))
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("logs") / request.param
    finish(RUNS[request.param], root, command=["forgetmi", "run"])
    return request.param, root


def logs(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in sorted(root.glob("models/*.log/*"))
    }


def test_a_run_completes_with_a_report(whole: tuple[str, Path], capsys: Any) -> None:
    name, root = whole
    assert (root / "report.html").stat().st_size > 1000
    trace = json.loads((root / "traces" / "unlearned.json").read_text())
    assert trace["facts"]
    for model in ("original", "unlearned"):
        assert isinstance(load(root / "models" / model).model, Ensemble) == (name == "sisa")
        assert (root / "models" / f"{model}.log").exists()
    key = Path(os.environ["FORGETMI_KEY_FILE"])
    assert (
        main(
            [
                "predict",
                "--checkpoint",
                str(root / "models" / "unlearned"),
                "--out",
                str(root.parent / "x.npz"),
                "--cohort.patients",
                "26",
                "--cohort.seed",
                "3",
                "--cohort.size",
                "32",
            ]
        )
        == 0
    ), key
    said, stored = (
        Signals.load(root.parent / "x.npz"),
        Signals.load(root / "signals" / "unlearned.npz"),
    )
    assert np.array_equal(said.image_logits, stored.image_logits)


def test_the_record_names_the_logs_and_a_deleted_models_log_may_go_with_it(
    whole: tuple[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(whole[1], root)
    named = set(read_record(root).files)
    log = root / "models" / "original.log"
    stored = list(log.rglob("*")) if log.is_dir() else [log]
    assert {str(path.relative_to(root)) for path in stored} <= named
    assert not any(".log" in line for line in verify(root).open)

    # A log remembers whom the model was trained on: it is missed, unless its model was deleted on purpose
    shutil.rmtree(log) if log.is_dir() else log.unlink()
    with pytest.raises(EvidenceError, match=r"models/original\.log"):
        verify(root)
    shutil.rmtree(root / "models" / "original")
    assert "the weights of original: they were deleted" in verify(root, deleted=["original"]).open


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(whole: tuple[str, Path], tmp_path: Path) -> None:
    name, first = whole
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(RUNS[name]))
    root = tmp_path / "killed"
    process = started(
        in_silence, ["run", "--spec", str(spec), "--out", str(root)], tmp_path / "printed"
    )
    deadline = time.monotonic() + 120
    while (
        not (root / "state/original.pt").exists()
        and process.is_alive()
        and time.monotonic() < deadline
    ):
        time.sleep(0.002)
    assert process.is_alive(), "the run ended before it could be killed"
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (root / "models/original").exists()
    finish(RUNS[name], root, command=["forgetmi", "run"])
    assert contents(root) == contents(first)
    assert logs(root) == logs(first)


def test_the_log_beside_a_checkpoint_serves_a_given_original(
    whole: tuple[str, Path], tmp_path: Path
) -> None:
    name, root = whole
    given = dataclasses.replace(RUNS[name].given, original=root / "models" / "original")
    again = dataclasses.replace(RUNS[name], given=given, retrains=0)
    finish(again, tmp_path / "again", command=["forgetmi", "run"])
    assert (
        contents(tmp_path / "again")["models/unlearned/model.safetensors"]
        == contents(root)["models/unlearned/model.safetensors"]
    )


class Steps:
    """A recorder and log of another package: how many steps each row took part in."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def before_step(self, model: Any, batch: Any) -> None:
        pass

    def after_step(self, model: Any, batch: Any) -> None:
        for row in batch.row.tolist():
            self.seen[row] = self.seen.get(row, 0) + 1

    def after_epoch(self, model: Any, optimiser: Any, done: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.seen = state_dict["seen"]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.seen))

    @classmethod
    def load(cls, path: Path) -> Steps:
        log = cls()
        log.seen = {int(row): steps for row, steps in json.loads(path.read_text()).items()}
        return log


@dataclass(frozen=True)
class Shrink:
    """Shrinks weights by the share of steps that the forgotten had a part in."""

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Shrink",
        paper="a test",
        summary="Shrinks.",
        reads=frozenset({"forget", "training log"}),
        exact=False,
        cost="0",
        suits="tests",
        original=watched(lambda method, task: Steps(), Steps.load),
    )

    def apply(self, model: Any, loaders: Any, context: Any) -> Any:
        seen = context.training_log.seen
        context.facts["steps"] = sum(seen[int(row)] for row in loaders.forget.rows)
        student = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.mul_(1 - context.facts["steps"] / 1e4)
        return student


@pytest.fixture
def shrink() -> Iterator[None]:
    methods.add("shrink", Shrink)
    yield
    methods.remove("shrink")


def test_a_recorder_of_ones_own_works(tmp_path: Path, shrink: None) -> None:
    spec = dataclasses.replace(SHORT, method=Shrink())
    done = finish(spec, tmp_path / "run", command=["forgetmi", "run"])
    trace = json.loads((tmp_path / "run/traces/unlearned.json").read_text())
    assert trace["facts"]["steps"] == SHORT.training.epochs * len(done.partition.forget)
