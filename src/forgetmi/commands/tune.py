"""``forgetmi tune``: hyper-parameters, on the same budget for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.registry import methods
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.spec import to_plain
from forgetmi.search.former_names import current_name, renamed
from forgetmi.search.rules import Rule
from forgetmi.search.tune import tune as run_tuning
from forgetmi.search.tune_choice import Chosen
from forgetmi.search.tune_plan import make_plan


@dataclass(frozen=True)
class TuneOptions:
    """Options of ``forgetmi tune``.

    Args:
        out: Directory of all trials; given again, an interrupted tuning goes on.
        methods: Registered names; empty = the one of --method, whose options are then the first trial.
        rule: validation, for your cohort: the forgotten should be predicted as validation patients are; retraining:
            against retrained models, on cohorts whose results are never reported.
        seeds: For the rule retraining: seeds of cohort, patients and models.
        trials: Of each method; the first has the defaults, and none may read more samples than one retraining.
    """

    out: Path
    methods: tuple[str, ...] = ()
    rule: Rule = "validation"
    seeds: tuple[int, ...] = (100, 101)
    trials: int = 8


def tune(argv: Sequence[str]) -> None:
    """Choose each method's options on the same budget."""
    spec, own = parse(
        TuneOptions,
        _with_current_rule(argv),
        prog="forgetmi tune",
        description="Try options of one or several methods, the same number for each, and write the best as NAME.yaml "
        "for --spec. Test patients and retrained models are read by the rule retraining alone.",
        only=(
            "cohort",
            "partition",
            "images",
            "text",
            "model",
            "training",
            "method",
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
        ),
    )
    chosen = {name: methods.get(name)() for name in own.methods} or {
        to_plain(spec.method)["kind"]: spec.method
    }
    if len(chosen) < len(own.methods):
        raise SpecError(Fault("a method is named twice", where="--methods"))
    if not own.seeds:
        raise SpecError(
            Fault(
                "no seeds are given",
                where="--seeds",
                do="Give at least one, or leave the option out.",
            )
        )
    plan = make_plan(own.out, spec, chosen, rule=own.rule, seeds=own.seeds, trials=own.trials)
    with ProgressDisplay() as display:
        found = run_tuning(plan, on_progress=display.update)
    echo(summary(found, {name: len(tried) for name, tried in plan.trials.items()}))
    echo(f"All trials: {own.out}/NAME.json. Use one with  forgetmi run --spec {own.out}/NAME.yaml")


def _with_current_rule(argv: Sequence[str]) -> list[str]:
    """The arguments with the present name of the rule, where a former one was typed."""
    words = list(argv)
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        option, _, value = word.partition("=")
        if before == "--rule" and renamed(word):
            echo(f"Note: {renamed(word)}.")
            words[position] = current_name(word)
        elif option == "--rule" and renamed(value):
            echo(f"Note: {renamed(value)}.")
            words[position] = f"--rule={current_name(value)}"
    return words


def summary(found: Sequence[Chosen], trials: dict[str, int]) -> str:
    """One line a method: score of the defaults, the best score, and what the best options are."""
    lines = [
        f"{'method':<22}{'trials':>7}{'defaults':>10}{'best':>8}  options that differ from the defaults"
    ]
    for one in found:
        scores = [
            f"{value:.3f}" if value is not None else "-" for value in (one.default, one.score)
        ]
        note = f"no trial is allowed: {one.refused}" if one.refused else _changed(one)
        lines.append(
            f"{one.name:<22}{trials[one.name]:>7}{scores[0]:>10}{scores[1]:>8}  {note}"
            + ("" if one.forgot or one.refused else "  (did not forget)")
        )
    return "\n".join(lines)


def _changed(one: Chosen) -> str:
    before: dict[str, Any] = asdict(methods.get(one.name)())
    after: dict[str, Any] = asdict(one.method)
    return (
        ", ".join(f"{key}={value}" for key, value in after.items() if value != before[key])
        or "none"
    )
