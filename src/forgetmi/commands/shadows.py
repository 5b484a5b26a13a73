"""``forgetmi shadows``: models on random halves of the patients, as references of the audit's strongest attacks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.options import with_factory
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.core.model_names import UNLEARNED
from forgetmi.core.ranges import Number, Seed, ShareBelowOne, Weight
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_use import no_pool_faults
from forgetmi.run.spec import spec_of

# From so many models on, they serve these attacks.
SERVES = ((64, "LiRA, U-LiRA and RULI"), (16, "LiRA, RMIA and IAM"), (2, "RMIA and IAM"))


@dataclass(frozen=True)
class ShadowOptions:
    """Options of ``forgetmi shadows``.

    Args:
        run: Directory of the finished run whose patients, architecture, recipe and method are used.
        out: Directory of the pool; given again, an interrupted pool goes on and a finished one is left as it is.
        models: Shadow models, 2 or more: 2 to 4 serve RMIA and IAM, 16 and more LiRA, 64 and more U-LiRA and RULI.
        unlearnings: Forget sets each of them unlearns by the run's method; U-LiRA and RULI need 1 or 2.
        retained_share: Above 0, ignorance verifiers in place of shadow models: each is trained on this share of the
            retained patients alone, 0.15 for example, and no two on the same one. For forgetmi audit --verifiers.
        seed: Root seed of masks and models.
        training_cost: CPU seconds of one training; default: as measured in the run.
        estimate: Only print what it will cost.
        model_from: ``package.module:function``, the factory of the run's models, where a factory of your own made them;
            it is run.
    """

    run: tyro.conf.Positional[Path]
    out: Path
    models: Number = 16
    unlearnings: Number = 0
    retained_share: ShareBelowOne = 0.0
    seed: Seed = 0
    training_cost: Weight | None = None
    estimate: bool = False
    model_from: str = ""


def shadows(argv: Sequence[str]) -> None:
    """Train shadow models for an audit."""
    options = command_line(
        ShadowOptions,
        argv,
        prog="forgetmi shadows",
        description="Train models on random halves of a run's patients, as references of LiRA, RMIA, "
        "IAM, U-LiRA and RULI; forgetmi audit --shadows DIRECTORY uses them.",
    )

    # What trains models is imported after the help was printed.
    from forgetmi.cohort.partition_file import read_partition
    from forgetmi.run.shadow_plan import estimated_cost, plan_for
    from forgetmi.run.shadows import make_pool

    spec = with_factory(spec_of(options.run), options.model_from)
    run = RunDirectory(options.run)
    if not run.signals(UNLEARNED).exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=options.run.name,
                do="Give the run's command again; it goes on where it stopped.",
            )
        )

    if options.unlearnings and (faults := no_pool_faults(spec.method)):
        raise SpecError([replace(fault, do="Ask for --unlearnings 0.") for fault in faults])

    # What will be made, and its cost.
    partition = read_partition(run.partition, spec.cohort.load())
    plan = plan_for(
        partition,
        models=options.models,
        unlearnings=options.unlearnings,
        seed=options.seed,
        retained_share=options.retained_share,
    )
    cost = estimated_cost(plan, spec, run, training=options.training_cost)
    at_once = min(spec.workers or os.cpu_count() or 1, plan.models)
    what = f"{plan.models} ignorance verifiers"
    if not plan.retained_share:
        served = _attacks_served(plan.models)
        what = f"{plan.models} shadow models (they serve {served}) with {plan.unlearnings} unlearnings each"
    echo(
        f"{what}: about {cost:.0f} CPU s, {cost / at_once / 60:.0f} minutes with {at_once} side by side."
    )
    if options.estimate:
        return

    with ProgressDisplay() as display, full_disk_explained(options.out.name):
        made = make_pool(plan, spec, run, options.out, on_progress=display.update)

    if not made:
        echo("The pool is finished already. Nothing was done.")
    name = "verifiers" if plan.retained_share else "shadows"
    echo(f"{'Verifiers' if plan.retained_share else 'Shadow models'}: {options.out}")
    echo(f"Use them: forgetmi audit {options.run} --{name} {options.out} --out DIRECTORY")


def _attacks_served(models: int) -> str:
    """The attacks that so many shadow models serve."""
    for fewest, attacks in SERVES:
        if models >= fewest:
            return attacks
    raise ValueError(f"a plan of {models} shadow models")
