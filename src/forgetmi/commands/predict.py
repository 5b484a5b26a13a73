"""``forgetmi predict``: run a checkpoint over a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import full_disk_explained
from forgetmi.core.output import check_output, output_lock
from forgetmi.core.partial_files import remove_partials_of
from forgetmi.jobs.pool import use_threads
from forgetmi.run.console import ProgressDisplay, echo


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
    spec, options = parse(
        PredictOptions,
        argv,
        prog="forgetmi predict",
        only=("cohort", "threads", "device", "store_on", "film_bits", "compile"),
        description="Run a checkpoint over every row of a cohort and store its outputs.",
    )

    # An output that cannot be written is refused before anything is imported
    check_output(options.out, folder=False)

    # What runs models is imported after the help was printed.
    from forgetmi.run import workflow
    from forgetmi.run.device import device_of
    from forgetmi.run.prepared import open_checkpoint

    use_threads(spec.threads)
    cohort: Cohort = spec.cohort.load()

    # Images and reports are prepared as the checkpoint's own training prepared them
    with (
        output_lock(options.out, folder=False),
        ProgressDisplay() as display,
        full_disk_explained(options.out.name),
    ):
        remove_partials_of(options.out)
        prepared, loaded = open_checkpoint(
            options.checkpoint, cohort=cohort, factory=spec.model.factory
        )
        prepared = prepared.on_hardware(spec)
        signals = workflow.predict(
            prepared=prepared,
            model=loaded.model.to(device_of(spec)),
            progress=lambda done: display.update("images", done, len(cohort)),
        )
        signals.save(options.out)

    echo(f"Signals of {len(signals)} images: {options.out}")
    echo("Open with numpy.load or forgetmi.Signals.load.")
