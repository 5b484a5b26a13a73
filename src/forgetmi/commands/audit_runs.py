"""What ``forgetmi audit`` does: check the runs, audit them together, write the pages, renew the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from forgetmi.audit.result import Audit
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.report.pages import write_report
from forgetmi.run.audit_stage import declared_in, notice, read_draw, run_audit
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.record_keeping import Recording, keep_record, stored_record
from forgetmi.run.report_facts import gather
from forgetmi.run.run_data import load_data
from forgetmi.run.run_models import model_names
from forgetmi.run.shadows import read_pools
from forgetmi.run.spec import RunSpec, spec_of


def audit_again(runs: Sequence[Path], *, out: Path | None, shadows: Path | None) -> None:
    """Audit finished runs, and print the verdict and where the pages are.

    Args:
        runs: Their directories, at least one.
        out: Where audit and pages go; None = into the only run, whose unsigned record is then renewed.
        shadows: Directory of shadow models; None = none.

    Raises:
        SpecError: A run is not finished, the runs declared different rules, the record is signed, or ``out`` is the
            directory of a run.
    """
    if out is None:
        renew_record = _has_unsigned_record(runs[0])
        target = RunDirectory(runs[0])
    else:
        _refuse_run_directory(out)
        renew_record = False
        target = RunDirectory(out)

    # The audit, with its pages
    result = _audit(runs, target, shadows)
    echo(summary(result))
    echo(f"Audit: {target.audit}")
    echo(f"Report: {target.report}")

    if renew_record:
        echo(_renewed_record(runs[0]))


def summary(result: Audit) -> str:
    """The verdict in a few lines."""
    verdict = result.verdict
    lines = [
        f"Verdict: {result.outcome} ({verdict.forgotten} patients, {verdict.draws} forget sets)"
    ]

    # One line a channel, then what the audit adds in words
    for channel in verdict.channels:
        lines.append(f"  {channel.channel:<6}{channel.outcome:<16}{channel.reason}")
    lines += [f"  {statement}" for statement in result.statements]
    return "\n".join(lines)


def _refuse_run_directory(out: Path) -> None:
    if RunDirectory(out).spec.exists():
        raise SpecError(
            Fault(
                "--out is the directory of a run",
                where=out.name,
                why="a run's own audit is not replaced by another",
                do="Choose another --out.",
            )
        )


def _has_unsigned_record(run: Path) -> bool:
    """Whether a run whose own pages will be written anew has a record.

    Raises:
        SpecError: It is signed.
    """
    record = stored_record(run)
    if record is not None and record.signer:
        raise SpecError(
            Fault(
                "the run's record is signed",
                where=f"{run.name}/record.json",
                why="it names the report, which would be written anew",
                do="Give --out DIR.",
            )
        )
    return record is not None


def _renewed_record(run: Path) -> str:
    """Make a run's unsigned record anew after its pages changed."""
    spec, directory = spec_of(run), RunDirectory(run)
    cohort, partition = load_data(spec)
    evaluation = Evaluation.read(directory.metrics)
    return keep_record(Run(directory, cohort, partition, evaluation), spec, Recording())


def _audit(runs: Sequence[Path], target: RunDirectory, shadows: Path | None) -> Audit:
    """Audit runs together and write the pages."""
    directories = [RunDirectory(run) for run in runs]
    specs = [spec_of(run) for run in runs]
    _check_finished(directories, specs)
    _check_same_rule(directories)

    # The rule that was declared before anything was measured.
    rule = declared_in(directories[0])
    echo(notice(directories[0], rule))

    # The forget set of each run; all of one cohort.
    cohort = specs[0].cohort.load()
    draws = []
    for directory, spec in zip(directories, specs, strict=True):
        partition = read_partition(directory.partition, cohort)
        draws.append(read_draw(directory, cohort, partition, seed=spec.seed))

    # One pool of shadow models serves every forget set
    if shadows is not None:
        trained, unlearned = read_pools(shadows, cohort=cohort, partition=draws[0].partition)
        draws = [replace(draw, shadows=trained, unlearned_shadows=unlearned) for draw in draws]

    # The verdict over all forget sets together
    result, _ = run_audit(target, draws, cohort=cohort, declared=rule, seed=specs[0].seed)

    # The pages describe the first run; the verdict is that of all
    facts = gather(
        directories[0],
        specs[0],
        cohort,
        draws[0].partition,
        audit=result,
        command=["forgetmi", "audit", *map(str, runs)],
    )
    write_report(target.report, facts)
    return result


def _check_finished(directories: Sequence[RunDirectory], specs: Sequence[RunSpec]) -> None:
    faults: list[Fault] = []
    for directory, spec in zip(directories, specs, strict=True):
        faults += _unfit(directory, spec)

    if faults:
        raise SpecError(faults)


def _unfit(directory: RunDirectory, spec: RunSpec) -> Iterator[Fault]:
    """Why a run cannot be audited."""
    # A finished run has its metrics and every model's signals
    files = [directory.metrics, *map(directory.signals, model_names(spec))]

    if not all(file.exists() for file in files):
        yield Fault(
            "the run is not finished",
            where=directory.root.name,
            do="Give the run's command again; it goes on where it stopped.",
        )
    elif declared_in(directory) != spec.audit:
        yield Fault(
            "rule.json is not the rule of the run's specification",
            where=directory.root.name,
            why="one of them was changed after the run began",
        )


def _check_same_rule(directories: Sequence[RunDirectory]) -> None:
    # Pooled runs count as one test only under one rule
    rules = [declared_in(directory) for directory in directories]

    faults = []
    for directory, rule in zip(directories, rules, strict=True):
        if rule.digest != rules[0].digest:
            faults.append(
                Fault(
                    "the run declared another rule than the first",
                    where=directory.root.name,
                    do="Pool runs that declared the same rule.",
                )
            )
    if faults:
        raise SpecError(faults)
