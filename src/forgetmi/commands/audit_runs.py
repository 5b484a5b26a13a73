"""What ``forgetmi audit`` does: check the runs, audit them together, write the pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgetmi.audit.result import Audit
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.errors import Fault, SpecError
from forgetmi.report.pages import write_report
from forgetmi.run.audit_stage import declared_in, notice, read_draw, run_audit
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.further_pages import further_pages, refuse_run
from forgetmi.run.report_facts import gather
from forgetmi.run.run_models import model_names
from forgetmi.run.shadows import read_pools, read_verifiers
from forgetmi.run.spec import RunSpec, spec_of


def audit_again(
    runs: Sequence[Path],
    *,
    out: Path | None,
    shadows: Path | None,
    verifiers: Path | None = None,
) -> dict[str, Any]:
    """Audit finished runs, and print the verdict and where the pages are.

    Args:
        runs: Their directories, at least one.
        out: Where audit and pages go; None = beside the record of the only run, or into that run if it has none.
        shadows: Directory of shadow models; None = none.
        verifiers: Directory of ignorance verifiers; None = none.

    Returns:
        What ``--json`` says.

    Raises:
        SpecError: A run is not finished, the runs declared different rules, or ``out`` is the directory of a run.
    """
    if out is not None:
        refuse_run(out)
    result, target = _audit(runs, out, shadows, verifiers)

    echo(summary(result))
    echo(f"Audit: {target.audit}")
    echo(f"Report: {target.report}")
    verdict = result.verdict
    return {
        "verdict": result.outcome,
        "channels": {channel.channel: channel.outcome for channel in verdict.channels},
        "patients": verdict.forgotten,
        "never_seen": verdict.never_seen,
        "forget_sets": verdict.draws,
        "statements": list(result.statements),
        "audit": str(target.audit),
        "report": str(target.report),
    }


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


def _audit(
    runs: Sequence[Path], out: Path | None, shadows: Path | None, verifiers: Path | None
) -> tuple[Audit, RunDirectory]:
    """Audit runs together and write the pages; returns where they are, too."""
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

    # Verifiers serve the forget sets whose patients none of them knows
    if verifiers is not None:
        draws = [
            replace(
                draw,
                verifiers=read_verifiers(verifiers, cohort=cohort, partition=draw.partition),
            )
            for draw in draws
        ]

    # The verdict over all forget sets together, in a place of its own
    target = further_pages(runs[0], out)
    try:
        result, _ = run_audit(target, draws, cohort=cohort, declared=rule, seed=specs[0].seed)
    except BaseException:
        _remove_if_empty(target, out)
        raise

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
    return result, target


def _remove_if_empty(target: RunDirectory, out: Path | None) -> None:
    """Remove a folder that was made for an audit that failed; a folder that was named stays."""
    if out is None:
        with suppress(OSError):
            target.root.rmdir()


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
