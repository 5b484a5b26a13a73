"""A stand-in for sbatch, squeue and scancel: runs the jobs of an array one after another, and puts killed ones back.

In the folder FAKE_SLURM it keeps a file for each job that waits or runs, a line for each call of sbatch, and, where a
file ``requeue`` is there, it runs a job whose process was killed once more, as SLURM does when a machine is lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ["FAKE_SLURM"])


def sbatch(words: list[str]) -> None:
    if (HERE / "refuse").exists():
        sys.exit("sbatch: error: Batch job submission failed: Invalid account")
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join(words[:-1]) + "\n")
    number = str(100 + len((HERE / "calls").read_text().splitlines()))

    named = dict(word.removeprefix("--").split("=", 1) for word in words[:-1] if "=" in word)
    last = int(named["array"].partition("%")[0].partition("-")[2])
    for place in range(last + 1):
        (HERE / f"{number}_{place}").touch()
    before = named.get("dependency", "").removeprefix("afterany:").split(":")
    if not (HERE / "stand still").exists():
        queue = [
            sys.executable,
            __file__,
            "work",
            number,
            words[-1],
            str(last),
            *filter(None, before),
        ]
        subprocess.Popen(
            queue, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
    print(number)


def squeue() -> None:
    for path in HERE.glob("*_*"):
        print(path.name, "R")


def scancel(places: list[str]) -> None:
    with (HERE / "cancelled").open("a") as cancelled:
        cancelled.write(" ".join(places) + "\n")
    for place in places:
        (HERE / place).unlink(missing_ok=True)


def work(number: str, script: str, last: int, before: list[str]) -> None:
    while any(list(HERE.glob(f"{array}_*")) for array in before):
        time.sleep(0.02)
    for place in range(last + 1):
        waiting = HERE / f"{number}_{place}"
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(place)}
        while waiting.exists():
            ended = subprocess.run(["sh", script], env=environment, check=False)
            if ended.returncode >= 0 or not (HERE / "requeue").exists():
                break
            with (HERE / "requeued").open("a") as requeued:
                requeued.write(f"{number}_{place}\n")
        waiting.unlink(missing_ok=True)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    if name == "sbatch":
        sbatch(words)
    elif name == "squeue":
        squeue()
    elif name == "scancel":
        scancel(words)
    else:
        work(words[0], words[1], int(words[2]), words[3:])
