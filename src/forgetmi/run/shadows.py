"""Shadow models: trained like the original on random halves of the patients, as references of the audit's attacks.

They serve LiRA, RMIA, IAM, U-LiRA and RULI, never as Retrain (which is the exact retained side). A never-seen patient
must be inside some of them, too: otherwise nothing tells what having been trained on would look like for that patient.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import derive, numpy_generator
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import ATTACKED_SETS, Pool
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run import workflow
from forgetmi.run.claim import claim
from forgetmi.run.costs import cost_of
from forgetmi.run.device import device_of
from forgetmi.run.directory import RunDirectory
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.run_data import OpenedRun, load_data
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec
from forgetmi.run.unlearn_from import unlearn_from

Masks = np.ndarray  # Bool[models, patient codes]


@dataclass(frozen=True)
class Plan:
    """What a pool of shadow models is; stored beside them.

    Args:
        models: How many, >= 2: 2 to 4 serve RMIA and IAM, 16 and more LiRA, 64 and more U-LiRA and RULI.
        unlearnings: Forget sets that each of them unlearns by the run's method, each from the trained model; 0 = none,
            U-LiRA and RULI need 1 or 2.
        seed: Root seed of masks and models.
        cohort: Digest of the cohort.
        forgotten: Patients a forget set, as many as the run's.
        rows: How many rows the halves are drawn from.
        people: Digest of the patients the halves are drawn from.
        asked: Digest of those the attacks ask about, out of whom the forget sets are drawn.
    """

    models: int
    unlearnings: int
    seed: int
    cohort: str
    forgotten: int
    rows: int
    people: str
    asked: str


def plan_for(partition: Partition, *, models: int, unlearnings: int, seed: int) -> Plan:
    """A pool for the patients of a run.

    Raises:
        SpecError: Too few models, or more forget sets than half of the asked patients hold.
    """
    forgotten = len(_people(partition, "forget"))
    plan = Plan(
        models,
        unlearnings,
        seed,
        partition.cohort,
        forgotten,
        len(_rows(partition)),
        *_sets(partition),
    )
    if models < 2:
        raise SpecError(
            Fault(
                f"{models} shadow models are too few",
                why="every patient is in one half of them",
                do="Ask for 2 or more.",
            )
        )
    room = int(_asked(plan, partition).sum(1).min())
    if not 0 <= unlearnings * forgotten <= room:
        raise SpecError(
            Fault(
                f"{unlearnings} forget sets of {forgotten} patients cannot be drawn for each shadow model",
                why=f"the smallest half holds {room} of the patients asked about",
                do=f"Ask for 0 to {room // forgotten} unlearnings.",
            )
        )
    return plan


def inside(plan: Plan, partition: Partition) -> Masks:
    """Who each model is trained on: every patient of the forget, retain and holdout sets in exactly half of them."""
    patients = _people(partition, "forget", "retain", "holdout")
    order = (
        numpy_generator(plan.seed, "shadows", "masks")
        .random((plan.models, len(patients)))
        .argsort(0)
        .argsort(0)
    )
    masks = np.zeros((plan.models, int(partition.patient.max()) + 1), dtype=bool)
    masks[:, patients] = order < plan.models // 2
    return masks


def forget_sets(plan: Plan, partition: Partition, model: int) -> list[Ints]:
    """The patients one model unlearns, one array a forget set, out of those of its half that attacks ask about."""
    there = np.flatnonzero(_asked(plan, partition)[model])
    order = numpy_generator(plan.seed, "shadows", "forget", model).permutation(there)
    return [
        np.sort(order[at * plan.forgotten : (at + 1) * plan.forgotten])
        for at in range(plan.unlearnings)
    ]


def _asked(plan: Plan, partition: Partition) -> Masks:
    asked = np.zeros(int(partition.patient.max()) + 1, dtype=bool)
    asked[_people(partition, *ATTACKED_SETS)] = True
    return inside(plan, partition) & asked


def _people(partition: Partition, *sets: str) -> Ints:
    now = partition.of_request()  # who withdrew earlier is trained on no more
    return np.unique(np.concatenate([now.patient[now.rows(on)] for on in sets]))  # type: ignore[arg-type]


def _sets(partition: Partition) -> tuple[str, str]:
    """Digests `Plan.people` and `Plan.asked`: masks are drawn again when a pool is read, so they must be the same."""
    people, asked = (
        hashlib.sha256(_people(partition, *on).astype(np.int64).tobytes()).hexdigest()[:16]
        for on in (("forget", "retain", "holdout"), ATTACKED_SETS)
    )
    return people, asked


def _rows(partition: Partition) -> Ints:
    now = partition.of_request()
    return np.sort(np.concatenate([now.forget, now.retain, now.holdout]))


def estimated_cost(
    plan: Plan, spec: RunSpec, run: RunDirectory, *, training: float | None
) -> float:
    """CPU seconds a pool will take, from what the run's own training and unlearning took.

    Args:
        plan: The pool.
        spec, run: The run.
        training: CPU seconds of one training on the run's training side; None = as measured in the run.

    Raises:
        SpecError: Nothing was trained in the run, and no cost is given.
    """
    sets = json.loads(run.partition.read_text(encoding="utf-8"))
    trained = len(sets["forget"]) + len(sets["retain"])
    if training is None:
        made = [
            *([] if spec.given.original else [ORIGINAL]),
            *retrained_names(spec)[len(spec.given.retrained) :],
        ]
        if not made:
            raise SpecError(
                Fault(
                    "what a training costs is not known",
                    why="the run trained no model itself",
                    do="Give --training-cost CPU_SECONDS.",
                )
            )
        training = cost_of(run, made[0]).cpu_seconds
    each = plan.rows / 2 / trained * training
    return plan.models * (each + plan.unlearnings * cost_of(run, UNLEARNED).cpu_seconds)


def make_pool(
    plan: Plan,
    spec: RunSpec,
    run: RunDirectory,
    root: Path,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Train what is not there yet of a pool, side by side; given again, an interrupted pool goes on.

    Args:
        plan: The pool.
        spec, run: The finished run whose architecture, vocabulary, recipe and method are used.
        root: Directory of the pool.
        on_progress: Called with (what, done, in all).

    Raises:
        SpecError: The directory holds another pool.
    """
    directory = RunDirectory(root)
    with directory.lock():
        claim(root / "plan.json", _text(plan), kind="pool of shadow models")
        jobs = [
            Job(_name(at), make_shadow, (plan, spec, run.root, root, at))
            for at in range(plan.models)
            if not directory.signals(_name(at)).exists()
        ]
        run_all(jobs, spec.resources, on_progress=on_progress)


