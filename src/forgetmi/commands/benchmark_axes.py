"""The sides of a benchmark's grid, from the options of ``forgetmi benchmark``."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.benchmark.grid import Axes
from forgetmi.benchmark.settings import REQUIRED, RETRAIN, all_methods, read_setting
from forgetmi.benchmark.tables import noise_settings, preset_settings
from forgetmi.commands.benchmark_options import BenchmarkOptions
from forgetmi.core.errors import Fault, SpecError
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec

SEEDS = (0, 1, 2)


def read_axes(spec: RunSpec, options: BenchmarkOptions) -> Axes:
    """The sides of the grid that the options mean.

    Args:
        spec: What all models share.
        options: Of the command.

    Raises:
        SpecError: Options do not fit together; all faults at once.
    """
    # One number of draws stands for all percentages.
    draws = options.draws
    if len(draws) == 1:
        draws = draws * len(options.percents)

    seeds = options.training_seeds
    if seeds is None:
        seeds = SEEDS[:1] if options.quick else SEEDS

    faults = [*_faults_of_spec(spec), *_faults_of_options(options, draws, seeds)]
    if faults:
        raise SpecError(faults)

    # The original and the retrained models are in every grid; a setting named twice is made once.
    names = options.methods or (REQUIRED if options.quick else all_methods())
    settings = [read_setting(name) for name in names if name != RETRAIN]
    if options.presets:
        settings += preset_settings()
    settings += noise_settings(options.noise_means, options.noise_stds)
    by_name = {setting.name: setting for setting in settings}

    return Axes(tuple(by_name.values()), options.percents, draws, seeds, options.unlearning_seeds)


def _faults_of_spec(spec: RunSpec) -> list[Fault]:
    """Options of a run that a benchmark sets itself."""
    # Forget sets are drawn by the benchmark itself
    partition, default = spec.partition, PartitionSpec()
    faults = []

    if partition.forget_list is not None or partition.canaries is not None:
        faults.append(
            _fault(
                "a forget list or a list of canaries is given",
                "Leave it out: forget sets are drawn.",
            )
        )
    if (partition.percent, partition.draw) != (default.percent, default.draw):
        faults.append(
            _fault(
                "a single forget percentage or draw is given",
                "Use --percents and --draws.",
            )
        )

    # Every model is made here, and retraining is what all are compared with
    if spec.given != GivenModels():
        faults.append(
            _fault(
                "trained models are given",
                "Leave them out: every model is made here.",
            )
        )
    if spec.retrains < 1:
        faults.append(
            _fault(
                "no retrained model is requested",
                "Set --retrains to 2 or more; 3 are advised.",
            )
        )
    return faults


def _faults_of_options(
    options: BenchmarkOptions, draws: Sequence[int], seeds: Sequence[int]
) -> list[Fault]:
    faults = []

    # Each percentage needs its number of draws
    if len(draws) != len(options.percents):
        faults.append(
            _fault(
                "--draws has another number of values than --percents",
                "Give one for all, or one each.",
            )
        )
    if min(draws, default=0) < 1:
        faults.append(_fault("a number of draws is below 1", "Give 1 or more."))
    if not (options.percents and seeds and options.unlearning_seeds):
        faults.append(
            _fault(
                "there is nothing to do",
                "Give at least one percentage and one seed.",
            )
        )

    # The same value twice would make the same models twice
    axes = (options.percents, seeds, options.unlearning_seeds)
    if any(len(set(values)) < len(values) for values in axes):
        faults.append(_fault("a value of an axis is given twice", "Give each once."))
    return faults


def _fault(what: str, advice: str) -> Fault:
    return Fault(what, where="benchmark", do=advice)
