"""One trial of a method's options: unlearn from a shared original, and score the result."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Failed
from forgetmi.core.signals import Signals
from forgetmi.core.suggest import did_you_mean
from forgetmi.evaluation import suite
from forgetmi.jobs.pool import ProgressCallback
from forgetmi.run import workflow
from forgetmi.run.directory import RunDirectory
from forgetmi.run.fingerprint import fingerprint
from forgetmi.run.run_data import OpenedRun, open_run
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec, to_plain
from forgetmi.run.stages import make_model
from forgetmi.run.unlearn_from import unlearn_from
from forgetmi.search.rules import against_validation, own_rows

OWN = "own"  # the rule of forgetmi tune: no retrained model and no test patient is read


def score(
    spec: RunSpec, root: Path, *, objective: str, progress: ProgressCallback
) -> tuple[float, str]:
    """Unlearn as a specification says and score the result; originals and retrained models are kept for other trials.

    Args:
        spec: The run.
        root: Directory of the models that trials share.
        objective: See `Study`.
        progress: Called with (done, in all) as unlearning goes on.

    Returns:
        The score, and why this trial may not be chosen (empty = it may).

    Raises:
        SpecError: There is no such score; no model is made.
        MethodError: The method failed, or the score cannot be computed.
    """
    check_objective(objective, spec)
    data = open_run(spec)
    partition = data.partition
    home = home_of(spec, root, data, test=objective != OWN)
    models = _models(spec, home, test=objective != OWN)
    original = home.model(ORIGINAL)
    done = unlearn_from(
        original,
        spec,
        data,
        log_of=spec.given.original or original,
        progress=lambda done, total: progress(done, total + 1),
    )
    rows = own_rows(partition) if objective == OWN else None
    unlearned = workflow.predict(prepared=data.prepared, model=done.model, rows=rows)
    if objective == OWN:
        found = against_validation({ORIGINAL: models[ORIGINAL], UNLEARNED: unlearned}, partition)[
            UNLEARNED
        ]
        if isinstance(found, str):
            raise MethodError(Fault(found))
        return found.score, found.refused
    name, head, on = split_objective(objective)
    evaluation = workflow.evaluate(
        original=models[ORIGINAL],
        unlearned=unlearned,
        retrained=[models[one] for one in retrained_names(spec)],
        partition=partition,
        ordinal=data.cohort.ordinal,
        seed=spec.seed,
        resamples=0,
    )
    wanted = evaluation.get(UNLEARNED, name, head=head, on=on)
    if isinstance(wanted, Failed):
        raise MethodError(Fault(wanted.reason))
    return wanted.value, ""


def split_objective(text: str) -> tuple[str, str, str]:
    """Name, head and set of a score from NAME:HEAD:SET; the head is the image's where none is given."""
    name, _, rest = text.partition(":")
    head, _, on = rest.partition(":")
    return name, head or "image", on


def check_objective(objective: str, spec: RunSpec) -> None:
    """Whether there is such a score; the cohort is only read where that depends on its classes being grades.

    Raises:
        SpecError: There is none; all are named.
    """
    wanted = split_objective(objective)
    if objective == OWN or wanted in scores_of(ordinal=False):
        return
    if not (wanted in scores_of(ordinal=True) and _ordinal(spec.cohort)):
        known = [OWN, *sorted(":".join(one).rstrip(":") for one in scores_of(ordinal=False))]
        more = sorted({name for name, *_ in scores_of(ordinal=True) - scores_of(ordinal=False)})
        of_grades = f"where classes are grades also {', '.join(more)} of a head and set."
        then = f"One of: {', '.join(known)}; {of_grades}"
        raise SpecError(
            Fault(
                f"there is no score {objective!r}",
                where="--objective, or the sweep file's metric",
                do=did_you_mean(objective, known, then=then),
            )
        )


@cache
def scores_of(*, ordinal: bool) -> frozenset[tuple[str, str, str]]:
    """Name, head and set of every score of an unlearned model: those that an evaluation of three patients lists.

    Args:
        ordinal: Whether the classes are grades.
    """
    rows = np.arange(3)
    names = rows.astype(str)
    said = Signals("", "", rows, names, names, rows % 2, np.zeros((3, 2)), np.zeros((3, 2)))
    sets = Partition(
        forget=rows[:1],
        retain=rows[1:2],
        validation=rows[:0],
        holdout=rows[2:],
        patient=rows,
        group=rows,
        cohort="",
    )
    found = suite.evaluate(
        {ORIGINAL: said, UNLEARNED: said}, sets, ordinal=ordinal, seed=0, resamples=0
    )
    return frozenset((one.name, one.head, one.on) for one in found.scores[UNLEARNED])


def home_of(
    spec: RunSpec,
    root: Path,
    data: OpenedRun,
    *,
    test: bool = True,
) -> RunDirectory:
    """Directory of the original that a trial starts from: another one whenever options, data, libraries or source are.

    Args:
        spec: The run; of its method only what the original's training depends on matters.
        root: Directory of the models that trials share.
        data: Its data, as they are now.
        test: Whether it is run over test patients, too.
    """
    own = spec.method.info.original is not None
    plain = to_plain(replace(spec, workers=0, method=spec.method if own else RunSpec().method))
    text = json.dumps(
        [plain, fingerprint(data.prepared, data.partition, spec.method if own else None), test],
        sort_keys=True,
    )
    return RunDirectory(root / "models" / hashlib.sha256(text.encode()).hexdigest()[:16])


def _models(spec: RunSpec, home: RunDirectory, *, test: bool) -> dict[str, Signals]:
    """The signals of the models that a trial is compared with (with test patients: the retrained ones, too)."""
    names = [ORIGINAL, *(retrained_names(spec) if test else [])]
    with _turn(home.root):
        for name in names:
            make_model(spec, home.root, name, lambda done, total: None, test=test)
    return {name: Signals.load(home.signals(name)) for name in names}


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process at a time makes the models of a folder; others wait and find them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".turn").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@lru_cache(maxsize=1)
def _ordinal(cohort: Any) -> bool:
    return cohort.load().ordinal
