"""A cohort made ready for models: images decoded, reports tokenized, and the kind of model that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetmi.cohort.model_patients import NAME, ModelPatients
from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.compile_mode import Compile
from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.files import default_cache
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.core.partition import Partition
from forgetmi.core.printable import quoted
from forgetmi.core.serialization import from_plain
from forgetmi.data.film_portions import Spread
from forgetmi.data.image_store import build_image_store
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.data.loaders import Loader, SampleStore
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.window import RELEASED
from forgetmi.model import checkpoint
from forgetmi.model.checkpoint_own import source_notice
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.fit_gate import fit_gate
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.spec import ModelSpec
from forgetmi.model.tasks.by_name import training_task

# For annotations alone
if TYPE_CHECKING:
    from forgetmi.run.spec import RunSpec

Progress = Callable[[int, int], None]

# Samples of a batch in inference
INFERENCE_BATCH = 64

# Pixels of a batch in inference: 64 MiB of float32
INFERENCE_PIXELS = 2**24


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cohort made ready for one family of models: images decoded, reports tokenized.

    Args:
        cohort: The cohort.
        records: Its images and tokens.
        images: How the images were prepared.
        spec: Architecture of every model trained on them.
        source: What a checkpoint in a foreign form holds besides the weights, stored for the conversion back.
        notices: What was converted, padded or is missing in a pretrained text encoder, or who made the model, in words.
        compile: How models' encoders run; see `forgetmi.model.compiling.compiled`.
    """

    cohort: Cohort
    records: SampleStore
    images: ImagePreprocessing
    spec: ModelSpec | ComposedSpec | OwnSpec
    source: Any = None
    notices: tuple[str, ...] = ()
    compile: Compile = "off"

    def on_hardware(self, spec: RunSpec) -> Prepared:
        """The same for a machine as a run asks for it: how films get to an accelerator, how encoders run."""
        records = replace(self.records, feeding=spec.feeding)
        return replace(self, records=records, compile=spec.compile)

    def preprocessing(self) -> dict[str, Any]:
        """What a checkpoint must remember to prepare another cohort in the same way."""
        tokenizer = self.records.tokenizer
        scale = self.records.scale
        return {
            "images": asdict(self.images),
            "task": self.cohort.task,
            **({} if scale == AS_IT_IS else {"scale": asdict(scale)}),
            "text": _text_rules(tokenizer),
        }

    def save(
        self,
        directory: Path,
        model: NetModule | Ensemble,
        *,
        patients: ModelPatients | None,
        **extra: Any,
    ) -> str:
        """Write a model of this family as a checkpoint; returns the digest of its weights.

        Args:
            directory: Where.
            model: The model.
            patients: Whom it has seen; None = nobody knows.
            extra: What else is kept with it.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        if patients is not None:
            extra[NAME] = patients.to_plain()
        if self.notices:
            extra["notices"] = list(self.notices)
        return checkpoint.save(
            directory,
            model,
            vocabulary=self.records.tokenizer.vocabulary,
            preprocessing=self.preprocessing(),
            classes=self.cohort.classes,
            extra={"cohort": self.cohort.digest, "source": self.source, **extra},
        )


def open_checkpoint(
    directory: Path,
    *,
    cohort: Cohort,
    like: Prepared | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    factory: str = "",
    spread: Spread | None = None,
) -> tuple[Prepared, checkpoint.Loaded]:
    """Read a model and prepare a cohort the way the model's own was.

    Args:
        directory: The checkpoint.
        cohort: Any cohort with the same classes.
        like: What this cohort was prepared as for another model; the checkpoint must be of the same kind.
        cache: Folder of prepared images.
        progress: Called with (images read, total).
        factory: The user's own factory, for a checkpoint of a model that it made; that of ``like`` where this is given.
        spread: Decodes images in several processes.

    Raises:
        CheckpointError: The checkpoint is damaged, its classes are not the cohort's, or it is of another kind.
    """
    if like is not None and isinstance(like.spec, OwnSpec):
        factory = like.spec.factory
    loaded = checkpoint.load(directory, factory=factory)
    _check_classes(loaded, cohort, directory)

    # How the model's own cohort was prepared
    where = f"{directory.name}/{checkpoint.FACTS}"
    images = image_rules(loaded.preprocessing, where=where)
    tokenizer = tokenizer_of(loaded, where=where)

    # The cohort is ready already: it fits where the model is of the same kind.
    if like is not None:
        _check_kind(loaded, images, tokenizer, like, directory)
        return like, loaded

    # Prepared in the same way
    store = build_image_store(
        cohort, images, cache=cache or default_cache(), progress=progress, spread=spread
    )
    scale = scale_of(loaded, where=where)
    records = SampleStore.of(cohort, store, tokenizer, scale=scale)
    source = loaded.extra.get("source")
    notices = _notices(loaded.extra)
    if isinstance(loaded.spec, OwnSpec):
        notices += tuple(filter(None, [source_notice(loaded.spec)]))
    return Prepared(cohort, records, images, loaded.spec, source, notices), loaded


def _notices(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """What was said of a pretrained text encoder when the checkpoint was made."""
    notices = extra.get("notices")
    if not isinstance(notices, list):
        return ()
    return tuple(notice for notice in notices if isinstance(notice, str))


def image_rules(preprocessing: Mapping[str, Any], *, where: str) -> ImagePreprocessing:
    """How the images of a checkpoint were prepared.

    Args:
        preprocessing: As stored in the checkpoint.
        where: Name of the file, for messages.

    Raises:
        CheckpointError: It does not say so.
    """
    # Checkpoints written before windows were applied name none: their films were read by the released rule.
    images = preprocessing.get("images")
    if isinstance(images, dict):
        images = {"window": RELEASED, **images}

    try:
        return from_plain(ImagePreprocessing, images, where=where)
    except SpecError as error:
        raise CheckpointError(error.faults) from None


def _text_rules(tokenizer: Tokenizer | LibraryTokenizer) -> dict[str, Any]:
    """What a checkpoint must remember of a tokenizer besides its vocabulary."""
    if isinstance(tokenizer, LibraryTokenizer):
        return {"max_length": tokenizer.max_length, "pad": tokenizer.pad}
    return {
        "max_length": tokenizer.max_length,
        "lowercase": tokenizer.lowercase,
        "strip_accents": tokenizer.strip_accents,
    }


@dataclass(frozen=True)
class _LibraryRules:
    """The same of a tokenizer whose description is the checkpoint's vocabulary."""

    max_length: int
    pad: int


