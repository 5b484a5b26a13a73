"""The verbs of the front door: everything a run does, as plain functions of plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from forgetmi.core import distributed
from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Recorder
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CheckpointError, Fault, MethodError
from forgetmi.core.files import default_cache
from forgetmi.core.model_names import retrained_name
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import Loader, SampleStore, prefetch_workers_for
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import train_wordpiece
from forgetmi.evaluation import suite
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model import checkpoint
from forgetmi.model.architecture import Architecture
from forgetmi.model.collect import collect
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.execution import Execution
from forgetmi.model.fit_gate import fit_gate
from forgetmi.model.image_text import (
    ImageText,
    executing,
    image_text_models,
    in_micro_batches,
    parameter_digest,
)
from forgetmi.model.initialise import build
from forgetmi.model.pretrained import pretrained_directory
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.unlearning import method as base
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.original import TrainedOriginal, TrainingTask

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cohort made ready for one family of models: images decoded, reports tokenized.

    Args:
        cohort: The cohort.
        records: Its images and tokens.
        images: How the images were prepared.
        spec: Architecture of every model trained on them.
        source: What a checkpoint in a foreign form holds beside the weights, kept for the way back.
    """

    cohort: Cohort
    records: SampleStore
    images: ImagePreprocessing
    spec: ModelSpec
    source: Any = None

    def preprocessing(self) -> dict[str, Any]:
        """What a checkpoint must remember to prepare another cohort in the same way."""
        tokenizer = self.records.tokenizer
        return {
            "images": asdict(self.images),
            "ordinal": self.cohort.ordinal,
            "text": {
                "max_length": tokenizer.max_length,
                "lowercase": tokenizer.lowercase,
                "strip_accents": tokenizer.strip_accents,
            },
        }

    def save(self, directory: Path, model: ImageText | Ensemble, **extra: Any) -> str:
        """Write a model of this family as a checkpoint; returns the digest of its weights."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        return checkpoint.save(
            directory,
            model,
            vocabulary=self.records.tokenizer.vocabulary,
            preprocessing=self.preprocessing(),
            classes=self.cohort.classes,
            extra={"cohort": self.cohort.digest, "source": self.source, **extra},
        )


def prepare(
    *,
    cohort: Cohort,
    partition: Partition,
    images: ImagePreprocessing | None = None,
    architecture: Architecture | None = None,
    vocabulary: int = 1000,
    min_patients: int = 5,
    max_length: int = 320,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Decode every image once, make the vocabulary, tokenize every report once.

    Args:
        cohort: The cohort.
        partition: The vocabulary is made from its forget and retain rows alone.
        images: Size and fit of the images.
        architecture: Which model.
        vocabulary: Largest number of word pieces.
        min_patients: Fewest training patients a piece must come from.
        max_length: Longest report in tokens.
        cache: Folder of prepared images.
        progress: Called with (images looked at, images in all).

    Raises:
        CohortError: Images cannot be read; all of them are listed.
        SpecError: The sizes do not fit together.
    """
    images, architecture = images or ImagePreprocessing(), architecture or Architecture()
    if architecture.pretrained:
        folder = pretrained_directory(architecture.pretrained, download=architecture.download)
        tokenizer = Tokenizer.from_pretrained_directory(folder, max_length=max_length)
    else:
        rows = trained_rows(partition)
        tokenizer = Tokenizer(
            train_wordpiece(
                cohort.report[rows],
                cohort.patient[rows],
                size=vocabulary,
                min_patients=min_patients,
            ),
            max_length=max_length,
        )
    store = build_image_store(cohort, images, cache=cache or default_cache(), progress=progress)
    records = SampleStore.of(cohort, store, tokenizer)
    spec = architecture.resolve(
        size=images.size,
        classes=len(cohort.classes),
        vocabulary=len(tokenizer.vocabulary),
        longest=max_length,
    )
    return Prepared(cohort, records, images, spec)


def open_checkpoint(
    directory: Path,
    *,
    cohort: Cohort,
    like: Prepared | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Prepared, checkpoint.Loaded]:
    """Read a model and prepare a cohort the way the model's own was.

    Args:
        directory: The checkpoint.
        cohort: Any cohort with the same classes.
        like: What this cohort was prepared as for another model; the checkpoint must be of the same kind.
        cache: Folder of prepared images.
        progress: Called with (images looked at, images in all).

    Raises:
        CheckpointError: The checkpoint is damaged, its classes are not the cohort's, or it is of another kind.
    """
    loaded = checkpoint.load(directory)
    if loaded.classes != cohort.classes:
        raise CheckpointError(
            Fault(
                "the checkpoint's classes are not the cohort's",
                where=directory.name,
                why=f"{', '.join(loaded.classes)} against {', '.join(cohort.classes)}",
                do="Give the cohort the same classes in the same order.",
            )
        )
    images = ImagePreprocessing(**loaded.preprocessing["images"])
    tokenizer = Tokenizer(loaded.vocabulary, **loaded.preprocessing["text"])
    if like is not None:
        if (loaded.spec, images, tokenizer) != (like.spec, like.images, like.records.tokenizer):
            raise CheckpointError(
                Fault(
                    "the checkpoint is of another kind than the original",
                    where=directory.name,
                    why="its architecture, image size or vocabulary differs",
                    do="Give models that were made alike.",
                )
            )
        return like, loaded
    store = build_image_store(cohort, images, cache=cache or default_cache(), progress=progress)
    source = loaded.extra.get("source")
    return Prepared(
        cohort, SampleStore.of(cohort, store, tokenizer), images, loaded.spec, source
    ), loaded


