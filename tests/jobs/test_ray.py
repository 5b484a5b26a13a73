"""Jobs on Ray: order, errors, and a machine that is lost in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.core.signals import Signals
from forgetmi.jobs import ray as runners
from forgetmi.jobs.pool import Job
from forgetmi.jobs.runner import run_all
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import PartitionSpec, write_yaml
from tests.runs import SMALL

# In a network of its own: what a machine or another test does on this one cannot be touched.
ALONE = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable]

LOST_NODE = """
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from forgetmi.core.errors import Fault, MethodError
from forgetmi.jobs.ray import run_on_ray
from forgetmi.jobs.pool import Job

out = Path(sys.argv[1])

def work(number, after, tell):
    (out / f"start-{number}-{os.getpid()}").touch()
    assert after is None or (out / f"done-{after}").exists()
    if (out / f"done-{number}").exists():
        return
    time.sleep(1.0)
    with open(out / f"done-{number}", "x"):
        pass

def wrong(tell):
    raise MethodError(Fault("it diverged"))

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
seen = []

def kill():
    while len(list(out.glob("start-*"))) < 4:
        time.sleep(0.05)
    cluster.remove_node(second, allow_graceful=False)

threading.Thread(target=kill, daemon=True).start()
jobs = [Job(str(n), work, (n, 0 if n % 2 else None), after="0" if n % 2 else None) for n in range(8)]
run_on_ray(jobs[::-1], address=cluster.address, on_progress=lambda name, done, total: seen.append(name))
assert sorted(seen) == sorted(str(n) for n in range(8)), seen
try:
    run_on_ray([Job("wrong", wrong, ())], address=cluster.address)
except MethodError as error:
    assert "it diverged" in str(error)
    print("fine")
"""


SHARED_GPU = """
import os, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster
from forgetmi.jobs.ray import run_on_ray
from forgetmi.jobs.pool import Job

out = Path(sys.argv[1])

def together(number, tell):
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    (out / f"began-{number}").touch()
    until = time.monotonic() + 60
    while not (out / f"began-{1 - number}").exists():
        assert time.monotonic() < until, "the other half waits"
        time.sleep(0.05)

def alone(number, tell):
    with open(out / "busy", "x"):
        time.sleep(0.5)
    (out / "busy").unlink()
    (out / f"alone-{number}").touch()

# A GPU by name only: Ray shares it out without looking at it.
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 1, "include_dashboard": False})
for work, gpus in ((together, 0.5), (alone, 1.0)):
    run_on_ray([Job(str(number), work, (number,)) for number in (0, 1)], address=cluster.address, gpus=gpus)
print("fine")
"""


# The benchmark's own command; every start and every end of a model is one line of a log.
GRID = """
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from forgetmi.benchmark import work
from forgetmi.benchmark.store import Store
from forgetmi.cli import main

out, words = Path(sys.argv[1]), sys.argv[2:]
make = work.make

def logged(store, cell, tell):
    def note(log, *what):
        with open(out / log, "a") as file:
            file.write(" ".join(what) + chr(10))

    def finish(self, digest, outcome, *, identity):
        kept(self, digest, outcome, identity=identity)
        note("ends", digest)

    note("starts", cell.digest, ray.get_runtime_context().get_node_id())
    kept, Store.finish = Store.finish, finish
    try:
        make(store, cell, tell)
    finally:
        Store.finish = kept

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)

def lines(log):
    return [line.split() for line in (out / log).read_text().splitlines()] if (out / log).exists() else []

def kill():
    while True:
        ended = [digest for digest, in lines("ends")]
        under_way = [digest for digest, node in lines("starts") if node == second.node_id and digest not in ended]
        if ended and under_way:
            break
        time.sleep(0.02)
    (out / "lost").write_text(under_way[0])
    cluster.remove_node(second, allow_graceful=False)

