"""The verbs of the front door: prepare, train, unlearn, predict, evaluate, as plain functions of plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from forgetmi.core import distributed
from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Recorder
from forgetmi.core.carrier import FULL, Carrier, read_carrier
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.files import default_cache
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_name
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Picture
from forgetmi.core.seeding import derive
from forgetmi.core.signals import Signals
from forgetmi.data.film_portions import Spread
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import Loader, SampleStore, prefetch_workers_for
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.evaluation import suite
from forgetmi.model.architecture import Architecture
from forgetmi.model.collect import collect
from forgetmi.model.composed import Composed
from forgetmi.model.executing import executing, in_micro_batches
from forgetmi.model.execution import Execution
from forgetmi.model.fit_gate import fit_gate
from forgetmi.model.frozen_steps import training_prefixes
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.net_module import NetModule, net_modules
from forgetmi.model.own_spec import OwnSpec, missing_notices
from forgetmi.model.pretrained import pretrained_directory
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec
from forgetmi.model.tasks.by_name import outputs_of, training_task
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.run.composing import composed_spec, notices_of, sized_for, tokenizer_for
from forgetmi.run.default_method import DefaultMethod
from forgetmi.run.prepared import (
    Prepared,
    Progress,
    in_order,
    inference_batch_size,
    trained_rows,
)
from forgetmi.run.pretrained import check_encoder
from forgetmi.run.vocabulary import trained_tokenizer
from forgetmi.unlearning import method as base
from forgetmi.unlearning.carrier import carry, put_back
from forgetmi.unlearning.carrier_applies import check_trainable
from forgetmi.unlearning.pool_targets import PoolTargets


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
    spread: Spread | None = None,
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
        progress: Called with (images read, total).
        spread: Decodes images in several processes (`forgetmi.run.film_workers.film_workers`).

    Raises:
        CohortError: Images cannot be read; all of them are listed.
        SpecError: The sizes do not fit together.

    Examples:
        >>> data = prepare(cohort=cohort, partition=sets, images=images, architecture=architecture)
        >>> len(data.records) == len(cohort)
        True
    """
    images = images or ImagePreprocessing()
    architecture = architecture or Architecture()

    rows = trained_rows(partition)
    own_pieces = partial(
        trained_tokenizer,
        cohort,
        rows,
        vocabulary=vocabulary,
        min_patients=min_patients,
        max_length=max_length,
    )

    # Towers say themselves what they read; else sizes follow from the data and the options.
    if architecture.towers:
        spec = composed_spec(
            architecture, cohort, rows, classes=outputs_of(cohort.task, cohort.classes)
        )
        notices = notices_of(spec, images)
        images = sized_for(spec, images)
        tokenizer = tokenizer_for(spec, max_length=max_length) or own_pieces()
    else:
        tokenizer = _tokenizer(architecture, max_length) or own_pieces()
        spec = architecture.resolve(
            size=images.size,
            classes=outputs_of(cohort.task, cohort.classes),
            vocabulary=len(tokenizer.vocabulary),
            longest=max_length,
            columns=cohort.table_columns,
        )
        notices = _notices(spec, tokenizer, cohort)

    # The unit of labels that are values is the training patients', as the vocabulary is.
    scale = Scale.fitted(cohort.label[rows]) if cohort.task == "value" else AS_IT_IS

    # Images are decoded into a store that later runs read again.
    store = build_image_store(
        cohort, images, cache=cache or default_cache(), progress=progress, spread=spread
    )
    records = SampleStore.of(cohort, store, tokenizer, scale=scale)
    return Prepared(cohort, records, images, spec, notices=notices)


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
) -> tuple[NetModule, TrainingTrace]:
    """Train the original, or - without the forgotten - a retrained reference; then fit the joint-embedding gate.

    Args:
        prepared: The cohort and architecture.
        partition: Who is in which set.
        recipe: How.
        seed: Root seed of weights, order and dropout.
        without_forgotten: Leave the forgotten out: this is Retrain.
        resume: File to save progress to and resume from.
        observers: Watch the steps.
        progress: Called with (epochs done, total).
        device: Where to train.

    Returns:
        The model, in eval mode, and what happened.

    Examples:
        >>> model, trace = train(prepared=data, partition=sets, recipe=Recipe(epochs=1), seed=0)
        >>> len(trace.epochs)
        1
    """
    recipe = recipe or Recipe()

    # Retrain leaves the forgotten out; validation patients only inform
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    loader = Loader(
        prepared.records,
        rows,
        batch_size=recipe.batch_size,
        seed=seed,
        avoid_single=True,
        prefetch_workers=prefetch_workers_for(device),
        device=device,
    )
    validation = in_order(prepared.records, partition.validation, device=device)

    # Encoders and heads learn the labels.
    task = training_task(prepared.cohort.task)
    carrier = read_carrier(recipe.carrier)
    model = new = build(prepared.spec, seed=seed).to(device)
    if carrier != FULL:
        _check_whole(carrier)
        check_trainable(new, carrier)
        model = carry(new, carrier, seed=derive(seed, "train", "adapters"))

    # What frozen first stages of towers make of each sample is computed once.
    every = np.concatenate([rows, partition.validation])
    prefixes = training_prefixes(
        model, in_order(prepared.records, every, device=device).epoch(0), recipe
    )
    with executing(model, prefixes=prefixes, compile=prepared.compile):
        trace = fit(
            model,
            loader,
            recipe,
            seed=seed,
            task=task,
            validation=validation if len(partition.validation) else None,
            resume=resume,
            observers=observers,
            progress=progress,
            sharded=distributed.sharded(),
        )
        if carrier != FULL:
            put_back(model, like=new)

        # The gate is fitted afterwards, on the same rows; a model of the user's own has none.
        if isinstance(model, ImageText | Composed):
            lessons = in_order(prepared.records, rows, device=device)
            fit_gate(model, lessons, task=task, seed=seed)
    model.execution = Execution()
    return model, trace


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
    pool: PoolTargets | None = None,
    carrier: Carrier | str = "",
    untouched: Collection[str] = (),
    micro_batches: int = 1,
    state: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> base.Unlearned[Any]:
    """Make a model that behaves as if the forgotten patients had never been in it; the one given is not changed.

    Args:
        prepared: The cohort and architecture.
        partition: Its forget, retain and validation rows are all a method can see.
        model: The original, a `NetModule` unless the method makes its own kind.
        method: Which method, with its hyper-parameters; Forget-MI by default.
        recipe: How the original was trained.
        seed: Root seed.
        batch_size: Samples of each set a step.
        training_log: What was stored during the original's training, if the method needs it; see
            `forgetmi.run.original_training.open_log`.
        original: The original's signals for this cohort as `predict` makes them, if they are at hand: a method that
            ``reads_signals`` then looks outputs up instead of running the original on unchanged samples once more. The
            result differs by rounding.
        pool: What a standing pool says of forgotten and retained patients, for a method that learns from it; see
            `forgetmi.run.pool_targets`.
        carrier: What the method may move, such as "heads" or "lora,rank=4"; see `forgetmi.core.carrier.Carrier`. "" =
            what the recipe says of the original's training.
        untouched: Parts of the original that its training did not move; see `forgetmi.unlearning.carrier.untouched`.
        micro_batches: Compute each batch in so many parts, as so many processes would, >= 1; see
            `forgetmi.model.executing.in_micro_batches`.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, total).
        device: Where to work.

    Returns:
        The new model, its gate (if it has one) fitted again on retained patients alone, the trace, and adapters.

    Raises:
        MethodError: The method diverges, or ``original`` does not fit; see `forgetmi.unlearning.method.original_table`.
        SpecError: There cannot be so many micro-batches.

    Examples:
        >>> from forgetmi.methods.forget_mi import ForgetMI
        >>> done = unlearn(prepared=data, partition=sets, model=original, method=ForgetMI(epochs=1))
        >>> done.trace.method, sorted(done.trace.epochs[0])
        ('Forget-MI', ['MR', 'MU', 'UR', 'UU'])
    """
    method = method or DefaultMethod()
    recipe = recipe or Recipe()
    if isinstance(carrier, str):
        carrier = read_carrier(carrier or recipe.carrier)

    # A method may start from new weights of the same architecture
    def fresh_model(fresh_seed: int) -> NetModule:
        fresh = build(prepared.spec, seed=fresh_seed).to(device)
        fresh.execution = Execution(micro_batches=micro_batches, compile=prepared.compile)
        return fresh

    # The original, copies of it and fresh models all compute alike while the method works.
    with (
        in_micro_batches(model, micro_batches),
        executing(model, recompute=recipe.recompute, compile=prepared.compile),
    ):
        result = base.unlearn(
            method,
            model,
            records=prepared.records,
            partition=partition,
            seed=seed,
            recipe=recipe,
            fresh_model=fresh_model,
            task=prepared.cohort.task,
            batch_size=batch_size,
            training_log=training_log,
            original=original,
            pool=pool,
            carrier=carrier,
            untouched=untouched,
            state=state,
            progress=progress,
        )

        # The original's gate was fitted on the forgotten, too.
        if isinstance(result.model, ImageText | Composed):
            task = training_task(prepared.cohort.task)
            retained = in_order(prepared.records, partition.retain, device=result.model.device)
            fit_gate(result.model, retained, task=task, seed=seed)
    if result.adapters is not None and isinstance(result.model, NetModule):
        result = replace(result, adapters=result.adapters.with_joining(result.model))

    # The result is a copy that still computes in micro-batches.
    for member in net_modules(result.model):
        member.execution = Execution()
    return result


