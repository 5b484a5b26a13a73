"""The model in service: its checkpoint, the run that made it, how it was trained, and what a retraining of it cost."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.identifiers import load_key
from forgetmi.cohort.known_sides import sides_of_list, sides_of_model
from forgetmi.cohort.model_patients import NAME
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost
from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_name
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.record import RECORD
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.recipe import Recipe
from forgetmi.requests.entries import Kind
from forgetmi.requests.standing import TRAINED, standing_of_sides, standing_of_subjects
from forgetmi.run.directory import RunDirectory
from forgetmi.run.given_patients import patients_in
from forgetmi.run.spec import GivenModels, PartitionSpec, RequestSpec, RunSpec, spec_of

FACTS = "model.json"
# Models that are made from others, followed back to the first one's cost
_MOST_STEPS = 1000


@dataclass(frozen=True)
class ModelInService:
    """A trained model that serves, from which people withdraw.

    Args:
        checkpoint: Its folder.
        weights: Digest of its weights.
        run: The run that made it; None = it was made by another command, or lies elsewhere.
        extra: What else is stored with it, e.g. how it was trained.
    """

    checkpoint: Path
    weights: str
    run: Path | None
    extra: dict[str, Any]

    @property
    def unlearned(self) -> bool:
        """Whether it has forgotten others before."""
        return self.run is not None and self.checkpoint.name == UNLEARNED

    @property
    def names_patients(self) -> bool:
        """Whether its checkpoint says whom it has seen."""
        return NAME in self.extra

    @property
    def partition(self) -> Path | None:
        """The file that says who is in which set of it; None = there is none beside it."""
        file = self.checkpoint.with_name(f"{self.checkpoint.name}.partition.json")
        if self.run is not None:
            file = RunDirectory(self.run).partition
        return file if file.exists() else None

    @property
    def previous(self) -> Path | None:
        """The run whose record comes before that of a withdrawal from it; None = there is no record."""
        if self.unlearned and self.run is not None and (self.run / RECORD).exists():
            return self.run
        return None


def model_in_service(path: Path) -> ModelInService:
    """Find out what a person names as the model in service.

    Args:
        path: Folder of a checkpoint, or of a run, whose unlearned model is meant.

    Raises:
        ForgetMIError: There is no model, or it was altered.
    """
    path = Path(os.path.abspath(path))
    checkpoint = path
    if not (path / FACTS).exists():
        checkpoint = RunDirectory(path).model(UNLEARNED)
    if not (checkpoint / FACTS).exists():
        raise SpecError(
            Fault(
                "there is no model",
                where=path.name,
                do="Name the folder of a checkpoint (model.json lies in it), or of a finished run.",
            )
        )

    facts = read_facts(checkpoint / FACTS)
    root = checkpoint.parent.parent
    in_run = checkpoint.parent.name == "models" and RunDirectory(root).spec.exists()
    return ModelInService(
        checkpoint, facts["weights"], root if in_run else None, dict(facts["extra"])
    )


def starting_spec(model: ModelInService) -> RunSpec:
    """The specification of a withdrawal before any option: the run that made the model, without its request.

    Cohort, recipe, images, rule and seeds are the run's; who is forgotten, the models given and the number of retrained
    models are not. Of a model that another command made, the recipe and the seed are known.
    """
    if model.run is not None:
        made_by = spec_of(model.run)
        return replace(
            made_by,
            partition=PartitionSpec(
                validation=made_by.partition.validation,
                validation_from=made_by.partition.validation_from,
                holdout=made_by.partition.holdout,
            ),
            request=RequestSpec(),
            given=GivenModels(original=model.checkpoint),
            retrains=RunSpec.retrains,
        )

    # What `train` stores with a checkpoint
    spec = RunSpec(given=GivenModels(original=model.checkpoint))
    if "recipe" in model.extra:
        where = f"{model.checkpoint.name}/{FACTS}"
        recipe = from_plain(Recipe, model.extra["recipe"], where=where)
        spec = replace(spec, training=recipe)
    seed = model.extra.get("seed")
    return replace(spec, seed=seed) if type(seed) is int and seed >= 0 else spec


def standing(model: ModelInService, spec: RunSpec, cohort: Cohort, kind: Kind) -> dict[str, str]:
    """What each patient's or study's data are to the model; see `forgetmi.requests.standing`.

    Args:
        model: The model.
        spec: The withdrawal, which may say whom a model from elsewhere was trained on.
        cohort: The one it was trained on.
        kind: Patients or studies.

    Raises:
        PartitionError: What says who the model has seen is of another cohort or key.
    """
    # The checkpoint says it, or a list does
    known = patients_in(model.checkpoint)
    if known is not None:
        side, _ = sides_of_model(known, cohort)
        return standing_of_sides(side, cohort, kind)
    if spec.given.trained_on is not None:
        key = load_key(getattr(spec.cohort, "key_file", None))
        listed = read_forget_list(spec.given.trained_on, cohort=cohort, key=key, unknown="count")
        side, _ = sides_of_list(listed.patients, cohort, validation=0.0, seed=0)
        return standing_of_sides(side, cohort, kind)

    # An older model: the partition beside it, or the cohort's own split
    partition = None
    if model.partition is not None:
        partition = read_partition(model.partition, cohort)
    of_subject = standing_of_subjects(cohort, kind, partition)
    if partition is None or model.unlearned:
        return of_subject

    # A model before any unlearning was trained on those whom its run forgot afterwards, too
    identifiers = cohort.patient if kind == "patient" else cohort.study
    forgotten = identifiers[partition.of_request().forget]
    return of_subject | dict.fromkeys(forgotten.astype(str).tolist(), TRAINED)


def retraining_cost_of(model: ModelInService) -> Cost | None:
    """What one training of the model by its recipe cost, as recorded; None = nothing is.

    Of a model that was made from another one, what the first one cost.
    """
    for _ in range(_MOST_STEPS):
        if model.run is None:
            file = model.checkpoint.with_name(f"{model.checkpoint.name}.trace.json")
            return _cost_in(file)

        # A retraining that was measured there, or the training of the original
        directory, spec = RunDirectory(model.run), spec_of(model.run)
        if spec.retrains:
            name = retrained_name(len(spec.given.retrained))
            if (cost := _cost_in(directory.trace(name))) is not None:
                return cost
        if spec.given.original is None:
            return _cost_in(directory.trace(ORIGINAL))
        try:
            model = model_in_service(spec.given.original)
        except ForgetMIError:
            return None
    return None


def _cost_in(file: Path) -> Cost | None:
    """The cost in a trace; None where there is none that can be read."""
    if not file.exists():
        return None
    try:
        values = read_json(file, what="a trace", do="Restore the file.")
        return from_plain(Cost, values["cost"], where=file.name)
    except (ForgetMIError, KeyError, TypeError):
        return None
