"""``forgetmi train``, ``predict``, ``unlearn`` and ``evaluate``: the steps of a run alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from forgetmi.cohort.partition_file import read_partition, write_partition
from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Meter
from forgetmi.core.distributed import check_micro_batches
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache, full_disk_explained, write_json, write_text
from forgetmi.core.signals import Signals
from forgetmi.data.duplicates import find_duplicates
from forgetmi.jobs.pool import use_threads
from forgetmi.model.image_text import in_micro_batches
from forgetmi.report import near_duplicates
from forgetmi.run import workflow
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.device import device_of
from forgetmi.run.original_training import log_path, train_original
from forgetmi.run.prepared import fit_missing_gate, open_checkpoint, trained_rows
from forgetmi.run.run_data import OpenedRun, load_data, prepare
from forgetmi.run.spec import RunSpec
from forgetmi.run.unlearn_from import unlearn_from
from forgetmi.unlearning.method import original_table


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``forgetmi train``.

    Args:
        out: Directory of the checkpoint; partition.json and the progress of an interrupted training lie beside it.
        without_forgotten: Leave the forgotten patients out (Retrain).
    """

    out: Path
    without_forgotten: bool = False


def train(argv: Sequence[str]) -> None:
    """Train one model."""
    spec, own = parse(
        TrainOptions,
        argv,
        prog="forgetmi train",
        description="Train the original, or a model without the forgotten. --method matters for methods that need more "
        "of the original's training than its weights: what they keep then lies beside the checkpoint.",
        only=(
            "cohort",
            "partition",
            "images",
            "text",
            "model",
            "training",
            "method",
            "seed",
            "split_seed",
            "threads",
            "device",
        ),
    )
    use_threads(spec.threads)
    cohort, partition = load_data(spec)
    with ProgressDisplay() as display, full_disk_explained(own.out.name):
        prepared = prepare(
            spec, cohort, partition, lambda done, total: display.update("images", done, total)
        )
        own.out.parent.mkdir(parents=True, exist_ok=True)
        write_partition(beside(own.out, "partition.json"), partition)
        state = own.out.parent / f".{own.out.name}.state.pt"
        with Meter() as meter:
            made = train_original(
                prepared=prepared,
                partition=partition,
                method=spec.method,
                recipe=spec.training,
                seed=spec.seed,
                resume=state,
                log=log_path(own.out),
                without_forgotten=own.without_forgotten,
                device=device_of(spec),
                progress=lambda done, total: display.update("train", done, total),
            )
        digest = prepared.save(
            own.out,
            made.model,
            role="retrained" if own.without_forgotten else "original",
            seed=spec.seed,
            recipe=asdict(spec.training),
        )
        write_json(
            beside(own.out, "trace.json"), {"epochs": made.trace.epochs, "cost": asdict(meter.cost)}
        )
        state.unlink(missing_ok=True)
    echo(
        f"Checkpoint: {own.out} (weights {digest[:12]}, {meter.cost.cpu_seconds:.0f} CPU s)\n"
        f"Partition: {beside(own.out, 'partition.json')}\n"
        f"Next: forgetmi unlearn --checkpoint {own.out} --out DIRECTORY with the same cohort options"
    )


