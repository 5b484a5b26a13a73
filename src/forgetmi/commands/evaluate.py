"""``forgetmi evaluate``: measure models from their stored signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import write_text
from forgetmi.core.output import check_output, output_lock
from forgetmi.core.partial_files import remove_partials_of
from forgetmi.core.signals import Signals
from forgetmi.run.console import echo, summary


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
    spec, options = parse(
        EvaluateOptions,
        argv,
        prog="forgetmi evaluate",
        only=("cohort", "seed", "resamples"),
        description="Measure models from their stored signals; no model is run.",
    )

    # An output that cannot be written is refused before anything is measured
    check_output(options.out, folder=False)

    # The measures are imported after the help was printed.
    from forgetmi.cohort.partition_file import read_partition
    from forgetmi.run import workflow

    cohort: Cohort = spec.cohort.load()
    partition = read_partition(options.partition, cohort)

    # Every measure, of each model against the retrained ones
    evaluation = workflow.evaluate(
        original=Signals.load(options.original),
        unlearned=Signals.load(options.unlearned),
        retrained=[Signals.load(path) for path in options.retrained],
        partition=partition,
        task=cohort.task,
        classes=cohort.classes,
        seed=spec.seed,
        resamples=spec.resamples,
    )
    with output_lock(options.out, folder=False):
        remove_partials_of(options.out)
        write_text(options.out, evaluation.to_json())

    # The table on the screen holds the main measures; the file holds all of them
    echo(summary([evaluation], [spec.seed], []))
    echo(f"Numbers: {options.out}")
