"""What a pool of shadow models is: how many, who is inside each, whom each unlearns, and what it costs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from forgetmi.cohort.partition_file import read_stored
from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.serialization import LATER
from forgetmi.evaluation.attacks.adversary import ATTACKED_SETS
from forgetmi.run.costs import cost_of
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec

Masks = np.ndarray  # Bool[models, patient codes]

# The sets out of which the halves are drawn
SIDES: tuple[SetName, ...] = ("forget", "retain", "holdout")


@dataclass(frozen=True)
class Plan:
    """What a pool of shadow models is; stored next to them.

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
        retained_share: Above 0, these are ignorance verifiers: each is trained on this share of the retained patients
            alone, no two on the same one. 0 = shadow models, on halves of everybody.
    """

    models: int
    unlearnings: int
    seed: int
    cohort: str
    forgotten: int
    rows: int
    people: str
    asked: str
    retained_share: float = field(default=0.0, metadata=LATER)


def plan_for(
    partition: Partition,
    *,
    models: int,
    unlearnings: int,
    seed: int,
    retained_share: float = 0.0,
) -> Plan:
    """A pool for the patients of a run.

    Raises:
        SpecError: Too few models, or more forget sets than half of the attacked patients hold.
    """
    if retained_share > 0:
        return _verifiers(partition, models, unlearnings, seed, retained_share)
    if models < 2:
        raise SpecError(
            Fault(
                f"{models} shadow models are too few",
                why="every patient is in one half of them",
                do="Ask for 2 or more.",
            )
        )

    forgotten = len(_patients(partition, "forget"))
    plan = Plan(
        models=models,
        unlearnings=unlearnings,
        seed=seed,
        cohort=partition.cohort,
        forgotten=forgotten,
        rows=len(rows_of_sides(partition)),
        people=patients_digest(partition),
        asked=attacked_digest(partition),
    )

    # The forget sets of a model are disjoint, and all of its half.
    room = int(_attacked_inside(plan, partition).sum(1).min())
    if not 0 <= unlearnings * forgotten <= room:
        raise SpecError(
            Fault(
                f"{unlearnings} forget sets of {forgotten} patients cannot be drawn for each shadow model",
                why=f"the smallest half holds {room} of the patients asked about",
                do=f"Ask for 0 to {room // forgotten} unlearnings.",
            )
        )
    return plan


def _verifiers(
    partition: Partition, models: int, unlearnings: int, seed: int, share: float
) -> Plan:
    """A pool of ignorance verifiers.

    Raises:
        SpecError: They would share patients, or have fewer than two each; or they would unlearn somebody.
    """
    retained = len(_patients(partition, "retain"))
    each = round(share * retained)
    if models < 1 or each < 2 or models * each > retained:
        raise SpecError(
            Fault(
                f"{models} models of {each} of {retained} retained patients cannot be drawn",
                why="no two verifiers share a patient, and each needs two",
                do="Ask for fewer models or another --retained-share.",
            )
        )
    if unlearnings:
        raise SpecError(
            Fault("a verifier has nobody to unlearn", do="Leave --unlearnings out, or 0.")
        )

    return Plan(
        models=models,
        unlearnings=0,
        seed=seed,
        cohort=partition.cohort,
        forgotten=len(_patients(partition, "forget")),
        rows=len(partition.retain),
        people=patients_digest(partition),
        asked=attacked_digest(partition),
        retained_share=share,
    )


def inside(plan: Plan, partition: Partition) -> Masks:
    """Who each model is trained on.

    Of shadow models every patient of the forget, retain and holdout sets is in exactly half of them; of verifiers each
    has its own part of the retained patients.
    """
    if plan.retained_share > 0:
        return _parts(plan, partition)

    patients = _patients(partition, *SIDES)

    # Per patient a random order of the models; the first half of them trains on the patient.
    draws = numpy_generator(plan.seed, "shadows", "masks").random((plan.models, len(patients)))
    order = draws.argsort(0).argsort(0)

    masks = np.zeros((plan.models, int(partition.patient.max()) + 1), dtype=bool)
    masks[:, patients] = order < plan.models // 2
    return masks


def _parts(plan: Plan, partition: Partition) -> Masks:
    """Consecutive parts of a random order of the retained patients."""
    retained = _patients(partition, "retain")
    order = numpy_generator(plan.seed, "shadows", "verifiers").permutation(retained)
    each = round(plan.retained_share * len(retained))

    masks = np.zeros((plan.models, int(partition.patient.max()) + 1), dtype=bool)
    for number in range(plan.models):
        masks[number, order[number * each : (number + 1) * each]] = True
    return masks


def forget_sets(plan: Plan, partition: Partition, model: int) -> list[Ints]:
    """The patients one model unlearns, one array a forget set, out of those of its half that attacks ask about."""
    available = np.flatnonzero(_attacked_inside(plan, partition)[model])
    order = numpy_generator(plan.seed, "shadows", "forget", model).permutation(available)

    # Consecutive parts of a random order, so that no two sets share a patient
    sets = []
    for number in range(plan.unlearnings):
        start = number * plan.forgotten
        sets.append(np.sort(order[start : start + plan.forgotten]))
    return sets


def _attacked_inside(plan: Plan, partition: Partition) -> Masks:
    """Who each model is trained on, of those that attacks ask about."""
    attacked = np.zeros(int(partition.patient.max()) + 1, dtype=bool)
    attacked[_patients(partition, *ATTACKED_SETS)] = True
    return inside(plan, partition) & attacked


def _patients(partition: Partition, *sets: SetName) -> Ints:
    """Codes of the patients of some sets; who withdrew earlier is in none of them."""
    now = partition.of_request()
    return np.unique(np.concatenate([now.patient[now.rows(name)] for name in sets]))


def patients_digest(partition: Partition) -> str:
    """Digest `Plan.people`: masks are drawn again when a pool is read, so the patients must be the same."""
    return _digest(_patients(partition, *SIDES))


def attacked_digest(partition: Partition) -> str:
    """Digest `Plan.asked`: forget sets are drawn again, too."""
    return _digest(_patients(partition, *ATTACKED_SETS))


def _digest(patients: Ints) -> str:
    return hashlib.sha256(patients.astype(np.int64).tobytes()).hexdigest()[:16]


def rows_of_sides(partition: Partition) -> Ints:
    """Rows of all patients that the halves are drawn from, in the order of the cohort."""
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
    # Measured in the run, unless a cost is given
    if training is None:
        training = _measured_training(spec, run)

    # A shadow model is trained on half of the rows, and unlearns a set as large as the run's.
    sets = read_stored(run.partition).rows
    trained = max(1, len(sets["forget"]) + len(sets["retain"]))
    each = plan.rows * (plan.retained_share or 0.5) / trained * training
    unlearning = cost_of(run, UNLEARNED).cpu_seconds
    return plan.models * (each + plan.unlearnings * unlearning)


def _measured_training(spec: RunSpec, run: RunDirectory) -> float:
    """CPU seconds of a training in the run: the original's, or that of a retrained model."""
    # Given models cost the run nothing
    trained_here = [] if spec.given.original else [ORIGINAL]
    trained_here += retrained_names(spec)[len(spec.given.retrained) :]
    if not trained_here:
        raise SpecError(
            Fault(
                "what a training costs is not known",
                why="the run trained no model itself",
                do="Give --training-cost CPU_SECONDS.",
            )
        )
    return cost_of(run, trained_here[0]).cpu_seconds
