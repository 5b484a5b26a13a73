"""Kills commands again and again and compares what they leave with an uninterrupted one; see docs/interruptions.md.

    python studies/interruptions.py                        # 300 kills over all verbs
    python studies/interruptions.py --kills 20 --verbs train run

Each verb is run once undisturbed, on a cohort of a few patients. Then it is run, killed (SIGKILL) and given again until
it ends: at a random rename, link or removal of a file - before or after it - or at a random moment. In the end its
results are the same bits, its folder holds the same names and no more, nothing to resume from is left, and a sweep has
every point and the same best. A process is copied from one that has imported everything: most of its time is work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.cohort.synthetic import SyntheticCohort, synthetic_table
from forgetmi.cohort.synthetic_making import make_synthetic
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import PartitionSpec, RunSpec, TextSpec, write_yaml

# A run of a second or two that still has every stage
SPEC = RunSpec(
    cohort=SyntheticCohort(patients=40, seed=3, size=32),
    partition=PartitionSpec(percent=12.0),
    images=ImagePreprocessing(size=32),
    text=TextSpec(min_patients=2),
    model=Architecture(stem_width=4, widths=(4, 8), hidden=16, heads=2, layers=1, intermediate=16),
    training=Recipe(epochs=2),
    method=ForgetMI(epochs=2),
    retrains=1,
    seed=3,
    resamples=20,
    workers=1,
    audit=AuditSpec(rule=Rule(resamples=200), relearn_epochs=2),
)
SWEEP = "method: grid\nparameters:\n  method.lr: {values: [0.001, 0.003, 0.01]}\n"

# Files whose content says when and at what cost something was done; their names are compared all the same
DATED = ("*.html", "manifest.json", "record.*", "cost.json", "study.db", "*.trace.json", "ledger")
DATED_FOLDERS = ("traces",)

MOST_KILLS = 3  # of one trial, before it may end


@dataclass
class Verb:
    """A command that is killed.

    Args:
        name: As it is called in the table.
        steps: Command lines, one after another; ``OUT`` is replaced by the folder of the trial.
        state: What must be the same in the end besides files.
    """

    name: str
    steps: list[list[str]]
    state: Callable[[Path], object] = lambda folder: None


@dataclass
class Count:
    """What came out for one verb."""

    trials: int = 0
    kills: int = 0
    at_renames: int = 0
    resumed: int = 0
    same_bits: int = 0
    leftovers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kill:
    """When a process is killed: at a rename (its number, before or after it), or at a moment in seconds."""

    rename: int = 0
    after: bool = False
    moment: float = 0.0


def run_step(words: Sequence[str], log: Path, kill: Kill | None = None) -> tuple[int, int]:
    """A command in a copy of this process; its exit code (-9 = killed), and how many renames it made."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        _child(words, log, writer, kill)

    os.close(writer)
    if kill is not None and kill.moment:
        time.sleep(kill.moment)
        os.kill(process, signal.SIGKILL)
    with os.fdopen(reader) as counted:
        renames = len(counted.read())
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), renames