def scale_of(loaded: checkpoint.Loaded, *, where: str) -> Scale:
    """In which unit the model of a checkpoint predicts values.

    Args:
        loaded: The checkpoint.
        where: Name of the file, for messages.

    Raises:
        CheckpointError: It does not say so.
    """
    stored = loaded.preprocessing.get("scale")
    if stored is None:
        return AS_IT_IS
    try:
        return from_plain(Scale, stored, where=where, complete=True)
    except SpecError as error:
        raise CheckpointError(error.faults) from None


@dataclass(frozen=True)
class _TextRules:
    """How the reports of a checkpoint became tokens."""

    max_length: int = 320
    lowercase: bool = True
    strip_accents: bool | None = None


def tokenizer_of(loaded: checkpoint.Loaded, *, where: str) -> Tokenizer | LibraryTokenizer:
    """The tokenizer of a checkpoint.

    Args:
        loaded: The checkpoint.
        where: Name of the file, for messages.

    Raises:
        CheckpointError: It does not say how its reports became tokens.
    """
    stored = loaded.preprocessing.get("text")
    try:
        if isinstance(stored, dict) and "pad" in stored:
            library = from_plain(_LibraryRules, stored, where=where)
            return LibraryTokenizer("\n".join(loaded.vocabulary), **asdict(library))

        rules = from_plain(_TextRules, stored, where=where)
        return Tokenizer(loaded.vocabulary, **asdict(rules))
    except SpecError as error:
        raise CheckpointError(error.faults) from None