def beside(directory: Path, name: str) -> Path:
    """A file that belongs to a checkpoint but lies outside it, so that the checkpoint stays as written."""
    return directory.parent / f"{directory.name}.{name}"


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``forgetmi predict``.

    Args:
        checkpoint: Directory of the model.
        out: The .npz to write: logits and embeddings a row, keyed digests, no text.
    """

    checkpoint: Path
    out: Path


def predict(argv: Sequence[str]) -> None:
    """Run a checkpoint over a cohort."""
    spec, own = parse(
        PredictOptions,
        argv,
        prog="forgetmi predict",
        only=("cohort", "threads", "device"),
        description="Run a checkpoint over every row of a cohort and store what it says.",
    )
    use_threads(spec.threads)
    cohort: Cohort = spec.cohort.load()
    with ProgressDisplay() as display, full_disk_explained(own.out.name):
        prepared, loaded = open_checkpoint(own.checkpoint, cohort=cohort)
        signals = workflow.predict(
            prepared=prepared,
            model=loaded.model.to(device_of(spec)),
            progress=lambda done: display.update("images", done, len(cohort)),
        )
        own.out.parent.mkdir(parents=True, exist_ok=True)
        signals.save(own.out)
    echo(
        f"Signals of {len(signals)} images: {own.out}\nOpen with numpy.load or forgetmi.Signals.load."
    )


@dataclass(frozen=True)
class UnlearnOptions:
    """Options of ``forgetmi unlearn``.

    Args:
        checkpoint: Directory of the original.
        out: Directory of the new checkpoint.
        signals: Signals of the original (.npz of forgetmi predict), if they are at hand: what it says of forgotten,
            retained and validation images as they are is read there instead of computed again. The result differs by
            rounding.
        shares: Compute each batch in so many parts, as so many processes would; 2 gives the weights that torchrun with
            two processes gives, bit for bit, if neither was interrupted under another number.
    """

    checkpoint: Path
    out: Path
    signals: Path | None = None
    shares: int = 1


def unlearn(argv: Sequence[str]) -> None:
    """Make a model that forgets."""
    spec, own = parse(
        UnlearnOptions,
        argv,
        prog="forgetmi unlearn",
        description="Make a model that forgets, from the original's checkpoint. Give the cohort and partition options "
        "the original was trained with; --partition.forget-list names who is forgotten now.",
        only=(
            "cohort",
            "partition",
            "training",
            "method",
            "duplicates",
            "batch_size",
            "seed",
            "split_seed",
            "threads",
            "device",
        ),
    )
    use_threads(spec.threads)
    check_micro_batches(own.shares)
    _unlearn(spec, own)


def _unlearn(spec: RunSpec, own: UnlearnOptions) -> None:
    said = None if own.signals is None else Signals.load(own.signals)
    cohort, partition = load_data(spec)
    trained = beside(own.checkpoint, "partition.json")
    if trained.exists():
        before = read_partition(trained, cohort)
        if set(trained_rows(before)) != set(trained_rows(partition)):
            raise SpecError(
                Fault(
                    "these options give another training side than the checkpoint was trained on",
                    where=trained.name,
                    why="patients would be called never-seen that the model has seen, or the reverse",
                    do="Give the seed, sizes of sets and split the original was trained with.",
                )
            )
    with ProgressDisplay() as display, full_disk_explained(own.out.name):
        prepared, original = open_checkpoint(own.checkpoint, cohort=cohort)
        original.model.to(device_of(spec))
        with in_micro_batches(original.model, own.shares):
            settled = fit_missing_gate(prepared, original, partition, seed=spec.seed)
            if said is not None:
                if settled:
                    raise SpecError(
                        Fault(
                            "the original's signals do not fit",
                            where="--signals",
                            do="Leave the option out.",
                            why="the checkpoint came without a gate, and they were made before one was fitted to it",
                        )
                    )
                original_table(
                    said,
                    spec.method,
                    original.model,
                    records=prepared.records,
                    partition=partition,
                    recipe=spec.training,
                )
        own.out.parent.mkdir(parents=True, exist_ok=True)
        write_partition(beside(own.out, "partition.json"), partition)
        if spec.duplicates:
            found = find_duplicates(
                cohort,
                partition,
                cache=default_cache(),
                progress=lambda done, total: display.update("copies", done, total),
            )
            write_json(beside(own.out, "duplicates.json"), near_duplicates.to_plain(found))
            for warning in near_duplicates.warnings(found):
                echo(f"warning: {warning}")
        state = own.out.parent / f".{own.out.name}.state.pt"
        done = unlearn_from(
            own.checkpoint,
            spec,
            OpenedRun(cohort, partition, prepared),
            loaded=original,
            micro_batches=own.shares,
            signals=said,
            state=state,
            progress=lambda step, total: display.update("unlearn", step, total),
        )
        if done.training_log is not None:
            done.training_log.save(log_path(own.out))
        digest = prepared.save(
            own.out, done.model, role="unlearned", seed=spec.seed, from_weights=original.digest
        )
        write_json(beside(own.out, "trace.json"), done.trace.plain())
        state.unlink(missing_ok=True)
    echo(
        f"Checkpoint: {own.out} (weights {digest[:12]}, {done.trace.steps} steps, "
        f"{done.trace.cost.cpu_seconds:.0f} CPU s)\nWhat was done: {beside(own.out, 'trace.json')}\n"
        f"Next: forgetmi predict --checkpoint {own.out} --out FILE.npz, then forgetmi evaluate"
    )


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``forgetmi evaluate``.

    Args:
        original: Signals (.npz of ``forgetmi predict``) of the original.
        unlearned: Signals of the unlearned model.
        partition: The partition.json of the unlearned model.
        out: The metrics.json to write.
        retrained: Signals of models trained without the forgotten; two are needed for a gap.
    """

    original: Path
    unlearned: Path
    partition: Path
    out: Path
    retrained: tuple[Path, ...] = ()


def evaluate(argv: Sequence[str]) -> None:
    """Measure models from their stored signals; no model is run."""
    spec, own = parse(
        EvaluateOptions,
        argv,
        prog="forgetmi evaluate",
        only=("cohort", "seed", "resamples"),
        description="Measure models from their stored signals; no model is run.",
    )
    cohort: Cohort = spec.cohort.load()
    partition = read_partition(own.partition, cohort)
    evaluation = workflow.evaluate(
        original=Signals.load(own.original),
        unlearned=Signals.load(own.unlearned),
        retrained=[Signals.load(path) for path in own.retrained],
        partition=partition,
        ordinal=cohort.ordinal,
        seed=spec.seed,
        resamples=spec.resamples,
    )
    write_text(own.out, evaluation.to_json())
    from forgetmi.run.console import summary

    echo(summary([evaluation], [spec.seed], []))
    echo(f"Numbers: {own.out}")
