"""Targets of a method out of a standing pool: of each patient what the members say that never saw them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.labels import Scale
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.model.checkpoint import FACTS
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_making import PoolDirectory
from forgetmi.run.pool_plan import AUDIT, TARGET, Folds, Member, read_folds, read_plan
from forgetmi.run.pool_references import check_pool, pool_references, references_folder
from forgetmi.run.pool_use import learns_from_pool
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.pool_targets import PoolTargets


@dataclass(frozen=True, eq=False)
class _Speaking:
    """The members of a pool that may say something to a method.

    Args:
        members: Those for targets.
        signals: What each says of every row.
        folds: Who was left out by which.
        repetitions: Numbers of the repetitions that are theirs.
    """

    members: tuple[Member, ...]
    signals: tuple[Signals, ...]
    folds: Folds
    repetitions: range


def check_targets(spec: RunSpec, cohort: Cohort, partition: Partition) -> None:
    """Refuse, before anything is made, a pool for targets that a run cannot use, and a method that lacks one.

    Args:
        spec: The run.
        cohort, partition: Its data.

    Raises:
        SpecError: The method reads a pool and none is given, or the other way round; or as `pool_targets`.
    """
    wants = learns_from_pool(spec.method)
    if wants and spec.targets is None:
        raise SpecError(
            Fault(
                "the method learns from a standing pool, and none is given",
                where="targets",
                do="Make one with forgetmi pool make --targets 1, and name it with --targets.",
            )
        )
    if spec.targets is not None and not wants:
        raise SpecError(
            Fault(
                "a pool is given for targets, and the method reads none",
                where="targets",
                do="Leave it out, or choose --method calibrated_consensus --method.target pool.",
            )
        )
    if spec.targets is not None:
        _speaking(spec.targets, _judges_named(spec), cohort, partition)


def pool_targets(
    spec: RunSpec,
    directory: RunDirectory,
    cohort: Cohort,
    partition: Partition,
    *,
    scale: Scale,
) -> PoolTargets | None:
    """What a method may know of the run's pool for targets; None where the run has none.

    A row's value is the mean over the members that never saw its patient, one in each repetition for targets. Rows of
    other sets than forget and retain are left out.

    Args:
        spec: The run; `targets` names the pool.
        directory: Its directory, with the references that it will be judged by.
        cohort, partition: Its data.
        scale: Of labels that are values.

    Raises:
        SpecError: The pool is of another cohort, has no members for targets, is not finished, was trained on somebody
            whom the run calls never seen or was not trained on somebody who is forgotten, or one of its members judges
            the run, too.
    """
    if spec.targets is None:
        return None
    judging = _judges_named(spec) | _judges_of(spec, directory, partition)
    speaking = _speaking(spec.targets, judging, cohort, partition)

    # Nothing but the training side, whatever else the members say
    rows = np.sort(np.concatenate([partition.forget, partition.retain]))
    outputs = [one.select(rows) for one in speaking.signals]
    fold_in = [speaking.folds.of(number, outputs[0].patient) for number in speaking.repetitions]

    logits = {}
    for head in outputs[0].logits:
        each = []
        for number, fold in zip(speaking.repetitions, fold_in, strict=True):
            each.append(_logits_without_patient(speaking, outputs, number, fold, head))
        mean = np.mean(each, axis=0)
        logits[head] = np.asarray(scale.standard(mean), np.float64)
    return PoolTargets(rows, logits, tuple(one.model for one in speaking.signals))


def closed_while_it_works(spec: RunSpec, directory: RunDirectory) -> list[Path]:
    """Everything that a method may not open: whatever judges it, and the pools themselves."""
    closed = [references_folder(directory), *spec.given.retrained]
    for name in retrained_names(spec):
        closed += [directory.model(name), directory.signals(name)]
    if spec.references is not None:
        closed.append(spec.references / AUDIT)
    if spec.targets is not None:
        closed += [spec.targets / AUDIT, spec.targets / TARGET]
    return closed


def _speaking(pool: Path, judging: set[str], cohort: Cohort, partition: Partition) -> _Speaking:
    """The members of a pool for targets, none of which is among the judges."""
    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    members = tuple(member for member in plan.members() if member.use == TARGET)
    if not members:
        do = "Make one with forgetmi pool make --targets 1 or more."
        raise SpecError(Fault("the pool has no members for targets", where=pool.name, do=do))
    check_pool(plan, folds, pool, cohort, partition, use=TARGET)

    # The wall: whoever judges the run says nothing to the method, whatever file or pool they lie in
    signals = tuple(Signals.load(PoolDirectory(pool).signals(member)) for member in members)
    shared = sum(one.model in judging for one in signals)
    if shared:
        raise SpecError(
            Fault(
                f"{shared} members of the pool for targets judge the run, too",
                where=pool.name,
                why="a method that learns from its judges copies them, and every verdict on it would be worth nothing",
                do="Take targets and references from different members of one pool (--repetitions 2 --targets 1).",
            )
        )
    repetitions = range(plan.repetitions, plan.repetitions + plan.targets)
    return _Speaking(members, signals, folds, repetitions)


def _logits_without_patient(
    speaking: _Speaking, outputs: list[Signals], repetition: int, fold: Ints, head: str
) -> Floats:
    """Float[n, k]: of each row what the members of a repetition say that were trained without its patient."""
    total = np.zeros_like(outputs[0].logits[head])
    count = np.zeros((len(fold), 1))
    for member, one in zip(speaking.members, outputs, strict=True):
        # Whoever is in no fold was seen by no member: all of them speak
        left_out = (member.repetition == repetition) & ((fold == member.fold) | (fold < 0))
        total[left_out] += one.logits[head][left_out]
        count[left_out] += 1
    return total / count


def _judges_named(spec: RunSpec) -> set[str]:
    """Digests of the weights of all models that a specification names as judges: given ones, and members of a pool."""
    judging = {str(read_facts(given / FACTS)["weights"]) for given in spec.given.retrained}
    if spec.references is not None:
        for member in read_plan(spec.references).members():
            file = PoolDirectory(spec.references).signals(member)
            if member.use == AUDIT and file.exists():
                judging.add(Signals.load(file).model)
    return judging


def _judges_of(spec: RunSpec, directory: RunDirectory, partition: Partition) -> set[str]:
    """The same of every model that a run is judged by and that it has already."""
    judging: set[str] = set()
    for reference in pool_references(directory, partition).values():
        judging |= {one.model for one in reference.members}
    for name in retrained_names(spec):
        if directory.signals(name).exists():
            judging.add(Signals.load(directory.signals(name)).model)
    return judging