def _check_classes(loaded: checkpoint.Loaded, cohort: Cohort, directory: Path) -> None:
    # What is learned of grades is a prediction of classes, and the other way round
    task = loaded.preprocessing.get("task", cohort.task)
    if task != cohort.task and not {task, cohort.task} <= {"grades", "classes", "binary"}:
        raise CheckpointError(
            Fault(
                "the checkpoint's task is not the cohort's",
                where=directory.name,
                why=f"{quoted(task)} against {cohort.task}",
                do="Read the cohort with --cohort.task as the model was trained.",
            )
        )

    # The same names in the same order: a logit has no name
    if loaded.classes == cohort.classes:
        return

    raise CheckpointError(
        Fault(
            "the checkpoint's classes are not the cohort's",
            where=directory.name,
            why=f"{', '.join(loaded.classes)} against {', '.join(cohort.classes)}",
            do="Give the cohort the same classes in the same order.",
        )
    )


def _check_kind(
    loaded: checkpoint.Loaded,
    images: ImagePreprocessing,
    tokenizer: Tokenizer | LibraryTokenizer,
    like: Prepared,
    directory: Path,
) -> None:
    # Images, tokens and architecture, each by itself
    same_images = images == like.images
    same_tokens = tokenizer == like.records.tokenizer
    same_spec = _kind(loaded.spec) == _kind(like.spec)
    same_scale = scale_of(loaded, where=directory.name) == like.records.scale
    if same_images and same_tokens and same_spec and same_scale:
        return

    raise CheckpointError(
        Fault(
            "the checkpoint is of another kind than the original",
            where=directory.name,
            why="its architecture, image size, vocabulary or scale of labels differs",
            do="Give models that were made alike.",
        )
    )


def without_download(spec: Any) -> Any:
    """A specification without the word whether its pretrained encoder may be fetched: that is no part of a model."""
    if isinstance(spec, OwnSpec):
        return spec
    if isinstance(spec, ComposedSpec):
        return spec.without_download()
    return replace(spec, text=replace(spec.text, download=False))


def _kind(spec: Any) -> Any:
    """What two models of one kind have in common; a factory's source may have changed in between, which is said."""
    return replace(spec, source="") if isinstance(spec, OwnSpec) else without_download(spec)


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
    model = loaded.model
    if not isinstance(model, ImageText) or loaded.extra.get("gate") != checkpoint.NO_GATE:
        return False

    # On the rows that the encoders were trained on
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    task = training_task(prepared.cohort.task)
    lessons = in_order(prepared.records, rows, device=model.device)
    fit_gate(model, lessons, task=task, seed=seed)
    return True


def trained_rows(partition: Partition, *, without_forgotten: bool = False) -> Ints:
    """Rows a model is trained on, in the order of the cohort."""
    if without_forgotten:
        return partition.retain
    return np.sort(np.concatenate([partition.forget, partition.retain]))


def in_order(records: SampleStore, rows: Ints, *, device: Any = "cpu") -> Loader:
    """Batches over some rows, unshuffled, on a device."""
    return Loader(
        records,
        rows,
        batch_size=inference_batch_size(records),
        seed=0,
        shuffle=False,
        device=device,
    )


def inference_batch_size(records: SampleStore) -> int:
    """Samples of a batch in inference: 64, fewer of large images, so that a batch takes at most 64 MiB."""
    return batch_size_of(records.images.preprocessing.size)


def batch_size_of(size: int) -> int:
    """The same, by the side of the images in pixels."""
    return min(INFERENCE_BATCH, max(4, INFERENCE_PIXELS // size**2))
