"""Time and memory of a large cohort of small films on one machine: its index, its copies, its audit.

    python studies/million_rows.py --rows 100000
    python studies/million_rows.py --rows 1000000        # 20 GB of disk, some hours

Films of 64 pixels (8 bits, in one NPY stack, four of a patient and two of a study) and reports of twelve words are
drawn at random; one film in a thousand is stored under another patient, too. Each step runs in a process of its own.
Memory is the peak of anonymous resident memory of that process, its imports included; seconds are those of the clock
and of the processor.

- index: the table is read as a cohort with all rules about identifiers, and every film goes into the store.
- index again: the same with a cache that has all films.
- copies: three in a hundred patients withdraw; near-duplicates of their films and reports among all others.
- audit: verdict on a method from the signals of an original, an unlearned and three retrained models.
- verdict: of that what one channel costs: differences to three retrained models under 1,000 resamples of patients,
  the share of memory removed, and a score for each forgotten patient; from one drawn number a patient and model.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.cohort.partition import partition
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Meter
from forgetmi.core.partition import Partition
from forgetmi.data.preprocessing import ImagePreprocessing

SIDE, WORDS, CLASSES, WIDTH = 64, 12, 4, 16
VOCABULARY = [f"word{number}" for number in range(2000)]
BLOCK = 4096


def write(folder: Path, rows: int) -> None:
    """The stack of films, the table and a key."""
    draw = np.random.default_rng(0)
    with (folder / "stack.npy").open("wb") as file:
        shape = (rows, SIDE, SIDE)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, BLOCK):
            films = draw.integers(0, 256, (min(BLOCK, rows - start), 8, 8), np.uint8)
            films = films.repeat(8, axis=1).repeat(8, axis=2)

            # One in a thousand is the film before it, which is another patient's
            films[1000::1000] = films[999::1000][: len(films[1000::1000])]
            file.write(films.tobytes())

    (folder / "key").write_bytes(bytes(range(32)))
    (folder / "key").chmod(0o600)
    with (folder / "cohort.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "study_id", "image_id", "image", "report", "label"])
        report, label = "", 0
        for row in range(rows):
            patient, study = f"P{row // 4:07d}", f"S{row // 2:07d}"
            if row % 2 == 0:
                report = " ".join(VOCABULARY[word] for word in draw.integers(0, 2000, WORDS))
                label = int(draw.integers(0, CLASSES))
            writer.writerow([patient, study, f"i{row}", f"stack.npy#{row}", report, label])


def cohort_in(folder: Path) -> Cohort:
    """The table as a cohort."""
    return TableCohort(folder / "cohort.csv", key_file=folder / "key").load()


def index(folder: Path) -> str:
    """Read the table and put every film into the store."""
    from forgetmi.data.image_store import build_image_store

    store = build_image_store(
        cohort_in(folder), ImagePreprocessing(size=SIDE), cache=folder / "cache"
    )
    return f"{len(store):,} films in {len(store.shards)} files"


def copies(folder: Path) -> str:
    """Near-duplicates of what is forgotten."""
    from forgetmi.data.duplicates import find_duplicates

    cohort = cohort_in(folder)
    found = find_duplicates(cohort, sets_of(cohort), cache=folder / "cache")
    return f"{found.images[0]:,} films against {found.images[1]:,}: {len(found.pairs)} pairs"


def sets_of(cohort: Cohort) -> Partition:
    """Three in a hundred patients withdraw."""
    return partition(cohort, forget=3.0)


def audit(folder: Path) -> str:
    """The verdict, from drawn signals."""
    from forgetmi.audit.audited_run import AuditedRun
    from forgetmi.audit.auditor import audit as judge
    from forgetmi.audit.rule import Rule
    from forgetmi.run.audit_stage import AuditSpec

    cohort = cohort_in(folder)
    sets = sets_of(cohort)
    draw = np.random.default_rng(1)
    seen = np.zeros(len(cohort))
    seen[sets.forget], seen[sets.retain] = 1, 1
    without = seen.copy()
    without[sets.forget] = 0
    signals = {"original": model(cohort, draw, seen), "unlearned": model(cohort, draw, without)}
    for number in range(3):
        signals[f"retrain-{number}"] = model(cohort, draw, without)

    run = AuditedRun("generated", sets, signals)
    found = judge([run], cohort=cohort, declared=AuditSpec(rule=Rule()), seed=0)
    return f"{len(sets.forget):,} forgotten films: {found.outcome}"


def verdict(folder: Path) -> str:
    """One channel of an audit, with as many patients as the table has; a fifth was never seen."""
    from forgetmi.audit.delta import deltas
    from forgetmi.audit.forget_draw import ForgetDraw
    from forgetmi.audit.memory_removed import memory_removed
    from forgetmi.evaluation.patients import score_patients

    patients = len(np.load(folder / "stack.npy", mmap_mode="r")) // 4
    members, never_seen = patients * 7 // 10 * 3 // 100, patients // 5
    count = members + never_seen
    draw = np.random.default_rng(2)
    is_member = np.arange(count) < members
    channel = ForgetDraw(
        patient=np.arange(count),
        members=members,
        studies=draw.integers(1, 6, count),
        label=draw.integers(0, CLASSES, count),
        unlearned=draw.standard_normal(count),
        original=draw.standard_normal(count) + is_member,
        retrained=draw.standard_normal((3, count)),
        correct=draw.random((4, count)),
    )
    found = deltas([channel], level=0.95, resamples=1000, seed=0)
    memory_removed({"image": [channel]}, level=0.95, resamples=1000, seed=0)
    score_patients(
        unlearned=channel.unlearned,
        retrained=channel.retrained,
        studies=channel.studies,
        forgotten=is_member,
    )
    return f"{members:,} forgotten, {never_seen:,} never seen: {found.unlearned.value:+.3f}"


def model(cohort: Cohort, draw: Any, seen: Any) -> Any:
    """Signals of a model that remembers some rows a little."""
    from forgetmi.core.signals import Signals

    n = len(cohort)
    label = np.asarray(cohort.label)

    def logits() -> Any:
        values = draw.standard_normal((n, CLASSES))
        values[np.arange(n), label] += 1 + 0.5 * seen
        return values

    def embedding() -> Any:
        return draw.standard_normal((n, WIDTH), dtype=np.float32)

    return Signals.image_text(
        "0",
        cohort.digest,
        np.arange(n),
        cohort.patient,
        cohort.study,
        label,
        logits(),
        logits(),
        embedding(),
        embedding(),
        embedding(),
    )


def measured(title: str, work: Callable[[Path], str], folder: Path, rows: int) -> None:
    """One step in this process, as a row of the table."""
    with Meter() as meter:
        what = work(folder)
    cost = meter.cost
    print(
        f"| {title} | {rows:,} | {cost.seconds:,.0f} | {cost.cpu_seconds:,.0f} "
        f"| {cost.peak_memory / 2**20:,.0f} | {what} |",
        flush=True,
    )


STEPS = {
    "index": index,
    "index again": index,
    "copies": copies,
    "audit": audit,
    "verdict": verdict,
}


def main() -> None:
    """A row for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()

    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    if not (folder / "cohort.csv").exists():
        write(folder, options.rows)
    print("| step | rows | s | processor s | peak memory, MiB | what |\n|---|---|---|---|---|---|")
    for step in options.steps:
        process = get_context("spawn").Process(
            target=measured, args=(step, STEPS[step], folder, options.rows)
        )
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
