"""``forgetmi run --authors-config``: the authors' configuration from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from forgetmi.authors_code.config import AuthorsRun, read_authors_config
from forgetmi.authors_code.measures import release_measures
from forgetmi.authors_code.run import NO_EFFECT_IN_PAPER_MODE, Mode, specification
from forgetmi.commands.command_line import command_line, take_options
from forgetmi.commands.options import parse
from forgetmi.commands.run import RunOptions
from forgetmi.core.files import write_json, write_text
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.signals import Signals
from forgetmi.evaluation.suite import table
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.pipeline import Run
from forgetmi.run.run_models import model_names, retrained_names
from forgetmi.run.spec import GivenModels, RunSpec, write_yaml

GRID, MEASURES = "grid.csv", "release.json"
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
        model_config: A config.json for checkpoints that have none beside them.
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
    own = command_line(
        AuthorsOptions,
        [f"--{name}={value}" for name, value in chosen.items()],
        prog="forgetmi run",
        description="Run the authors' config.yaml.",
    )
    config = read_authors_config(own.authors_config, draws=own.draws)
    made = [
        parse(
            RunOptions,
            words,
            prog="forgetmi run --authors-config FILE",
            only=_RUN_FIELDS,
            start=specification(one, mode=own.mode, root=own.root, model_config=own.model_config),
            description="Run the authors' config.yaml. --mode paper|release chooses what the text says or what "
            "the published code does; --root DIR is where relative paths start; --model-config FILE "
            "is for checkpoints without one; --draws N draws from distributions. The options below "
            "override what follows from the file.",
        )
        for one in config.runs
    ]
    specs, out, dry = [spec for spec, _ in made], made[0][1].out, made[0][1].dry_run
    for key, why in {
        **config.without_effect,
        **(NO_EFFECT_IN_PAPER_MODE if own.mode == "paper" else {}),
    }.items():
        echo(f"without effect: {key} ({why})")
    if dry:
        print("---\n".join(write_yaml(spec) for spec in specs), end="")
    elif len(specs) == 1:
        _finish(specs[0], out, own.mode, command=["forgetmi", "run", *argv])
    else:
        _grid(specs, _differences(config.runs), out, own.mode, command=["forgetmi", "run", *argv])


def _finish(spec: RunSpec, out: Path, mode: Mode, *, command: list[str]) -> Run:
    """Run a specification; in release mode, measure every model as the release means to, too."""

    def measure(done: Run) -> None:
        signals = {name: Signals.load(done.directory.signals(name)) for name in model_names(spec)}
        retrained = next((signals[name] for name in retrained_names(spec)), None)
        write_json(
            out / MEASURES,
            {
                name: asdict(release_measures(one, done.partition, retrained=retrained))
                for name, one in signals.items()
            },
        )
        echo(f"As the release measures it: {out / MEASURES}")

    return finish(spec, out, command=command, also=measure if mode == "release" else None)


def _grid(
    specs: Sequence[RunSpec],
    varied: Sequence[dict[str, Any]],
    out: Path,
    mode: Mode,
    *,
    command: list[str],
) -> None:
    """One folder a run; models that two runs share are trained once."""
    rows: list[dict[str, Any]] = []
    for number, (spec, values) in enumerate(zip(specs, varied, strict=True)):
        name = f"{number:03d}"
        echo(f"{name}: {', '.join(f'{key} = {value}' for key, value in values.items())}")
        done = _finish(
            _with_models_of(specs[:number], spec, out), out / name, mode, command=command
        )
        rows += [{"run": name, **values, **row} for row in table(done.evaluation)]
    write_text(out / GRID, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    echo(f"All {len(specs)} runs: {out / GRID}")


def _with_models_of(earlier: Sequence[RunSpec], spec: RunSpec, out: Path) -> RunSpec:
    """The same run with the models of an earlier one that differs in nothing but how it unlearns."""
    for number, one in enumerate(earlier):
        if (
            spec.given.original is None
            and replace(one, method=spec.method, batch_size=spec.batch_size) == spec
        ):
            model = RunDirectory(out / f"{number:03d}").model
            return replace(
                spec,
                retrains=0,
                given=GivenModels(
                    model(ORIGINAL), tuple(model(name) for name in retrained_names(one))
                ),
            )
    return spec


def _differences(runs: Sequence[AuthorsRun]) -> list[dict[str, Any]]:
    """For each run, the values in which not all are equal."""
    flat = [
        {
            **asdict(run.method),
            **{key: value for key, value in vars(run).items() if key != "method"},
        }
        for run in runs
    ]
    keys = [key for key in flat[0] if any(one[key] != flat[0][key] for one in flat)]
    return [{key: one[key] for key in keys} for one in flat]
