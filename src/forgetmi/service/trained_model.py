"""A trained model to be used: what it predicts of films and reports, and what is known of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from forgetmi.cohort.model_patients import NAME, ModelPatients, read_patients
from forgetmi.core.arrays import Floats
from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.labels import Scale
from forgetmi.core.task import Task
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evidence.record import RECORD
from forgetmi.model import checkpoint
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule, net_modules
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.tasks.by_name import training_task
from forgetmi.run.model_in_service import model_in_service
from forgetmi.run.prepared import batch_size_of, image_rules, scale_of, tokenizer_of
from forgetmi.service.plain_inputs import TABLE, AnyTokenizer, Film, PlainInputs, batches

# extra[...] of a published checkpoint: counts in place of the patients themselves
COUNTS = "counts"


@dataclass(frozen=True)
class Facts:
    """What is known of a trained model.

    Args:
        task: "grades", "classes", "binary", "findings", "value" or "pairs".
        classes: Names of its classes or findings, in the order of its predictions.
        modalities: What it reads.
        weights: Digest of its weights.
        cohort: Digest of the cohort that it was made with; "" = it does not say.
        trained: How many patients it was trained on and has not forgotten; None = it does not say.
        forgotten: How many it has forgotten, or was made without; None = it does not say.
        root: Merkle root over the keyed digests of the patients trained on; "" = it does not say.
        members: How many models it consists of.
        parameters: How many numbers it has learned.
        image_size: Side of its films, pixels.
        longest_report: Tokens of a report at most; longer ones are cut.
        version: Version of forgetmi that wrote it.
    """

    task: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    weights: str
    cohort: str
    trained: int | None
    forgotten: int | None
    root: str
    members: int
    parameters: int
    image_size: int
    longest_report: int
    version: str


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts of n samples.

    Args:
        classes: Names of the k columns.
        heads: Float64[n, k] by head: probabilities (of classes they sum to 1; of findings each is one); of a value its
            mean, in the cohort's units. NaN where a sample lacks what the head reads.
        joint: Float64[n, k], the mean over the heads that say something of a sample.
    """

    classes: tuple[str, ...]
    heads: dict[str, Floats]
    joint: Floats

    def __len__(self) -> int:
        return len(self.joint)


