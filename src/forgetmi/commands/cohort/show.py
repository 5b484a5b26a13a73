"""``forgetmi cohort show``: counts of a cohort and of its partition."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.cohort.wording import describe
from forgetmi.commands.options import NoOptions, parse
from forgetmi.core.printable import printable
from forgetmi.run.console import echo


def show(argv: Sequence[str]) -> None:
    """Counts of a cohort and of its partition."""
    spec, _ = parse(
        NoOptions,
        argv,
        prog="forgetmi cohort show",
        only=("cohort", "partition", "seed", "split_seed"),
        description="Counts of a cohort, and of the partition these options give.",
    )

    # What trains models is imported after the help was printed.
    from forgetmi.run.run_data import load_data

    cohort, partition = load_data(spec)

    echo(describe(cohort))
    for name, count in partition.counts().items():
        echo(f"  {name:<11}{count['patients']:>7} patients {count['images']:>8} images")
    for note in partition.notes:
        echo(f"  {printable(note)}")