def fit_missing_gate(
    prepared: Prepared,
    loaded: checkpoint.Loaded,
    partition: Partition,
    *,
    without_forgotten: bool = False,
    seed: int = 0,
) -> bool:
    """Fit the gate of a model from a checkpoint that came without one; others are left as they are.

    Args:
        prepared: The cohort and architecture.
        loaded: The model.
        partition: Who it was trained on.
        without_forgotten: Whether it was trained without the forgotten.
        seed: Root seed.

    Returns:
        Whether the gate was fitted.
    """
    if loaded.extra.get("gate") != checkpoint.NO_GATE or not isinstance(loaded.model, ImageText):
        return False
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    fit_gate(loaded.model, in_order(prepared.records, rows), seed=seed)
    return True


def trained_rows(partition: Partition, *, without_forgotten: bool = False) -> Ints:
    """Rows a model is trained on, in the order of the cohort."""
    import numpy as np

    return (
        partition.retain
        if without_forgotten
        else np.sort(np.concatenate([partition.forget, partition.retain]))
    )


def train(
    *,
    prepared: Prepared,
    partition: Partition,
    recipe: Recipe | None = None,
    seed: int = 0,
    without_forgotten: bool = False,
    resume: Path | None = None,
    observers: Sequence[Recorder] = (),
    progress: Progress | None = None,
    device: str = "cpu",
) -> tuple[ImageText, TrainingTrace]:
    """Train the original, or - without the forgotten - a retrained reference; then fit the joint-embedding gate.

    Args:
        prepared: The cohort and architecture.
        partition: Who is in which set.
        recipe: How.
        seed: Root seed of weights, order and dropout.
        without_forgotten: Leave the forgotten out: this is Retrain.
        resume: File to save progress to and resume from.
        observers: Watch the steps.
        progress: Called with (epochs done, epochs in all).
        device: Where to train.

    Returns:
        The model, in eval mode, and what happened.
    """
    recipe = recipe or Recipe()
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    loader = Loader(
        prepared.records,
        rows,
        batch_size=recipe.batch_size,
        seed=seed,
        avoid_single=True,
        prefetch_workers=prefetch_workers_for(device),
    )
    validation = in_order(prepared.records, partition.validation)
    model = build(prepared.spec, seed=seed).to(device)
    trace = fit(
        model,
        loader,
        recipe,
        seed=seed,
        ordinal=prepared.cohort.ordinal,
        validation=validation if len(partition.validation) else None,
        resume=resume,
        observers=observers,
        progress=progress,
        sharded=distributed.sharded(),
    )
    fit_gate(model, in_order(prepared.records, rows), seed=seed)
    return model, trace


