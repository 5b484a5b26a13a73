"""``forgetmi run --authors-config``: the authors' configuration from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forgetmi.authors_code.config import AuthorsRun, read_authors_config
from forgetmi.authors_code.run import NO_EFFECT_IN_PAPER_MODE, Mode, specification
from forgetmi.commands.command_line import command_line, take_options
from forgetmi.commands.options import parse
from forgetmi.commands.run import RunOptions
from forgetmi.core.files import write_json, write_text
from forgetmi.core.model_names import ORIGINAL
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_models import model_names, retrained_names
from forgetmi.run.spec import GivenModels, RunSpec, write_yaml

GRID = "grid.csv"
MEASURES = "release.json"
_RUN_FIELDS = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "retrains",
    "resamples",
    "workers",
    "device",
)


@dataclass(frozen=True)
class AuthorsOptions:
    """Where a run comes from.

    Args:
        authors_config: The authors' config.yaml.
        mode: paper (what the text says, made to work) or release (what the published code does).
        root: Folder that relative paths of the file start from.
        model_config: A config.json for checkpoints that have none next to them.
        draws: Runs to draw where a key has a distribution; 0 = the grid of all values.
    """

    authors_config: Path
    mode: Mode = "paper"
    root: Path = Path()
    model_config: Path | None = None
    draws: int = 0


def run_authors(argv: Sequence[str]) -> None:
    """The same from the authors' config.yaml, with --mode paper or release."""
    words, chosen = take_options(argv, {"authors-config", "mode", "root", "model-config", "draws"})
    options = command_line(
        AuthorsOptions,
        [f"--{name}={value}" for name, value in chosen.items()],
        prog="forgetmi run",
        description="Run the authors' config.yaml.",
    )
    config = read_authors_config(options.authors_config, draws=options.draws)

    # The options typed override what follows from the file, in every run of a grid.
    specs: list[RunSpec] = []
    run_options: list[RunOptions] = []
    for run in config.runs:
        spec, parsed = _parse(words, run, options)
        specs.append(spec)
        run_options.append(parsed)
    out = run_options[0].out

    without_effect = dict(config.without_effect)
    if options.mode == "paper":
        without_effect |= NO_EFFECT_IN_PAPER_MODE
    for key, reason in without_effect.items():
        echo(f"without effect: {key} ({reason})")

    if run_options[0].dry_run:
        print("---\n".join(write_yaml(spec) for spec in specs), end="")
        return

    # One run, or a folder for each of the grid.
    command = ["forgetmi", "run", *argv]
    if len(specs) == 1:
        _run(specs[0], out, options.mode, command=command)
    else:
        _run_grid(specs, _differences(config.runs), out, options.mode, command=command)


def _parse(
    words: Sequence[str], run: AuthorsRun, options: AuthorsOptions
) -> tuple[RunSpec, RunOptions]:
    """One run's specification and options, which start from a configuration of the authors."""
    start = specification(
        run,
        mode=options.mode,
        root=options.root,
        model_config=options.model_config,
    )
    return parse(
        RunOptions,
        words,
        prog="forgetmi run --authors-config FILE",
        only=_RUN_FIELDS,
        start=start,
        description="Run the authors' config.yaml. --mode paper|release chooses what the text says or what "
        "the published code does; --root DIR is where relative paths start; --model-config FILE "
        "is for checkpoints without one; --draws N draws from distributions. The options below "
        "override what follows from the file.",
    )


def _run(spec: RunSpec, out: Path, mode: Mode, *, command: list[str]) -> Any:
    """Run a specification; in release mode, measure every model as the release means to, too."""
    # What trains models is imported after the help was printed.
    from forgetmi.authors_code.measures import release_measures
    from forgetmi.core.signals import Signals
    from forgetmi.run.finish import finish
    from forgetmi.run.pipeline import Run

    def measure(done: Run) -> None:
        signals = {name: Signals.load(done.directory.signals(name)) for name in model_names(spec)}

        # The release compares with one retrained model; here the first.
        retrained: Signals | None = None
        for name in retrained_names(spec)[:1]:
            retrained = signals[name]

        measures = {}
        for name, outputs in signals.items():
            measured = release_measures(outputs, done.partition, retrained=retrained)
            measures[name] = asdict(measured)
        write_json(out / MEASURES, measures)
        echo(f"As the release measures it: {out / MEASURES}")

    return finish(spec, out, command=command, also=measure if mode == "release" else None)


def _run_grid(
    specs: Sequence[RunSpec],
    varied: Sequence[dict[str, Any]],
    out: Path,
    mode: Mode,
    *,
    command: list[str],
) -> None:
    """One folder a run; models that two runs share are trained once."""
    import pandas as pd

    from forgetmi.evaluation.suite import table

    rows: list[dict[str, Any]] = []
    for number, (spec, values) in enumerate(zip(specs, varied, strict=True)):
        name = f"{number:03d}"
        choices = ", ".join(f"{key} = {value}" for key, value in values.items())
        echo(f"{name}: {choices}")

        spec_to_run = _with_models_of(specs[:number], spec, out)
        done = _run(spec_to_run, out / name, mode, command=command)
        for row in table(done.evaluation):
            rows.append({"run": name, **values, **row})

    write_text(out / GRID, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    echo(f"All {len(specs)} runs: {out / GRID}")


def _with_models_of(earlier: Sequence[RunSpec], spec: RunSpec, out: Path) -> RunSpec:
    """The same run with the models of an earlier one that differs in nothing but how it unlearns."""
    if spec.given.original is not None:
        return spec

    for number, other in enumerate(earlier):
        same_method = replace(other, method=spec.method, batch_size=spec.batch_size)
        if same_method == spec:
            model = RunDirectory(out / f"{number:03d}").model
            retrained = tuple(model(name) for name in retrained_names(other))
            return replace(spec, retrains=0, given=GivenModels(model(ORIGINAL), retrained))
    return spec


def _differences(runs: Sequence[AuthorsRun]) -> list[dict[str, Any]]:
    """For each run, the values in which not all are equal."""
    # The method's options stand among the others.
    flat: list[dict[str, Any]] = []
    for run in runs:
        values = {**asdict(run.method), **vars(run)}
        del values["method"]
        flat.append(values)

    first = flat[0]
    varied = []
    for key in first:
        if any(values[key] != first[key] for values in flat):
            varied.append(key)

    differences = []
    for values in flat:
        differences.append({key: values[key] for key in varied})
    return differences
