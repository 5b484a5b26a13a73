"""What a tuning tries: which options of which methods, on which seeds, by which rule, and where results are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import numpy_generator
from forgetmi.run.spec import RunSpec, replace_seed, to_plain
from forgetmi.search.rule_names import RETRAINING, Rule


@dataclass(frozen=True)
class Plan:
    """A tuning.

    Args:
        root: Its directory.
        specs: The runs it tries methods in, one a seed.
        rule: validation, for a user's cohort: validation patients alone decide; retraining: retrained models decide, on
            cohorts that are never reported.
        trials: Every method's options in the order they are tried, by the method's name; the first are the defaults.
    """

    root: Path
    specs: tuple[RunSpec, ...]
    rule: Rule
    trials: Mapping[str, tuple[Any, ...]]

    def plain(self) -> dict[str, Any]:
        """What must be the same for an interrupted tuning to go on."""
        # Options of every trial, in order
        trials = {}
        for name, methods in self.trials.items():
            trials[name] = [to_plain(method) for method in methods]
        return {
            "rule": self.rule,
            "specs": [to_plain(spec) for spec in self.specs],
            "trials": trials,
        }

    def text(self) -> str:
        """The same as stored."""
        return json.dumps(self.plain(), indent=1, sort_keys=True) + "\n"

    # Where things are stored

    def usual_home(self, spec: RunSpec) -> Path:
        """Run directory of a seed's usual original and its retrained models."""
        return self.root / f"seed-{spec.seed}"

    def home(self, spec: RunSpec, name: str) -> Path:
        """Run directory of the original a method starts from: its own where it needs one, else the usual one."""
        # All trials of a method start from the same original
        usual = self.usual_home(spec)
        first, *_ = self.trials[name]
        if first.info.original is None:
            return usual
        return usual.with_name(f"{usual.name}-{name}")

    def trial_folder(self, name: str, number: int, spec: RunSpec) -> Path:
        """Directory of one trial of a method on one seed."""
        return self.root / "trials" / name / f"{number}-seed-{spec.seed}"


def candidates(method: Any, name: str, *, count: int, seed: int) -> tuple[Any, ...]:
    """The options to try: the given ones, then draws without repetition from the method's search space.

    Args:
        method: With the options to start from.
        name: Its registered name.
        count: Number of trials, >= 1; fewer where the space is smaller.
        seed: Root seed of the draw.

    Examples:
        >>> from forgetmi.methods.fine_tune import FineTune
        >>> trials = candidates(FineTune(), "fine_tune", count=3, seed=0)
        >>> len(trials), trials[0] == FineTune()
        (3, True)
    """
    space = method.info.search

    # Every combination but the given one
    others = []
    for values in product(*space.values()):
        options = dict(zip(space, values, strict=True))
        candidate = replace(method, **options)
        if candidate != method:
            others.append(candidate)

    # Without repetition, from the seed and the method's name alone
    order = numpy_generator(seed, "tune", name).permutation(len(others))
    drawn = [others[position] for position in order[: count - 1]]
    return (method, *drawn)


def make_plan(
    root: Path,
    spec: RunSpec,
    methods: Mapping[str, Any],
    *,
    rule: Rule,
    seeds: Sequence[int] = (),
    trials: int = 8,
) -> Plan:
    """Which options of which methods are tried where.

    Args:
        root: Directory of the tuning.
        spec: The run; its method is not used.
        methods: By registered name, with the options of the first trial.
        rule: See `Plan`.
        seeds: For the rule retraining: seeds of cohort, patients and models.
        trials: Of each method.

    Raises:
        SpecError: The rule and the rest do not fit together.
    """
    _check(spec, rule=rule, seeds=seeds, trials=trials)

    if rule == RETRAINING:
        specs = tuple(replace_seed(spec, seed) for seed in seeds)
    else:
        # No retrained model is read, so none is trained.
        without = replace(spec, retrains=0, given=replace(spec.given, retrained=()))
        specs = (without,)

    # Every method gets as many trials
    tried = {}
    for name, method in methods.items():
        tried[name] = candidates(method, name, count=trials, seed=spec.seed)
    return Plan(root, specs, rule, tried)


def _check(spec: RunSpec, *, rule: Rule, seeds: Sequence[int], trials: int) -> None:
    """The rule has what it needs, and there are trials; all faults at once."""
    faults = []
    if trials < 1:
        faults.append(Fault(f"{trials} trials were asked for", do="Ask for at least 1."))

    if rule == RETRAINING and (not seeds or spec.given.original is not None):
        faults.append(
            Fault(
                "the rule retraining trains its own models",
                why="seeds are missing or a model is given",
                do="Give --seeds and no model, or use the rule validation.",
            )
        )
    if rule == RETRAINING and spec.retrains < 2:
        faults.append(
            Fault(f"{spec.retrains} retrained models make no gap", do="Set retrains to 2 or more.")
        )

    if faults:
        raise SpecError(faults)