def make_shadow(
    plan: Plan, spec: RunSpec, run: Path, root: Path, at: int, progress: ProgressCallback
) -> None:
    """Train one shadow model, let it unlearn, and keep what each of them says; runs in a worker process."""
    directory, name = RunDirectory(root), _name(at)
    cohort, partition = load_data(spec)
    prepared, _ = open_checkpoint(RunDirectory(run).model(ORIGINAL), cohort=cohort)
    patients = np.flatnonzero(inside(plan, partition)[at])
    seed = derive(plan.seed, "shadow", at)
    for folder in ("models", "signals", "state"):
        (root / folder).mkdir(exist_ok=True)
    sides = _partition(partition, patients, patients[:1])
    if not directory.model(name).exists():
        model, _ = workflow.train(
            prepared=prepared,
            partition=sides,
            recipe=spec.training,
            seed=seed,
            resume=directory.state(name),
            progress=progress,
            device=device_of(spec),
        )
        prepared.save(directory.model(name), model, role="shadow", seed=seed)
        directory.state(name).unlink(missing_ok=True)
    for number, forgotten in enumerate(forget_sets(plan, partition, at)):
        signals, state = directory.signals(_name(at, number)), directory.state(_name(at, number))
        if signals.exists():
            continue
        done = unlearn_from(
            directory.model(name),
            spec,
            OpenedRun(cohort, _partition(partition, patients, forgotten), prepared),
            seed=derive(seed, "unlearn", number),
            state=state,
            progress=progress,
        )
        _keep(workflow.predict(prepared=prepared, model=done.model), signals)
        state.unlink(missing_ok=True)
    _, loaded = open_checkpoint(directory.model(name), cohort=cohort)
    _keep(workflow.predict(prepared=prepared, model=loaded.model), directory.signals(name))
    shutil.rmtree(directory.model(name))


