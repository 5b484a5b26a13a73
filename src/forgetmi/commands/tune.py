"""``forgetmi tune``: hyper-parameters, on the same budget for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import Draws, Seed
from forgetmi.core.registry import methods
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.spec import to_plain
from forgetmi.search.former_names import current_name, renamed
from forgetmi.search.rule_names import Rule

USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "method",
    "carrier",
    "given",
    "retrains",
    "batch_size",
    "seed",
    "split_seed",
    "workers",
    "threads",
    "runner",
    "address",
    "gpus_per_job",
    "device",
    "store_on",
    "film_bits",
    "compile",
)


@dataclass(frozen=True)
class TuneOptions:
    """Options of ``forgetmi tune``.

    Args:
        out: Directory of all trials; given again, an interrupted tuning goes on and a finished one is left as it is.
        methods: Registered names; empty = the one of --method, whose options are then the first trial.
        rule: validation, for your cohort: the forgotten should be predicted as validation patients are; retraining:
            against retrained models, on cohorts whose results are never reported.
        seeds: For the rule retraining: seeds of cohort, patients and models.
        trials: Of each method; the first has the defaults, and none may read more samples than one retraining.
    """

    out: Path
    methods: tuple[str, ...] = ()
    rule: Rule = "validation"
    seeds: tuple[Seed, ...] = (100, 101)
    trials: Draws = 8


def tune(argv: Sequence[str]) -> None:
    """Choose each method's options on the same budget."""
    spec, options = parse(
        TuneOptions,
        _with_current_rule(argv),
        prog="forgetmi tune",
        description="Try options of one or several methods, the same number for each, and write the best as NAME.yaml "
        "for --spec. Test patients and retrained models are read by the rule retraining alone.",
        only=USED,
    )

    # Mistakes are reported before anything is imported or trained
    if len(set(options.methods)) < len(options.methods):
        raise SpecError(Fault("a method is named twice", where="--methods"))
    if not options.seeds:
        raise SpecError(
            Fault(
                "no seeds are given",
                where="--seeds",
                do="Give at least one, or leave the option out.",
            )
        )

    # What trains models is imported after the help was printed.
    from forgetmi.run.applicable import check_models
    from forgetmi.run.run_data import open_cohort
    from forgetmi.search.tune import is_finished
    from forgetmi.search.tune import tune as run_tuning
    from forgetmi.search.tune_plan import make_plan

    # The first trial of a method has its defaults, or the options given with --method.
    first_trials = {name: methods.get(name)() for name in options.methods}
    if not first_trials:
        name = to_plain(spec.method)["kind"]
        first_trials = {name: spec.method}

    # The same number of trials for each method
    plan = make_plan(
        options.out,
        spec,
        first_trials,
        rule=options.rule,
        seeds=options.seeds,
        trials=options.trials,
    )
    finished = is_finished(plan)

    # Methods that cannot work on the model, all of them at once
    if not finished:
        trials = [replace(spec, method=method) for method in first_trials.values()]
        check_models(trials, open_cohort(spec))

    with ProgressDisplay() as display:
        chosen = run_tuning(plan, on_progress=display.update)
    if finished:
        echo("The tuning is finished already. Nothing was done.")

    # One line a method: its best trial next to its defaults.
    echo(
        f"{'method':<22}{'trials':>7}{'defaults':>10}{'best':>8}  options that differ from the defaults"
    )
    for choice in chosen:
        trials = len(plan.trials[choice.name])
        default, best = _score(choice.default), _score(choice.score)
        note = f"no trial is allowed: {choice.refused}"
        if not choice.refused:
            note = _changed_options(choice.name, choice.method)
            note += "" if choice.forgot else "  (did not forget)"
        echo(f"{choice.name:<22}{trials:>7}{default:>10}{best:>8}  {note}")

    out = options.out
    echo(f"All trials: {out}/NAME.json. Use one with  forgetmi run --spec {out}/NAME.yaml")


def _with_current_rule(argv: Sequence[str]) -> list[str]:
    """The arguments with the present name of the rule, where a former one was typed."""
    words = list(argv)

    for position, word in enumerate(words):
        # "--rule NAME" and "--rule=NAME" are both accepted.
        before = words[position - 1] if position else ""
        option, _, value = word.partition("=")
        if before == "--rule" and renamed(word):
            echo(f"Note: {renamed(word)}.")
            words[position] = current_name(word)
        elif option == "--rule" and renamed(value):
            echo(f"Note: {renamed(value)}.")
            words[position] = f"--rule={current_name(value)}"

    return words


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _changed_options(name: str, method: Any) -> str:
    """The options of a method that differ from its defaults."""
    # Every option, nested ones as one value
    defaults: dict[str, Any] = asdict(methods.get(name)())

    changed = []
    for option, value in asdict(method).items():
        if value != defaults[option]:
            changed.append(f"{option}={value}")
    return ", ".join(changed) or "none"
