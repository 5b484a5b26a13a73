"""The ground floor: types, errors, registry, seeding, strict reading, atomic files, costs, jobs."""

from __future__ import annotations

import errno
import pickle
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from forgetmi.core import cost, seeding
from forgetmi.core.arrays import codes
from forgetmi.core.cost import Cost, Meter, cost_so_far, go_on_from
from forgetmi.core.errors import Fault, ForgetMIError, MethodError, PartitionError, SpecError
from forgetmi.core.files import full_disk_explained, write_json, write_text
from forgetmi.core.partition import Partition
from forgetmi.core.registry import Registry
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.jobs.pool import Job, run_jobs


def part(**changes: Any) -> Partition:
    values: dict[str, Any] = {
        "forget": np.array([0, 1]),
        "retain": np.array([2, 3]),
        "validation": np.array([4]),
        "holdout": np.array([5]),
        "patient": np.array([0, 0, 1, 1, 2, 3]),
        "group": np.array([0, 0, 1, 1, 2, 3]),
        "cohort": "c",
    }
    return Partition(**{**values, **changes})


def test_a_partition_keeps_a_person_on_one_side() -> None:
    assert part().counts()["forget"] == {"images": 2, "patients": 1}
    with pytest.raises(PartitionError, match="patients are in both retain and holdout"):
        part(patient=np.array([0, 0, 1, 1, 2, 1]))
    with pytest.raises(PartitionError, match="patients are in both forget and retain"):
        part(patient=np.array([0, 0, 0, 1, 2, 3]))
    assert part(patient=np.array([0, 0, 0, 1, 2, 3]), group=np.arange(6), whole_patients=False)
    with pytest.raises(PartitionError, match="groups are in both forget and holdout"):
        part(group=np.array([0, 0, 1, 1, 2, 0]))
    assert part(group=np.array([0, 0, 0, 1, 2, 3]))  # one of a family may withdraw alone
    with pytest.raises(PartitionError, match="empty"):
        part(forget=np.array([], dtype=int))
    with pytest.raises(PartitionError, match="rows are in both"):
        part(validation=np.array([3, 4]))


def test_a_partition_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        part().forget[0] = 9


def test_codes_follow_first_appearance() -> None:
    code, unique = codes(np.array(["zz", "aa", "zz", "bb"], dtype=object))
    assert code.tolist() == [0, 1, 0, 2]
    assert unique.tolist() == ["zz", "aa", "bb"]


def signals() -> Signals:
    draw = np.random.default_rng(0)
    return Signals(
        model="m",
        cohort="c",
        row=np.array([5, 2, 9]),
        patient=np.array(["p", "q", "p"]),
        study=np.array(["a", "b", "c"]),
        label=np.array([0, 1, -1]),
        image_logits=draw.normal(size=(3, 2)),
        text_logits=draw.normal(size=(3, 2)),
        image_embedding=draw.normal(size=(3, 4)).astype(np.float32),
    )


def test_signals_survive_the_disk_and_select_rows(tmp_path: Path) -> None:
    signals().save(tmp_path / "s.npz")
    back = Signals.load(tmp_path / "s.npz")
    assert np.array_equal(back.image_logits, signals().image_logits)
    assert back.text_embedding is None
    assert back.select(np.array([9, 5])).label.tolist() == [-1, 0]
    with pytest.raises(KeyError):
        back.select(np.array([3]))
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_evaluations_survive_json_and_refuse_nan() -> None:
    score = Score("auc", 0.5, (0.4, 0.6), 3, 9, "closer", 0.55, "image", "forget")
    whole = Evaluation({"original": (score, Failed("f1", "no labels", "image", "test"))}, ("note",))
    assert Evaluation.from_json(whole.to_json()) == whole
    with pytest.raises(ValueError, match="not finite"):
        Evaluation({"m": (Score("auc", float("nan"), None, 1, 1, "higher"),)}).to_json()
    with pytest.raises(KeyError):
        whole.get("original", "auc", head="text", on="forget")


def test_errors_carry_all_faults_across_processes() -> None:
    error = MethodError(Fault("one", where="here", why="because", do="Do that."), Fault("two"))
    again = pickle.loads(pickle.dumps(error))
    assert again.faults == error.faults
    assert str(error) == "here: one (because). Do that.\ntwo."