@final
@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A model of a checkpoint, ready to predict; `load` makes one.

    Args:
        loaded: The checkpoint's content; ``loaded.model`` is the torch module, which may be moved to another device.
        images: How its films are prepared.
        tokenizer: How its reports become tokens.
        scale: From the units in which values were trained on to the cohort's.
        patients: Who it has seen, by keyed digests; None = its checkpoint does not name them.
        record: Of the run that made it; None = there is none.
    """

    loaded: checkpoint.Loaded
    images: ImagePreprocessing
    tokenizer: AnyTokenizer
    scale: Scale
    patients: ModelPatients | None
    record: Path | None

    def __repr__(self) -> str:
        facts = self.facts
        return f"TrainedModel({facts.task}, {len(facts.classes)} classes, {facts.weights[:12]})"

    @property
    def task(self) -> Task:
        """What its labels are."""
        return training_task(str(self.loaded.preprocessing.get("task", "classes")))

    @property
    def net(self) -> NetModule:
        """The model itself, or the first of an ensemble's."""
        return net_modules(self.loaded.model)[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of its table, in order; none = it reads no table."""
        spec = self.loaded.spec
        if isinstance(spec, OwnSpec):
            return spec.sizes.columns
        if isinstance(spec, ComposedSpec) and TABLE in spec.modalities:
            return tuple(spec.tower(TABLE).columns)
        return ()

    @property
    def facts(self) -> Facts:
        """What is known of it; patients are counted, never named."""
        trained, forgotten, root = self._counts()
        return Facts(
            task=self.task.name,
            classes=self.loaded.classes,
            modalities=tuple(self.net.modalities),
            weights=self.loaded.digest,
            cohort=str(self.loaded.extra.get("cohort", "")),
            trained=trained,
            forgotten=forgotten,
            root=root,
            members=len(net_modules(self.loaded.model)),
            parameters=sum(value.numel() for value in self.loaded.model.parameters()),
            image_size=self.images.size,
            longest_report=self.tokenizer.max_length,
            version=self.loaded.version,
        )

    def predict(
        self,
        *,
        images: Sequence[Film] | None = None,
        reports: Sequence[str | None] | None = None,
        table: Mapping[str, Sequence[float | None]] | None = None,
    ) -> Predictions:
        """Predict n samples, prepared as the model's training prepared its own.

        Use it in service. For a whole cohort with all outputs there is `forgetmi.predict`. Nothing is written, neither
        to the image cache.

        Args:
            images: n films: paths (PNG, JPEG, DICOM, NPY), or arrays (h, w) of grey values with white high: 8 bits,
                other integers, or floats in [0, 1]; None = this sample has none.
            reports: n texts, of the same sections that the model was trained on; None or blank = this sample has none.
            table: n values by column; None or NaN = missing.

        Returns:
            Predictions by head, and their mean.

        Raises:
            SpecError: They are not what the model reads, or not as many; or the task predicts no label.
            CohortError: Films cannot be used; each is named by its place from 0, not by its path.

        Examples:
            ``model.predict(images=["film.dcm"], reports=["No edema."]).joint``
        """
        check_headed(self.task)
        inputs = PlainInputs(images, reports, table)
        inputs.check(self.net.modalities, self.columns)
        model = self.loaded.model

        # Head by head, as float64, of which measures take differences
        found: dict[str, list[Floats]] = {}
        with evaluating(model), torch.inference_mode():
            for batch in batches(
                inputs,
                modalities=self.net.modalities,
                images=self.images,
                tokenizer=self.tokenizer,
                columns=self.columns,
                batch_size=batch_size_of(self.images.size),
            ):
                outputs = model(batch.to(model.device))
                for head, logits in outputs.logits.items():
                    values = self.scale.units(self.task.prediction(logits.double()))

                    # A head says nothing of a sample without its modality
                    absent = ~batch.there(head)
                    if bool(absent.any()):
                        values[absent.to(values.device)] = torch.nan
                    found.setdefault(head, []).append(values.cpu().numpy())

        heads = {head: np.concatenate(parts) for head, parts in found.items()}
        joint = _mean_of_those_there(list(heads.values()))
        return Predictions(self.loaded.classes, heads, joint)

    def _counts(self) -> tuple[int | None, int | None, str]:
        """Patients trained on, patients forgotten, and the root over the former."""
        if self.patients is not None:
            trained, forgotten = self.patients.trained, self.patients.forgotten
            return len(trained.patients), len(forgotten.patients), trained.root

        # Of a published one the counts alone are known
        counts = self.loaded.extra.get(COUNTS)
        if not isinstance(counts, dict):
            return None, None, ""
        trained, forgotten, root = (counts.get(name) for name in ("trained", "forgotten", "root"))
        if type(trained) is not int or type(forgotten) is not int or not isinstance(root, str):
            raise CheckpointError(Fault("the counts of patients are of another form", where=COUNTS))
        return trained, forgotten, root


def _mean_of_those_there(heads: Sequence[Floats]) -> Floats:
    """Mean over the heads, sample by sample of those that are not NaN; NaN where all are."""
    stacked = np.stack(heads)
    there = ~np.isnan(stacked)
    if there.all():
        return np.mean(stacked, axis=0)
    count = there.sum(axis=0)
    return np.where(count > 0, np.nansum(stacked, axis=0) / np.maximum(count, 1), np.nan)


def load(path: str | Path, *, factory: str = "") -> TrainedModel:
    """Read a trained model for use: nothing in its folder is run or unpickled, and nothing is fetched.

    Use it to predict single patients, to look a model's facts up, to publish or to export it.

    Args:
        path: Folder of a checkpoint, of a copy from the Hugging Face Hub, or of a finished run, whose unlearned model
            is meant.
        factory: For a model of your own: its factory, ``package.module:function``, which is imported and run.

    Raises:
        CheckpointError: Files are missing or were altered, or a factory is needed.
        SpecError: There is no model.

    Examples:
        >>> model = load(service)
        >>> model.facts.task, model.facts.classes[0]
        ('grades', 'no edema')
    """
    found = model_in_service(Path(os.path.abspath(path)))
    loaded = checkpoint.load(found.checkpoint, factory=factory)
    where = f"{found.checkpoint.name}/{checkpoint.FACTS}"

    stored: Any = loaded.extra.get(NAME)
    record = None if found.run is None else found.run / RECORD
    return TrainedModel(
        loaded=loaded,
        images=image_rules(loaded.preprocessing, where=where),
        tokenizer=tokenizer_of(loaded, where=where),
        scale=scale_of(loaded, where=where),
        patients=None if stored is None else read_patients(stored, where=where),
        record=record if record is not None and record.exists() else None,
    )


def check_headed(task: Task) -> None:
    """Refuse a task without predictions of a label.

    Raises:
        SpecError: Pairs of image and text have none.
    """
    if not task.headed:
        why = "a model of image-text pairs has embeddings, and no label"
        do = "Use forgetmi predict, which stores the embeddings."
        raise SpecError(Fault("there is nothing to predict", why=why, do=do))