def _check_whole(carrier: Carrier) -> None:
    """Refuse a carrier among processes that share the weights out."""
    if distributed.sharded():
        raise MethodError(
            Fault(
                f"a training of the carrier {carrier.kind} cannot be sharded",
                why="a few weights move, and all others are wanted whole",
                do="Launch without FSDP.",
            )
        )


def predict(
    *,
    prepared: Prepared,
    model: nn.Module,
    rows: Ints | None = None,
    progress: Callable[[int], None] | None = None,
) -> Signals:
    """Run a model once over rows of a cohort (all of them by default) and collect its signals.

    Examples:
        >>> signals = predict(prepared=data, model=original)
        >>> signals.image_logits.shape == (len(cohort), len(cohort.classes))
        True
    """
    if rows is None:
        rows = np.arange(len(prepared.cohort))

    with executing(model, compile=prepared.compile):
        return collect(
            model,
            prepared.records,
            rows,
            cohort=prepared.cohort,
            model_digest=parameter_digest(model),
            batch_size=inference_batch_size(prepared.records),
            scale=prepared.records.scale,
            on_batch=progress,
        )


def evaluate(
    *,
    original: Signals,
    unlearned: Signals | Mapping[str, Signals],
    retrained: Sequence[Signals],
    partition: Partition,
    cohort: Cohort | None = None,
    task: str = "grades",
    classes: Sequence[str] = (),
    seed: int = 0,
    resamples: int = 1000,
) -> Evaluation:
    """Measure the original, one or several unlearned models and the retrained ones; see `forgetmi.evaluation.suite`.

    Args:
        original: Signals of the original.
        unlearned: Of one unlearned model, or of several by name.
        retrained: Of models trained without the forgotten; two are needed for a gap.
        partition: Who is in which set.
        cohort: Whose signals they are: it says the task and the classes.
        task, classes: Without a cohort: name of the labels' task, names of the classes.
        seed: Root seed of resamples and attacks.
        resamples: Bootstrap resamples over patients, >= 0 (0 = no intervals).

    Returns:
        The scores; ``to_frame()`` makes a table of them, ``plot()`` draws them.

    Examples:
        >>> signals = predict(prepared=data, model=original)
        >>> scores = evaluate(
        ...     original=signals, unlearned=signals, retrained=[signals, signals], partition=sets, resamples=0
        ... )
        >>> scores.get("unlearned", "gap", head="image").value  # all are the same model
        0.0
    """
    models = {ORIGINAL: original}
    if cohort is not None:
        task, classes = cohort.task, cohort.classes

    # One unlearned model goes by that name; several bring their names.
    if isinstance(unlearned, Signals):
        models[UNLEARNED] = unlearned
    else:
        models |= unlearned

    # Retrained models are numbered in the order they come in
    for number, signals in enumerate(retrained):
        models[retrained_name(number)] = signals
    evaluation = suite.evaluate(
        models, partition, task=task, classes=classes, seed=seed, resamples=resamples
    )
    return replace(evaluation, draw=_Drawn(models, partition, task, seed))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Draws an evaluation; what makes figures is imported then."""

    signals: Mapping[str, Signals]
    partition: Partition
    task: str
    seed: int

    def __call__(self, evaluation: Evaluation, kind: str) -> Picture:
        from forgetmi.report.plots import EvaluationPlots

        plots = EvaluationPlots(self.signals, self.partition, self.task, self.seed)
        return plots(evaluation, kind)


def _tokenizer(architecture: Architecture, max_length: int) -> Tokenizer | None:
    """The pretrained encoder's own tokenizer; None = no encoder is named."""
    if not architecture.pretrained:
        return None
    folder = pretrained_directory(architecture.pretrained, download=architecture.download)
    return Tokenizer.from_pretrained_directory(folder, max_length=max_length)


def _notices(spec: ModelSpec | OwnSpec, tokenizer: Tokenizer, cohort: Cohort) -> tuple[str, ...]:
    """What is said of a user's own model; of a pretrained encoder, which is checked before the long work begins."""
    if isinstance(spec, OwnSpec):
        return (spec.notice, *missing_notices(cohort.present))
    return check_encoder(spec.text, tokenizer) if spec.text.pretrained else ()