def test_registry_refuses_twins_and_names_the_nearest() -> None:
    registry = Registry("part", "forgetmi.no-such-group")
    registry.add("alpha", int)
    with pytest.raises(SpecError, match="exists already"):
        registry.add("alpha", str)
    with pytest.raises(SpecError, match="Did you mean 'alpha'"):
        registry.get("alpah")
    registry.remove("alpha")
    assert registry.names() == ()


def test_seeds_depend_on_every_key_and_scope_restores() -> None:
    assert (
        len(
            {
                seeding.derive(0),
                seeding.derive(1),
                seeding.derive(0, "a"),
                seeding.derive(0, "a", 1),
                seeding.derive(0, "a", "1"),
                seeding.derive(0, "a1"),
            }
        )
        == 6
    )
    assert seeding.derive(3, "train", 2) == seeding.derive(3, "train", 2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeding.scope(0, "x"):
        first = torch.rand(2)
    with seeding.scope(0, "x"):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    path: Path | None = None


def test_plain_values_are_read_strictly() -> None:
    built = from_plain(
        Outer, {"name": "x", "inner": {"rate": "1e-4"}, "sizes": [1, 2], "path": "p"}, where="f"
    )
    assert built == Outer("x", Inner(1e-4), "a", (1, 2), Path("p"))
    with pytest.raises(SpecError) as caught:
        from_plain(
            Outer,
            {"nmae": "x", "inner": {"rate": "fast"}, "kind": "c", "sizes": [1, "2"]},
            where="f",
        )
    text = str(caught.value)
    for word in (
        "Did you mean 'name'",
        "inner.rate",
        "one of 'a', 'b'",
        "sizes[1]",
        "'name' is missing",
    ):
        assert word in text
    with pytest.raises(SpecError, match="'kind' is missing"):
        from_plain(Outer, {"name": "x"}, where="f", complete=True)


def test_files_are_whole_or_unchanged(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "x.txt", "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a" / "x.txt", float("nan"))
    assert (tmp_path / "a" / "x.txt").read_text() == "old"
    with pytest.raises(ForgetMIError, match="disk is full"), full_disk_explained("x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.txt"]


def test_a_meter_measures_memory_and_time() -> None:
    with Meter(interval=0.01) as meter:
        block = np.ones(20_000_000)
        time.sleep(0.05)
    assert meter.cost.peak_memory > block.nbytes
    assert meter.cost.seconds >= 0.05


def test_meters_go_on_from_what_they_showed_when_progress_was_saved() -> None:
    assert cost_so_far() is None
    go_on_from(Cost(1e6, 1e6, 1))  # no meter runs: nothing to set
    with Meter() as outer:
        time.sleep(0.05)
        with Meter() as inner:
            time.sleep(0.05)  # done again after an interruption: it is in the saved cost
            go_on_from(Cost(1000.0, 500.0, 10**15))
            shown = cost_so_far()
            time.sleep(0.05)
    assert shown is not None
    assert 1000 <= shown.seconds < 1000.05
    assert 1000.05 <= inner.cost.seconds < outer.cost.seconds - 0.05
    assert 500 <= inner.cost.cpu_seconds <= outer.cost.cpu_seconds < 510
    assert inner.cost.peak_memory == outer.cost.peak_memory == 10**15
    assert cost_so_far() is None


def test_a_saved_peak_is_not_lost_to_a_reading_that_began_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, saved, again = (threading.Event() for _ in range(3))

    def slow() -> int:
        if threading.current_thread() is not threading.main_thread():
            (again if reading.is_set() else reading).set()
            assert saved.wait(10)
        return 1

    monkeypatch.setattr(cost, "anonymous_memory", slow)
    with Meter(interval=0.001) as meter:
        assert reading.wait(10)
        go_on_from(Cost(0.0, 0.0, 10**15))
        saved.set()
        assert again.wait(10)
    assert meter.cost.peak_memory == 10**15


def note(path: Path, word: str, progress: Any) -> None:
    with path.open("a") as file:
        file.write(f"{word}\n")
    progress(1, 1)


def fail(progress: Any) -> None:
    raise MethodError("it went wrong")


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_wait_for_what_they_need(workers: int, tmp_path: Path) -> None:
    path, shown = tmp_path / "log", []
    run_jobs(
        [Job("late", note, (path, "late"), after="early"), Job("early", note, (path, "early"))],
        workers=workers,
        on_progress=lambda *what: shown.append(what),
    )
    assert path.read_text().split() == ["early", "late"]
    assert ("late", 1, 1) in shown
    with pytest.raises(MethodError, match="went wrong"):
        run_jobs([Job("bad", fail, ()), Job("good", note, (path, "good"))], workers=workers)
