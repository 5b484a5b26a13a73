"""Jobs on Ray: order, errors, and a machine that is lost in the middle."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from forgetmi import runners
from forgetmi.errors import SpecError
from forgetmi.runners import run_all
from forgetmi.workers import Job
from tests.runs import SMALL

# In a network of its own: what a machine or another test does on this one cannot be touched.
ALONE = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable]

LOST_NODE = '''
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from forgetmi.errors import Fault, MethodError
from forgetmi.runners import run_on_ray
from forgetmi.workers import Job

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
run_on_ray(jobs[::-1], address=cluster.address, show=lambda name, done, total: seen.append(name))
assert sorted(seen) == sorted(str(n) for n in range(8)), seen
try:
    run_on_ray([Job("wrong", wrong, ())], address=cluster.address)
except MethodError as error:
    assert "it diverged" in str(error)
    print("fine")
'''


SHARED_GPU = '''
import os, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster
from forgetmi.runners import run_on_ray
from forgetmi.workers import Job

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
'''


def alone(script: str, folder: Path) -> Path:
    """Run a program of Ray's in a network of its own; the folder it wrote to."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "-c", ""], capture_output=True).returncode:
        pytest.skip("this machine does not allow a network namespace")
    (folder / "script.py").write_text(script)
    out = folder / "out"
    out.mkdir()
    done = subprocess.run([*ALONE, str(folder / "script.py"), str(out)], capture_output=True, text=True, timeout=300)
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


def test_jobs_come_after_what_they_wait_for() -> None:
    jobs = [Job("c", print, (), after="b"), Job("b", print, (), after="a"), Job("a", print, ()),
            Job("d", print, (), after="elsewhere")]
    order = [job.name for job in runners._in_order(jobs)]
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("a") < order.index("b") < order.index("c")


def test_ray_that_is_not_there_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r"forgetmi\[ray\]"):
        run_all([Job("a", print, ())], replace(SMALL, runner="ray"))
