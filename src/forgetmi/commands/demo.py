"""``forgetmi demo``: the main job on the embedded cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import Seed
from forgetmi.run.console import echo, summary
from forgetmi.run.default_method import BESIDE, DEMO, named
from forgetmi.run.spec import RunSpec, kind_of, replace_seed


@dataclass(frozen=True)
class DemoOptions:
    """Options of ``forgetmi demo``.

    Args:
        out: Directory of the runs; one folder a seed.
        seeds: Seeds of cohort, patients and models; several print the figures over them.
    """

    out: Path = Path("runs/demo")
    seeds: tuple[Seed, ...] = (0,)


def demo(argv: Sequence[str]) -> None:
    """The main job on the embedded cohort."""
    spec, options = parse(
        DemoOptions,
        argv,
        prog="forgetmi demo",
        description="Train a model on the embedded cohort, forget 10 % of it as whole patients, compare "
        "with three retrained models, and write a report. A second method, UNDO, is shown beside it; --beside NAME "
        "shows another one.",
        base=RunSpec(method=named(DEMO)),
    )
    spec = _with_second(spec)
    if not options.seeds:
        raise SpecError(
            Fault(
                "no seeds are given", where="--seeds", do="Give at least one, e.g. --seeds 0 1 2."
            )
        )

    # What trains models is imported after the help was printed.
    from forgetmi.run.finish import costs, finish

    runs = []
    for seed in options.seeds:
        out = options.out / f"seed-{seed}"
        runs.append(finish(replace_seed(spec, seed), out, command=["forgetmi", "demo", *argv]))

    # One run prints its own summary; several, the means over them.
    if len(runs) > 1:
        evaluations = [run.evaluation for run in runs]
        all_costs = []
        for run in runs:
            all_costs += costs(spec, run)
        echo(summary(evaluations, list(options.seeds), all_costs))


def _with_second(spec: RunSpec) -> RunSpec:
    """The specification with the demo's second method, unless another one is chosen or it is the first."""
    second = spec.beside or BESIDE
    return spec if kind_of(spec.method) == second else replace(spec, beside=second)
