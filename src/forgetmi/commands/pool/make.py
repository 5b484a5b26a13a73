"""``forgetmi pool make``: train the members of a standing pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forgetmi.commands.command_line import take_options
from forgetmi.commands.options import parse
from forgetmi.core.files import full_disk_explained
from forgetmi.core.ranges import Number
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.spec import GivenModels

USED = ("cohort", "training", "seed", "workers", "threads", "runner", "address", "gpus_per_job")
USED += ("device", "store_on", "film_bits", "compile")


@dataclass(frozen=True)
class PoolOptions:
    """Options of ``forgetmi pool make``.

    Args:
        model: The model in service: folder of a checkpoint, or of the run whose unlearned model serves.
        out: Directory of the pool; given again, an interrupted one goes on and a finished one is left as it is.
        folds: Parts of the training side, 2 or more; each member is trained without one.
        repetitions: How often everybody is left out once, 1 or more: as many references a request has; 2 are needed
            for a verdict, 3 are better.
        targets: The same for methods that learn from models which never saw a patient; these never judge.
        keep_models: Keep the members' weights; they remember patients, too, and must be accounted for.
        estimate: Only print what it will cost.
    """

    model: Path
    out: Path
    folds: Number = 5
    repetitions: Number = 2
    targets: Number = 0
    keep_models: bool = False
    estimate: bool = False


def make(argv: Sequence[str]) -> None:
    """Train the members of a pool."""
    # The run that made the model gives the starting values
    _, values = take_options(argv, {"model"})
    base = None
    if "model" in values and not {"-h", "--help"} & {*argv}:
        from forgetmi.run.model_in_service import model_in_service, starting_spec

        base = starting_spec(model_in_service(Path(values["model"])))

    spec, options = parse(
        PoolOptions,
        argv,
        prog="forgetmi pool make",
        description="Train models without a part of the patients each, once, as references of every request to come "
        "(forgetmi run or withdraw --references DIRECTORY): a request then needs no retraining for its evidence. "
        "Options that are left out are those of the run that made the model.",
        only=USED,
        base=base,
    )

    # What trains models is imported after the help was printed
    from forgetmi.run.model_in_service import (
        model_in_service,
        retraining_cost_of,
        starting_spec,
    )
    from forgetmi.run.pool_making import make_pool, plan_pool

    model = model_in_service(options.model)
    spec = replace(spec, given=GivenModels(original=model.checkpoint))
    plan, folds = plan_pool(
        spec,
        folds=options.folds,
        repetitions=options.repetitions,
        targets=options.targets,
        seed=spec.seed,
        keep_models=options.keep_models,
    )
    if starting_spec(model).training != spec.training:
        echo("note: the members are trained by another recipe than the model in service")

    members = len(list(plan.members()))
    share = members * (plan.folds - 1) / plan.folds
    cost = retraining_cost_of(model)
    seconds = f", about {share * cost.cpu_seconds:,.0f} CPU s" if cost is not None else ""
    echo(
        f"{members} members of {len(folds.patients)} patients in {plan.folds} folds: the work of {share:g} "
        f"trainings{seconds}, once for all requests."
    )
    if options.estimate:
        return

    with ProgressDisplay() as display, full_disk_explained(options.out.name):
        made = make_pool(plan, folds, spec, options.out, on_progress=display.update)

    if not made:
        echo("The pool is finished already. Nothing was done.")
    echo(f"Pool: {options.out}")
    echo(
        f"Use it: forgetmi withdraw --references {options.out} ..., forgetmi pool risk {options.out}"
    )