work.make = logged
threading.Thread(target=kill, daemon=True).start()
assert main([*words, "--out", str(out / "bench"), "--runner", "ray", "--address", cluster.address]) == 0
print("fine")
"""


KILLED_JOB = """
import os, signal, sys
from pathlib import Path
from forgetmi.core.errors import ForgetMIError
from forgetmi.jobs.ray import run_on_ray
from forgetmi.jobs.pool import Job

out = Path(sys.argv[1])

def die(name, tell):
    with open(out / f"{name}-tries", "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)

def go(name, tell):
    (out / name).touch()

def state(name, fault):
    with open(out / f"{name}-killed", "x") as file:
        file.write(str(fault))

seen = []
run_on_ray([Job("after", go, ("after",), after="dies"), Job("dies", die, ("dies",), killed=state),
            Job("other", go, ("other",))], on_progress=lambda name, done, total: seen.append(name))
assert sorted(seen) == ["after", "dies", "other"], seen
try:
    run_on_ray([Job("alone", die, ("alone",))])
except ForgetMIError as error:
    assert str(error).startswith("alone: its process was killed"), error
    print("fine")
"""


def alone(script: str, folder: Path, *words: str) -> Path:
    """Run a program of Ray's in a network of its own; the folder it wrote to."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*ALONE, "-c", ""], capture_output=True).returncode
    ):
        pytest.skip("this machine does not allow a network namespace")
    (folder / "script.py").write_text(script)
    out = folder / "out"
    out.mkdir()
    # A busy machine is no failure: Ray's usual niceness of 15 starves there, and 30 seconds are too few to start in.
    patient = {"RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "300"}
    done = subprocess.run(
        [*ALONE, str(folder / "script.py"), str(out), *words],
        capture_output=True,
        text=True,
        timeout=1200,
        env={**os.environ, **patient},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("fine\n")
    return out


@pytest.mark.slow
def test_two_jobs_share_a_gpu_by_halves_and_whole_ones_take_turns(tmp_path: Path) -> None:
    out = alone(SHARED_GPU, tmp_path)
    assert {path.name for path in out.iterdir()} == {"began-0", "began-1", "alone-0", "alone-1"}


@pytest.mark.slow
def test_a_lost_machine_loses_no_job_and_does_none_twice(tmp_path: Path) -> None:
    out = alone(LOST_NODE, tmp_path)
    assert {path.name for path in out.glob("done-*")} == {f"done-{number}" for number in range(8)}
    assert len(list(out.glob("start-*"))) > 8  # a job was under way on the machine that was lost


@pytest.mark.slow
def test_a_killed_process_is_the_failure_of_its_job_alone(tmp_path: Path) -> None:
    out = alone(KILLED_JOB, tmp_path)
    assert {path.name for path in out.iterdir()} == {
        "after",
        "other",
        "dies-tries",
        "dies-killed",
        "alone-tries",
    }
    assert {len((out / f"{name}-tries").read_text()) for name in ("dies", "alone")} == {
        runners.KILLED
    }
    assert (out / "dies-killed").read_text().startswith("its process was killed (2 times).")


@pytest.mark.slow
def test_a_grid_that_loses_a_machine_is_that_of_one_machine(tmp_path: Path) -> None:
    spec = replace(SMALL, partition=PartitionSpec(), training=Recipe(epochs=1), resamples=20)
    (tmp_path / "spec.yaml").write_text(write_yaml(spec))
    words = (
        "benchmark",
        "--spec",
        str(tmp_path / "spec.yaml"),
        "--percents",
        "12",
        "--training-seeds",
        "3",
        "--no-presets",
        "--methods",
        "cf_k:epochs=1",
        "neg_grad_plus:epochs=1",
    )
    out = alone(GRID, tmp_path, *words)
    assert main([*words, "--out", str(tmp_path / "local")]) == 0
    here, there = (
        {path.parent.name: Signals.load(path) for path in folder.glob("cells/*/signals.npz")}
        for folder in (tmp_path / "local", out / "bench")
    )
    starts = Counter(line.split()[0] for line in (out / "starts").read_text().splitlines())
    assert len(here) == 5
    assert set(there) == set(here) == set(starts)
    assert starts[(out / "lost").read_text()] > 1  # it was under way on the machine that was lost
    assert sorted((out / "ends").read_text().split()) == sorted(here)  # each once
    for name, local in here.items():
        assert there[name].model == local.model
        assert np.array_equal(there[name].image_logits, local.image_logits)
        assert np.array_equal(there[name].text_logits, local.text_logits)
    tables = [
        (folder / "tables" / "table1.csv").read_bytes()
        for folder in (tmp_path / "local", out / "bench")
    ]
    assert tables[0] == tables[1]


def pretended(ends: dict[str, list[str]]) -> Any:
    """A Ray in which the processes of a job end as told, one word a try; "" = the job is done."""
    kinds = {
        kind: type(kind, (Exception,), {})
        for kind in ("RayTaskError", "NodeDiedError", "OutOfMemoryError", "WorkerCrashedError")
    }
    begun: list[str] = []

    def begin(job: Job, *rest: Any) -> tuple[str, int]:
        begun.append(job.name)
        return job.name, len(begun)

    def get(ref: tuple[str, int]) -> None:
        if kind := ends[ref[0]].pop(0):
            raise kinds[kind]

    return SimpleNamespace(
        begun=begun,
        get=get,
        wait=lambda refs, timeout: (refs[:1], refs[1:]),
        shutdown=lambda: None,
        cancel=lambda ref, force: None,
        exceptions=SimpleNamespace(**kinds),
        remote=lambda perform: SimpleNamespace(
            options=lambda **asked: SimpleNamespace(remote=begin)
        ),
    )


def test_lost_machines_and_killed_processes_are_borne_so_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = {
        "unlucky": ["NodeDiedError"] * (runners.LOST - 1) + ["WorkerCrashedError", ""],
        "ends machines": ["NodeDiedError"] * runners.LOST,
        "crashes": ["WorkerCrashedError"] * runners.KILLED,
        "large": ["OutOfMemoryError"] * runners.KILLED,
        "waits": [""],
    }
    tries = {name: len(words) for name, words in ends.items()}
    ray, said, seen = pretended(ends), {}, []
    monkeypatch.setattr(runners, "_connect", lambda address: ray)
    jobs = [
        Job(name, print, (name,), killed=lambda name, fault: said.update({name: str(fault)}))
        for name in ends
    ]
    jobs[-1] = replace(jobs[-1], after="crashes")
    runners.run_on_ray(jobs[::-1], on_progress=lambda name, done, total: seen.append(name))
    assert sorted(seen) == sorted(tries)
    assert Counter(ray.begun) == tries
    assert ray.begun.index("waits") > len(ray.begun) - 1 - ray.begun[::-1].index("crashes")
    assert {name: text.partition(".")[0] for name, text in said.items()} == {
        "ends machines": "its machine was lost (5 times)",
        "crashes": "its process was killed (2 times)",
        "large": "its process was killed (out of memory, 2 times)",
    }
    ray = pretended({"large": ["OutOfMemoryError"] * runners.KILLED})
    with pytest.raises(
        ForgetMIError, match=r"large: its process was killed \(out of memory, 2 times\)"
    ):
        runners.run_on_ray([Job("large", print, ())])


def test_a_job_begins_after_the_one_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pretended({name: [""] for name in "abcd"})
    monkeypatch.setattr(runners, "_connect", lambda address: ray)
    runners.run_on_ray(
        [
            Job("c", print, (), after="b"),
            Job("b", print, (), after="a"),
            Job("a", print, ()),
            Job("d", print, (), after="elsewhere"),
        ]
    )
    assert ray.begun == ["a", "d", "b", "c"]


def test_ray_that_is_not_there_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r"forgetmi\[ray\]"):
        run_all([Job("a", print, ())], replace(SMALL, runner="ray").resources)