def train_original(
    *,
    prepared: Prepared,
    partition: Partition,
    method: base.Method[Any],
    recipe: Recipe | None = None,
    seed: int = 0,
    without_forgotten: bool = False,
    resume: Path | None = None,
    log: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> TrainedOriginal:
    """Train the original the way a method needs it: the usual one, watched by its recorder, or one of its own kind.

    Args:
        prepared: The cohort and architecture.
        partition: Who is in which set.
        method: Which method will unlearn from it.
        recipe: How.
        seed: Root seed of weights, order and dropout.
        without_forgotten: Leave the forgotten out.
        resume: File to save progress to and resume from.
        log: File or folder to keep the training log in, if the method asks for one; see `log_beside`.
        progress: Called with (epochs done, epochs in all).
        device: Where to train.

    Returns:
        The model, in eval mode, what happened, and the log.
    """
    recipe = recipe or Recipe()

    def usual(observers: Sequence[Recorder]) -> tuple[ImageText, TrainingTrace]:
        return train(
            prepared=prepared,
            partition=partition,
            recipe=recipe,
            seed=seed,
            resume=resume,
            without_forgotten=without_forgotten,
            observers=observers,
            progress=progress,
            device=device,
        )

    if method.info.original is None:
        return TrainedOriginal(*usual(()))
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    loader = Loader(
        prepared.records, rows, batch_size=recipe.batch_size, seed=seed, avoid_single=True
    )
    made = method.info.original.train(
        method,
        TrainingTask(
            samples=GuardedLoader(loader, labels=True, patient=partition.patient, device=device),
            forget=partition.forget,
            patient=partition.patient,
            recipe=recipe,
            seed=seed,
            ordinal=prepared.cohort.ordinal,
            fresh_model=lambda own: build(prepared.spec, seed=own).to(device),
            usual=usual,
            state=resume,
            log=log,
            progress=progress,
        ),
    )
    if made.log is not None and log is not None:
        made.log.save(log)
    return made


def log_beside(directory: Path) -> Path:
    """Where the training log of a checkpoint lies."""
    return directory.with_name(f"{directory.name}.log")


def open_log(directory: Path, method: base.Method[Any]) -> Any:
    """The training log of a checkpoint, for a method that needs it; None for the others.

    Args:
        directory: The checkpoint of the original.
        method: The method.

    Raises:
        MethodError: The log is missing, damaged, or another method's.
    """
    if method.info.original is None:
        return None
    if not (path := log_beside(directory)).exists():
        raise MethodError(
            Fault(
                f"{method.info.title} needs the log of the original's training",
                where=path.name,
                why="it is not there",
                do="Train the original for this method: forgetmi train --method NAME, or forgetmi run without a given one.",
            )
        )
    return method.info.original.load(path)


def unlearn(
    *,
    prepared: Prepared,
    partition: Partition,
    model: nn.Module,
    method: base.Method[Any] | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    batch_size: int = 16,
    training_log: Any = None,
    original: Signals | None = None,
    micro_batches: int = 1,
    state: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> base.Unlearned[Any]:
    """Make a model that behaves as if the forgotten patients had never been in it; the one given is not changed.

    Args:
        prepared: The cohort and architecture.
        partition: Its forget, retain and validation rows are all a method can see.
        model: The original, an `ImageText` unless the method makes its own kind.
        method: Which method, with its hyper-parameters; Forget-MI by default.
        recipe: How the original was trained.
        seed: Root seed.
        batch_size: Samples of each set a step.
        training_log: What was kept during the original's training, if the method needs it; see `open_log`.
        original: What `predict` found the original to say of this cohort, if that is at hand: a method that ``reads_signals``
            then looks it up instead of passing samples as they are through the original once more. The result differs
            by rounding.
        micro_batches: Compute each batch in so many parts, as so many processes would, >= 1; see
            `forgetmi.model.image_text.in_micro_batches`.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, epochs in all).
        device: Where to work.

    Returns:
        The new model, its gate (if it has one) fitted again on retained patients alone, and the trace.

    Raises:
        MethodError: The method diverges, or ``original`` does not fit; see `forgetmi.unlearning.method.original_table`.
        SpecError: There cannot be so many micro-batches.
    """
    recipe = recipe or Recipe()

    # The original, copies of it and fresh models all compute alike while the method works.
    with (
        in_micro_batches(model, micro_batches),
        executing(model, recompute=recipe.recompute),
    ):

        def fresh_model(own_seed: int) -> ImageText:
            fresh = build(prepared.spec, seed=own_seed).to(device)
            fresh.execution = Execution(micro_batches=micro_batches)
            return fresh

        done = base.unlearn(
            method or ForgetMI(),
            model,
            records=prepared.records,
            partition=partition,
            seed=seed,
            recipe=recipe,
            fresh_model=fresh_model,
            ordinal=prepared.cohort.ordinal,
            batch_size=batch_size,
            training_log=training_log,
            original=original,
            state=state,
            progress=progress,
        )
        if isinstance(done.model, ImageText):
            fit_gate(done.model, in_order(prepared.records, partition.retain), seed=seed)

    # The result is a copy that still computes in micro-batches.
    for member in image_text_models(done.model):
        member.execution = Execution()
    return done


def predict(
    *,
    prepared: Prepared,
    model: nn.Module,
    rows: Ints | None = None,
    progress: Callable[[int], None] | None = None,
) -> Signals:
    """Run a model once over rows of a cohort (all of them by default) and keep what it says."""
    import numpy as np

    rows = np.arange(len(prepared.cohort)) if rows is None else rows
    return collect(
        model,
        prepared.records,
        rows,
        cohort=prepared.cohort,
        model_digest=parameter_digest(model),
        batch_size=inference_batch_size(prepared.records),
        on_batch=progress,
    )


def evaluate(
    *,
    original: Signals,
    unlearned: Signals | Mapping[str, Signals],
    retrained: Sequence[Signals],
    partition: Partition,
    ordinal: bool = True,
    seed: int = 0,
    resamples: int = 1000,
) -> Evaluation:
    """Measure the original, one or several unlearned models and the retrained ones; see `forgetmi.evaluation.suite`."""
    others = {"unlearned": unlearned} if isinstance(unlearned, Signals) else dict(unlearned)
    models = {
        "original": original,
        **others,
        **{retrained_name(r): one for r, one in enumerate(retrained)},
    }
    return suite.evaluate(models, partition, ordinal=ordinal, seed=seed, resamples=resamples)


def in_order(records: SampleStore, rows: Ints) -> Loader:
    """Batches over some rows, unshuffled."""
    return Loader(records, rows, batch_size=inference_batch_size(records), seed=0, shuffle=False)


def inference_batch_size(records: SampleStore) -> int:
    """Samples a batch where nothing is learned: 64, fewer of large images, so that a batch takes at most 64 MiB."""
    return min(64, max(4, 2**24 // records.images.preprocessing.size**2))
