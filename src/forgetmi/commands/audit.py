"""``forgetmi audit``: audit finished runs again from their stored signals, several pooled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from forgetmi.audit.result import Audit
from forgetmi.cohort.partition_file import read_partition
from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.report.pages import write_report
from forgetmi.run.audit_stage import declared_in, notice, read_draw, run_audit
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.record import Recording, keep_record, stored_record
from forgetmi.run.report_facts import gather
from forgetmi.run.run_data import load_data
from forgetmi.run.run_models import model_names
from forgetmi.run.shadows import read_pools
from forgetmi.run.spec import RunSpec, spec_of


@dataclass(frozen=True)
class AuditOptions:
    """Options of ``forgetmi audit``.

    Args:
        runs: Directories of finished runs of one cohort with disjoint forget sets (``--partition.draw 0``, 1, 2 ...).
        out: Directory for audit.json and the pages; needed for several runs or with shadow models, which must not
            replace a run's own audit, and where the run's record is signed. Without, an unsigned record is renewed.
        shadows: Directory that ``forgetmi shadows`` wrote.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    out: Path | None = None
    shadows: Path | None = None


def audit(argv: Sequence[str]) -> None:
    """Audit finished runs again from their stored signals; no model is run."""
    own = command_line(
        AuditOptions,
        argv,
        prog="forgetmi audit",
        description="Audit finished runs again from their stored signals, several pooled; no model is "
        "run. The rule is the one the runs declared beforehand.",
    )
    if not own.runs:
        raise SpecError(
            Fault("no run is given", where="command line", do="Give the --out of one or more runs.")
        )
    if own.out is None and (len(own.runs) > 1 or own.shadows is not None):
        raise SpecError(
            Fault(
                "--out is needed for several runs or with shadow models",
                where="command line",
                why="a run's own audit is not replaced by another",
            )
        )
    recorded = _recorded(own)
    found, out = _audit(own), own.out or own.runs[0]
    echo(f"{summary(found)}\nAudit: {RunDirectory(out).audit}\nReport: {RunDirectory(out).report}")
    if recorded:
        echo(_renew(out))


def _recorded(own: AuditOptions) -> bool:
    """Whether a run whose own pages will be written anew has a record.

    Raises:
        SpecError: It is signed, or --out is a run's directory.
    """
    if own.out is not None:
        if RunDirectory(own.out).spec.exists():
            raise SpecError(
                Fault(
                    "--out is the directory of a run",
                    where=own.out.name,
                    why="a run's own audit is not replaced by another",
                    do="Choose another --out.",
                )
            )
        return False
    record = stored_record(own.runs[0])
    if record is not None and record.signer:
        raise SpecError(
            Fault(
                "the run's record is signed",
                where=f"{own.runs[0].name}/record.json",
                why="it names the report, which would be written anew",
                do="Give --out DIR.",
            )
        )
    return record is not None


def _renew(root: Path) -> str:
    """Make a run's unsigned record anew after its pages changed."""
    spec, directory = spec_of(root), RunDirectory(root)
    cohort, partition = load_data(spec)
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    return keep_record(Run(directory, cohort, partition, evaluation), spec, Recording())


def _audit(own: AuditOptions) -> Audit:
    directories = [RunDirectory(run) for run in own.runs]
    specs = [spec_of(run) for run in own.runs]
    faults = [
        fault
        for directory, spec in zip(directories, specs, strict=True)
        for fault in _unfit(directory, spec)
    ]
    if faults:
        raise SpecError(faults)
    rules = [declared_in(directory) for directory in directories]
    faults = [
        Fault(
            "the run declared another rule than the first",
            where=directory.root.name,
            do="Pool runs that declared the same rule.",
        )
        for directory, rule in zip(directories, rules, strict=True)
        if rule.digest != rules[0].digest
    ]
    if faults:
        raise SpecError(faults)
    echo(notice(directories[0], rules[0]))
    cohort = specs[0].cohort.load()
    draws = [
        read_draw(directory, cohort, read_partition(directory.partition, cohort), seed=spec.seed)
        for directory, spec in zip(directories, specs, strict=True)
    ]
    if own.shadows is not None:
        plain, unlearned = read_pools(own.shadows, cohort=cohort, partition=draws[0].partition)
        draws = [replace(draw, shadows=plain, unlearned_shadows=unlearned) for draw in draws]
    out = RunDirectory(own.out or own.runs[0])
    found, _ = run_audit(out, draws, cohort=cohort, declared=rules[0], seed=specs[0].seed)
    write_report(
        out.report,
        gather(
            directories[0],
            specs[0],
            cohort,
            draws[0].partition,
            audit=found,
            command=["forgetmi", "audit", *map(str, own.runs)],
        ),
    )
    return found


def _unfit(directory: RunDirectory, spec: RunSpec) -> Iterator[Fault]:
    """Why a run cannot be audited."""
    if not directory.metrics.exists() or any(
        not directory.signals(one).exists() for one in model_names(spec)
    ):
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


def summary(found: Audit) -> str:
    """The verdict in a few lines."""
    lines = [
        f"Verdict: {found.outcome} ({found.verdict.forgotten} patients, {found.verdict.draws} forget sets)"
    ]
    lines += [f"  {one.channel:<6}{one.outcome:<16}{one.reason}" for one in found.verdict.channels]
    return "\n".join([*lines, *(f"  {said}" for said in found.statements)])
