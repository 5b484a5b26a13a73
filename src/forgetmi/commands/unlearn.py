"""``forgetmi unlearn``: make a model that forgets, from the original's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgetmi.commands.checkpoint_files import (
    ADAPTERS,
    TRACKING,
    checkpoint_lock,
    named_after,
    state_file,
)
from forgetmi.commands.claimed_checkpoint import (
    CheckpointClaim,
    claim_checkpoint,
    finished_line,
)
from forgetmi.commands.command_line import rename_options
from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache, full_disk_explained, write_json
from forgetmi.core.logs import working_on
from forgetmi.core.model_names import UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs.pool import use_threads
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.live_track import live_tracker
from forgetmi.run.pool_use import no_pool_faults
from forgetmi.run.spec import GivenModels, RunSpec
from forgetmi.run.track import Kind, check_tracker

USED = (
    "cohort",
    "partition",
    "training",
    "method",
    "carrier",
    "carrier_keep",
    "duplicates",
    "batch_size",
    "seed",
    "split_seed",
    "threads",
    "device",
    "store_on",
    "film_bits",
    "compile",
)
_JOB = "unlearn"  # as it is called in progress, log and tracker
RENAMED = {"shares": "micro-batches"}  # accepted for one version more


@dataclass(frozen=True)
class UnlearnOptions:
    """Options of ``forgetmi unlearn``.

    Args:
        checkpoint: Directory of the original.
        out: Directory of the new checkpoint. Given again with the same options, a finished one is left as it is.
        signals: Signals of the original (.npz of forgetmi predict), if they are at hand: its outputs for unchanged
            forgotten, retained and validation images are read there instead of computed again. The result differs by
            rounding.
        micro_batches: Compute each batch in so many parts, as so many processes would; 2 gives the weights that
            torchrun with two processes gives, bit for bit, if neither was interrupted under another number.
        track: Also hand losses to a tracker as they come: wandb, mlflow or tensorboard; see docs/sweeps.md.
    """

    checkpoint: Path
    out: Path
    signals: Path | None = None
    micro_batches: int = 1
    track: Kind = ""


def unlearn(argv: Sequence[str]) -> None:
    """Make a model that forgets."""
    spec, options = parse(
        UnlearnOptions,
        rename_options(argv, RENAMED),
        prog="forgetmi unlearn",
        description="Make a model that forgets, from the original's checkpoint, which names the patients it was "
        "trained on. Give the cohort options it was trained with; --partition.forget-list names who is forgotten now.",
        only=USED,
    )

    # What runs models is imported after the help was printed.
    from forgetmi.core.distributed import check_micro_batches
    from forgetmi.run.applicable import check_model
    from forgetmi.run.run_data import load_data

    if faults := no_pool_faults(spec.method):
        raise SpecError(faults)
    claim = claim_checkpoint(spec, USED, options)
    claim.check()
    use_threads(spec.threads)
    check_micro_batches(options.micro_batches)
    check_tracker(options.track)

    # Everything is checked before anything is computed or written.
    signals = None if options.signals is None else Signals.load(options.signals)
    spec = replace(spec, given=GivenModels(original=options.checkpoint))
    cohort, partition = load_data(spec)
    _check_training_side(options.checkpoint, cohort, partition)
    check_model(spec, cohort)
    with checkpoint_lock(options.out):
        if claim.is_finished():
            _check_finished(options, partition)
            return

        tracking = named_after(options.out, TRACKING)
        with (
            live_tracker(options.track, tracking, {"seed": spec.seed}) as tracker,
            working_on(_JOB),
            ProgressDisplay() as display,
            full_disk_explained(options.out.name),
        ):
            epochs = _unlearn(
                spec, options, claim, cohort, partition, signals=signals, display=display
            )
            # Epochs that an interrupted command had done
            if tracker is not None:
                tracker.add_epochs(_JOB, epochs)


def _check_finished(options: UnlearnOptions, partition: Partition) -> None:
    """Find a finished checkpoint whole, of the same patients and from the same original; and say that nothing is done.

    Raises:
        ForgetMIError: It is not.
    """
    from forgetmi.cohort.partition_file import write_partition
    from forgetmi.model.checkpoint import FACTS, intact
    from forgetmi.model.checkpoint_facts import read_facts

    digest = intact(options.out)
    made = read_facts(options.out / FACTS)
    if made["extra"].get("from_weights") != read_facts(options.checkpoint / FACTS)["weights"]:
        raise SpecError(
            Fault(
                "the checkpoint was made from another original than the one that is given",
                where=options.out.name,
                why="the original was replaced since",
                do="Choose another --out, or restore the original.",
            )
        )
    write_partition(named_after(options.out, "partition.json"), partition)
    echo(finished_line(options.out, digest))


def _check_training_side(checkpoint: Path, cohort: Cohort, partition: Partition) -> None:
    """Refuse a partition of other patients than an older checkpoint was trained on; others name their patients."""
    from forgetmi.cohort.partition_file import read_partition
    from forgetmi.run.given_patients import patients_in
    from forgetmi.run.prepared import trained_rows

    trained_file = named_after(checkpoint, "partition.json")
    if not trained_file.exists() or patients_in(checkpoint) is not None:
        return

    trained = trained_rows(read_partition(trained_file, cohort))
    if set(trained) != set(trained_rows(partition)):
        raise SpecError(
            Fault(
                "these options give another training side than the checkpoint was trained on",
                where=trained_file.name,
                why="patients would be called never-seen that the model has seen, or the reverse",
                do="Give the seed, sizes of sets and split the original was trained with.",
            )
        )


def _unlearn(
    spec: RunSpec,
    options: UnlearnOptions,
    claim: CheckpointClaim,
    cohort: Cohort,
    partition: Partition,
    *,
    signals: Signals | None,
    display: ProgressDisplay,
) -> Sequence[Mapping[str, Any]]:
    """Unlearn and write what came out; returns the losses of each epoch."""
    from forgetmi.cohort.partition_file import write_partition
    from forgetmi.model.executing import in_micro_batches
    from forgetmi.run.device import device_of
    from forgetmi.run.given_patients import patients_after
    from forgetmi.run.original_training import log_path
    from forgetmi.run.prepared import fit_missing_gate, open_checkpoint
    from forgetmi.run.provenance import untouched_after_unlearning
    from forgetmi.run.run_data import OpenedRun
    from forgetmi.run.unlearn_from import unlearn_from
    from forgetmi.unlearning.method import original_table

    # The original, with a gate.
    prepared, original = open_checkpoint(
        options.checkpoint, cohort=cohort, factory=spec.model.factory
    )
    prepared = prepared.on_hardware(spec)
    original.model.to(device_of(spec))
    with in_micro_batches(original.model, options.micro_batches):
        gate_fitted = fit_missing_gate(prepared, original, partition, seed=spec.seed)

        # Stored signals must be those of this very model.
        if signals is not None and gate_fitted:
            raise _signals_without_gate()
        if signals is not None:
            original_table(
                signals,
                spec.method,
                original.model,
                records=prepared.records,
                partition=partition,
                recipe=spec.training,
            )

    options.out.parent.mkdir(parents=True, exist_ok=True)
    claim.take()
    write_partition(named_after(options.out, "partition.json"), partition)
    if spec.duplicates:
        _scan_duplicates(options.out, cohort, partition, prepared.images, display)

    # An interrupted unlearning goes on from its state.
    state = state_file(options.out)
    unlearned = unlearn_from(
        options.checkpoint,
        spec,
        OpenedRun(cohort, partition, prepared),
        loaded=original,
        micro_batches=options.micro_batches,
        signals=signals,
        state=state,
        progress=lambda step, total: display.update(_JOB, step, total),
    )

    # The checkpoint, what a further withdrawal needs, and what was done.
    if unlearned.training_log is not None:
        unlearned.training_log.save(log_path(options.out))
    digest = prepared.save(
        options.out,
        unlearned.model,
        patients=patients_after(spec, cohort, partition, role=UNLEARNED),
        role=UNLEARNED,
        seed=spec.seed,
        from_weights=original.digest,
        **untouched_after_unlearning(spec, unlearned.model, options.checkpoint),
    )
    kept = named_after(options.out, ADAPTERS)
    if spec.carrier_keep and unlearned.adapters is not None:
        unlearned.adapters.save(kept)
        echo(f"Adapters by themselves: {kept}")
    trace_file = named_after(options.out, "trace.json")
    write_json(trace_file, unlearned.trace.plain())
    state.unlink(missing_ok=True)

    trace = unlearned.trace
    echo(
        f"Checkpoint: {options.out} (weights {digest[:12]}, {trace.steps} steps, {trace.cost.cpu_seconds:.0f} CPU s)\n"
        f"What was done: {trace_file}\n"
        f"Next: forgetmi predict --checkpoint {options.out} --out FILE.npz, then forgetmi evaluate"
    )
    return trace.epochs


def _scan_duplicates(
    out: Path,
    cohort: Cohort,
    partition: Partition,
    images: ImagePreprocessing,
    display: ProgressDisplay,
) -> None:
    """Look for copies of forgotten images and reports under other patients, and warn of them."""
    from forgetmi.data.duplicates import find_duplicates
    from forgetmi.report import near_duplicates

    duplicates = find_duplicates(
        cohort,
        partition,
        cache=default_cache(),
        images=images,
        progress=lambda done, total: display.update("copies", done, total),
    )

    write_json(named_after(out, "duplicates.json"), near_duplicates.to_plain(duplicates))
    for warning in near_duplicates.warnings(duplicates):
        echo(f"warning: {warning}")


def _signals_without_gate() -> SpecError:
    return SpecError(
        Fault(
            "the original's signals do not fit",
            where="--signals",
            do="Leave the option out.",
            why="the checkpoint came without a gate, and they were made before one was fitted to it",
        )
    )
