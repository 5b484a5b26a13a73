"""``forgetmi train``: train one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from forgetmi.commands.checkpoint_files import TRACKING, checkpoint_lock, named_after, state_file
from forgetmi.commands.claimed_checkpoint import CheckpointClaim, claim_checkpoint, finished_line
from forgetmi.commands.options import parse
from forgetmi.core.cost import Meter
from forgetmi.core.files import full_disk_explained, write_json
from forgetmi.core.logs import working_on
from forgetmi.core.model_names import ORIGINAL
from forgetmi.jobs.pool import use_threads
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.live_track import LiveTracker, live_tracker
from forgetmi.run.spec import RunSpec
from forgetmi.run.track import Kind

USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "method",
    "carrier",
    "seed",
    "split_seed",
    "threads",
    "device",
    "store_on",
    "film_bits",
    "compile",
)

_JOB = "train"  # as it is called in progress, log and tracker


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``forgetmi train``.

    Args:
        out: Directory of the checkpoint; its options, partition.json and the progress of an interrupted training lie
            next to it. Given again with the same options, a finished one is left as it is.
        without_forgotten: Leave the forgotten patients out (Retrain).
        track: Also hand losses to a tracker as they come: wandb, mlflow or tensorboard; see docs/sweeps.md.
    """

    out: Path
    without_forgotten: bool = False
    track: Kind = ""


def train(argv: Sequence[str]) -> None:
    """Train one model."""
    spec, options = parse(
        TrainOptions,
        argv,
        prog="forgetmi train",
        description="Train the original, or a model without the forgotten. --method matters for methods that need more "
        "of the original's training than its weights: what they keep then lies next to the checkpoint.",
        only=USED,
    )

    # Of a training the carrier is part of the recipe
    if spec.carrier:
        training = replace(spec.training, carrier=spec.carrier)
        spec = replace(spec, carrier="", training=training)

    # A name that is taken, or that cannot be written, is refused first
    claim = claim_checkpoint(spec, USED, options)
    claim.check()
    tracking = named_after(options.out, TRACKING)
    with (
        checkpoint_lock(options.out),
        live_tracker(options.track, tracking, {"seed": spec.seed}) as tracker,
        working_on(_JOB),
    ):
        _train(spec, options, claim, tracker)


def _train(
    spec: RunSpec, options: TrainOptions, claim: CheckpointClaim, tracker: LiveTracker | None
) -> None:
    """Train the model, or leave a finished one as it is."""
    # What trains models is imported after the help was printed.
    from forgetmi.cohort.partition_file import write_partition
    from forgetmi.model.checkpoint import intact
    from forgetmi.run.applicable import check_trained
    from forgetmi.run.device import device_of
    from forgetmi.run.film_workers import film_workers
    from forgetmi.run.given_patients import patients_after
    from forgetmi.run.original_training import log_path, train_original
    from forgetmi.run.provenance import untouched_after_training
    from forgetmi.run.run_data import load_data, prepare

    # A finished checkpoint is left as it is
    use_threads(spec.threads)
    cohort, partition = load_data(spec)
    if claim.is_finished():
        write_partition(named_after(options.out, "partition.json"), partition)
        echo(finished_line(options.out, intact(options.out)))
        return

    check_trained(spec, cohort)
    with ProgressDisplay() as display, full_disk_explained(options.out.name):
        prepared = prepare(
            spec,
            cohort,
            partition,
            lambda done, total: display.update("images", done, total),
            film_workers(spec.resources),
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        claim.take()
        write_partition(named_after(options.out, "partition.json"), partition)

        # An interrupted training goes on from its state.
        state = state_file(options.out)
        with Meter(device_of(spec)) as meter:
            trained = train_original(
                prepared=prepared,
                partition=partition,
                method=spec.method,
                recipe=spec.training,
                seed=spec.seed,
                resume=state,
                log=log_path(options.out),
                without_forgotten=options.without_forgotten,
                device=device_of(spec),
                progress=lambda done, total: display.update(_JOB, done, total),
            )

        # The checkpoint, whom it has seen, and what it took.
        role = "retrained" if options.without_forgotten else ORIGINAL
        digest = prepared.save(
            options.out,
            trained.model,
            patients=patients_after(spec, cohort, partition, role=role),
            role=role,
            seed=spec.seed,
            recipe=asdict(spec.training),
            **untouched_after_training(spec, trained.model),
        )
        trace = {"epochs": trained.trace.epochs, "cost": asdict(meter.cost)}
        write_json(named_after(options.out, "trace.json"), trace)
        state.unlink(missing_ok=True)

    # What was converted or is missing in a pretrained encoder
    for notice in prepared.notices:
        echo(f"note: {notice}")
    echo(
        f"Checkpoint: {options.out} (weights {digest[:12]}, {meter.cost.cpu_seconds:.0f} CPU s)\n"
        f"Partition: {named_after(options.out, 'partition.json')}\n"
        f"Next: forgetmi unlearn --checkpoint {options.out} --out DIRECTORY with the same cohort options"
    )