def _child(words: Sequence[str], log: Path, writer: int, kill: Kill | None) -> None:
    """Run a command and end this process, killed at the rename that was drawn."""
    from forgetmi.cli import main

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)

    # Every change of a name is counted by one byte
    number = 0

    def hooked(change: Callable[..., None]) -> Callable[..., None]:
        def counting(*arguments: object, **options: object) -> None:
            nonlocal number
            number += 1
            os.write(writer, b".")
            dies = kill is not None and number == kill.rename
            if dies and kill is not None and not kill.after:
                os.kill(os.getpid(), signal.SIGKILL)
            change(*arguments, **options)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)

        return counting

    for name in ("replace", "rename", "link", "unlink", "remove", "rmdir", "mkdir"):
        setattr(os, name, hooked(getattr(os, name)))
    code = 1
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, nothing of the parent's goes on here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def names_in(folder: Path) -> set[str]:
    """Every file and folder below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def bits_in(folder: Path) -> dict[str, str]:
    """Digests of all files whose content says nothing of times and costs."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        dated = any(path.match(pattern) for pattern in DATED) or set(name.parts) & {*DATED_FOLDERS}
        if path.is_file() and not dated:
            digests[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def points_of(folder: Path) -> object:
    """The finished trials of a sweep, and the best."""
    root = folder / "out"
    trials = json.loads((root / "trials.json").read_text())
    complete = [(one["options"], one["value"]) for one in trials if one["state"] == "complete"]
    best = (root / "best.yaml").read_text() if (root / "best.yaml").exists() else ""
    return complete, best


def entries_of(folder: Path) -> object:
    """The requests in a ledger: number, state, whom they name."""
    from forgetmi.requests.ledger import Ledger

    ledger = Ledger(folder / "ledger", reading=True)
    return [(one.number, one.state, sorted(one.patients)) for one in ledger.entries()]


def verbs(folder: Path) -> dict[str, Verb]:
    """The commands, with what they need made once in a folder."""
    (folder / "spec.yaml").write_text(write_yaml(SPEC))
    sweep_spec = RunSpec(**{**vars(SPEC), "method": CFk(epochs=1), "retrains": 0})
    (folder / "sweep-spec.yaml").write_text(write_yaml(sweep_spec))
    (folder / "sweep.yaml").write_text(SWEEP)
    make_synthetic(folder / "table", patients=40, seed=3, size=32)
    identifiers = (folder / "table" / "cohort.csv").read_text().splitlines()
    patient = identifiers[1].split(",")[identifiers[0].split(",").index("patient_id")]
    (folder / "who.csv").write_text(f"patient_id\n{patient}\n")

    spec = ["--spec", str(folder / "spec.yaml")]
    base = folder / "base"
    original = ["--checkpoint", str(base / "models" / "original")]
    table_spec = RunSpec(**{**vars(SPEC), "cohort": synthetic_table(folder / "table")})
    (folder / "table-spec.yaml").write_text(write_yaml(table_spec))
    table = ["--spec", str(folder / "table-spec.yaml")]
    listed = ["--ledger", "OUT/ledger"]
    return {
        verb.name: verb
        for verb in (
            Verb("train", [["train", *spec, "--out", "OUT/out"]]),
            Verb("unlearn", [["unlearn", *spec, *original, "--out", "OUT/out"]]),
            Verb("predict", [["predict", *spec, *original, "--out", "OUT/out.npz"]]),
            Verb("run", [["run", *spec, "--out", "OUT/out"]]),
            Verb(
                "sweep",
                [
                    [
                        *("sweep", str(folder / "sweep.yaml"), "--out", "OUT/out"),
                        *("--spec", str(folder / "sweep-spec.yaml")),
                    ]
                ],
                points_of,
            ),
            Verb(
                "shadows",
                [
                    [
                        *("shadows", str(base), "--out", "OUT/out"),
                        *("--models", "2", "--unlearnings", "1"),
                    ]
                ],
            ),
            Verb(
                "requests",
                [
                    ["requests", "add", "--who", str(folder / "who.csv"), *listed],
                    [
                        *("requests", "process", *table, *listed),
                        *("--only", "R0001", "--out", "OUT/list.csv"),
                    ],
                ],
                entries_of,
            ),
        )
    }


def perform(verb: Verb, folder: Path, plan: Iterator[Kill | None]) -> tuple[int, int, int, int]:
    """A verb's steps, killed as planned and given again until they end.

    Returns:
        The last exit code, kills, those of them at renames, and renames of the last attempts.
    """
    kills = at_renames = renames = 0
    for step in verb.steps:
        words = [word.replace("OUT", str(folder)) for word in step]
        while True:
            # A request that was entered before the kill is not entered twice
            if words[:2] == ["requests", "add"] and _entered(folder):
                break
            kill = next(plan)
            code, renamed = run_step(words, folder.with_suffix(".log"), kill)
            if code == -signal.SIGKILL:
                kills += 1
                at_renames += bool(kill and kill.rename)
                continue
            renames += renamed
            if code != 0:
                return code, kills, at_renames, renames
            break
    return 0, kills, at_renames, renames


def _entered(folder: Path) -> bool:
    """Whether the ledger has a request."""
    return (folder / "ledger").exists() and bool(entries_of(folder))


def plan_of(draw: random.Random, renames: int, seconds: float) -> Iterator[Kill | None]:
    """A few kills, half of them at renames, then none."""
    for _ in range(draw.randint(1, MOST_KILLS)):
        if draw.random() < 0.5:
            yield Kill(rename=draw.randint(1, renames), after=draw.random() < 0.5)
        else:
            yield Kill(moment=draw.uniform(0.0, seconds))
    while True:
        yield None


def undisturbed() -> Iterator[Kill | None]:
    """No kill."""
    while True:
        yield None


def soak(
    verb: Verb, work: Path, *, kills: int, seed: int = 0, say: Callable[[str], None] = print
) -> Count:
    """Kill a verb so often, each trial resumed until it ends, and compare each with an undisturbed one.

    Args:
        verb: The command.
        work: A folder for trials; those that differ stay in it.
        kills: At least so many.
        seed: Of when they happen.
        say: Called with a line for everything that differs.
    """
    whole = work / f"{verb.name}-whole"
    whole.mkdir(parents=True)
    started = time.monotonic()
    code, _, _, renames = perform(verb, whole, undisturbed())
    seconds = time.monotonic() - started
    if code != 0:
        raise RuntimeError(f"{verb.name} ends with {code}: {whole.with_suffix('.log').read_text()}")
    names, bits, state = names_in(whole), bits_in(whole), verb.state(whole)

    draw, count = random.Random(f"{verb.name} {seed}"), Count()
    while count.kills < kills:
        trial = work / f"{verb.name}-{count.trials:04d}"
        trial.mkdir()
        count.trials += 1
        plan = plan_of(draw, renames, seconds)
        code, killed, at_renames, _ = perform(verb, trial, plan)
        count.kills += killed
        count.at_renames += at_renames
        if code != 0:
            count.faults.append(f"{trial.name} ends with {code}")
            say(f"{verb.name}: {count.faults[-1]}: {trial.with_suffix('.log').read_text()[-600:]}")
            continue

        # Resumed to the same bits, with the same names and nothing to resume from
        count.resumed += 1
        left = sorted(names_in(trial) ^ names)
        count.leftovers += left
        found = bits_in(trial)
        other = [name for name in bits if found.get(name) != bits[name]]
        same = not [name for name in other if not _may_differ(verb, name)]
        same = same and verb.state(trial) == state
        count.same_bits += same
        if left or not same:
            say(f"{verb.name}: {trial.name}: {left} {other}")
        else:
            shutil.rmtree(trial)
            trial.with_suffix(".log").unlink()
    return count


def _may_differ(verb: Verb, name: str) -> bool:
    """Whether a file may differ: options name their own folder, and a list of trials names the interrupted ones."""
    return name.endswith(".options.yaml") or (verb.name == "sweep" and name == "out/trials.json")


def table_of(counts: dict[str, Count]) -> str:
    """The table of the docs."""
    lines = [
        "| verb | kills | of these at a rename | interrupted commands that ended | same bits | leftovers |",
        "|---|---|---|---|---|---|",
    ]
    for name, count in counts.items():
        lines.append(
            f"| `{name}` | {count.kills} | {count.at_renames} | {count.resumed} of {count.trials} | "
            f"{count.same_bits} of {count.resumed} | {len(count.leftovers)} |"
        )
    total = sum(count.kills for count in counts.values())
    lines.append(f"| all | {total} | {sum(count.at_renames for count in counts.values())} | | | |")
    return "\n".join(lines)


def prepared(folder: Path) -> dict[str, Verb]:
    """The verbs, with everything imported and the run made that some of them start from."""
    os.environ["FORGETMI_CACHE"] = str(folder / "cache")
    os.environ["FORGETMI_KEY_FILE"] = str(folder / "key")
    (folder / "key").write_bytes(bytes(range(32)))
    (folder / "key").chmod(0o600)
    for module in ("optuna", "matplotlib.figure", "forgetmi.run.finish", "forgetmi.search.sweep"):
        __import__(module)

    made = verbs(folder)
    words = ["run", "--spec", str(folder / "spec.yaml"), "--out", str(folder / "base")]
    code, _ = run_step(words, folder / "base.log")
    if code != 0:
        raise RuntimeError((folder / "base.log").read_text())
    return made


def main() -> int:
    """Kill, resume, compare, and print the table; 1 = something differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="over all verbs together")
    parser.add_argument("--verbs", nargs="*", default=[], help="all, unless some are named")
    parser.add_argument("--seed", type=int, default=0, help="of when kills happen")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        known = prepared(Path(name))
        chosen = options.verbs or list(known)
        counts = {}
        for number, verb in enumerate(chosen):
            done = sum(count.kills for count in counts.values())
            share = -((done - options.kills) // (len(chosen) - number))
            counts[verb] = soak(known[verb], Path(name) / "work", kills=share, seed=options.seed)
            print(table_of(counts), flush=True)

    wrong = [count for count in counts.values() if count.leftovers or count.faults]
    wrong += [count for count in counts.values() if count.same_bits < count.trials]
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