def _partition(partition: Partition, patients: Ints, forgotten: Ints) -> Partition:
    """Trained on these patients alone, of whom some are forgotten; validation as it was."""
    rows = _rows(partition)
    own = rows[np.isin(partition.patient[rows], patients)]
    gone = np.isin(partition.patient[own], forgotten)
    nobody = np.empty(0, np.int64)
    return replace(
        partition,
        forget=own[gone],
        retain=own[~gone],
        holdout=nobody,
        reference=nobody,
        earlier=nobody,
    )


def _keep(signals: Signals, path: Path) -> None:
    replace(signals, joint_embedding=None).save(path)  # no attack asks a shadow model for it


def _name(at: int, unlearning: int | None = None) -> str:
    return f"shadow-{at:03d}" + ("" if unlearning is None else f"-unlearned-{unlearning}")


def _text(plan: Plan) -> str:
    """A plan as stored."""
    return json.dumps(asdict(plan), indent=1, sort_keys=True) + "\n"


def _stored(root: Path) -> Plan:
    return from_plain(
        Plan,
        json.loads((root / "plan.json").read_text(encoding="utf-8")),
        where="plan.json",
        complete=True,
    )


def read_pools(root: Path, *, cohort: Cohort, partition: Partition) -> tuple[Pool, Pool | None]:
    """The plain shadow models of a finished pool, and the unlearned ones where there are any.

    Args:
        root: Directory of the pool.
        cohort: The cohort it was made for.
        partition: Of the run it was made for; where nothing was unlearned, also of another run with the same holdout
            and training side.

    Raises:
        SpecError: It is no pool, is of other data, or is not finished.
    """
    if not (root / "plan.json").exists():
        raise SpecError(
            Fault(
                "this is no directory of shadow models",
                where=root.name,
                do="Give the --out of forgetmi shadows.",
            )
        )
    plan, directory = _stored(root), RunDirectory(root)
    people, asked = _sets(partition)
    if (plan.cohort, plan.people) != (cohort.digest, people) or (
        plan.unlearnings and plan.asked != asked
    ):
        raise SpecError(
            Fault(
                "the shadow models are of another cohort or of other sets",
                where=root.name,
                do="Give the run they were made for first.",
            )
        )
    done = [at for at in range(plan.models) if directory.signals(_name(at)).exists()]
    if len(done) < plan.models:
        raise SpecError(
            Fault(
                f"{len(done)} of {plan.models} shadow models are done",
                where=root.name,
                do="Give the command of forgetmi shadows again; it goes on where it stopped.",
            )
        )
    masks = inside(plan, partition)
    plain = Pool(
        tuple(Signals.load(directory.signals(_name(at))) for at in done),
        masks,
        np.zeros_like(masks),
    )
    if plan.unlearnings == 0:
        return plain, None
    kept, gone, signals = [], [], []
    for at in done:
        for number, forgotten in enumerate(forget_sets(plan, partition, at)):
            out = np.isin(np.arange(masks.shape[1]), forgotten)
            kept.append(masks[at] & ~out)
            gone.append(out)
            signals.append(Signals.load(directory.signals(_name(at, number))))
    return plain, Pool(tuple(signals), np.array(kept), np.array(gone))
