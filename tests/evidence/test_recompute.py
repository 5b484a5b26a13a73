"""Metrics and verdict of a record follow from the stored signals; what does not is found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.arrays import codes
from forgetmi.core.errors import EvaluationError, EvidenceError
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.evaluation.suite import evaluate
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.verify import verify
from forgetmi.run import recompute, recompute_verdict
from forgetmi.run.audit_stage import read_draw, run_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.record import record_of
from forgetmi.run.record_findings import decision_in
from tests.evidence.copied_runs import Data, altered, copy, replace
from tests.made_tasks import Made
from tests.runs import TINY


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_damaged_metrics_are_one_clear_error(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"metrics\.json: the measurement cannot be read"):
        Evaluation.from_json(text)


def test_metrics_follow_from_the_signals(signed_run: Path, tmp_path: Path) -> None:
    numbers, largest = recompute.metrics(signed_run, read_record(signed_run))
    assert numbers > 50
    assert largest <= recompute.CLOSE
    run = copy(signed_run, tmp_path)
    text = (run / "metrics.json").read_text()
    stored = json.loads(text)
    score = next(
        one for one in stored["scores"]["unlearned"] if one["name"] == "auc" and one["on"] == "test"
    )
    score["value"] += 0.01
    replace(run / "metrics.json", json.dumps(stored).encode())
    with pytest.raises(EvidenceError, match=r"unlearned auc .*test is another number"):
        recompute.metrics(run, read_record(run))


def test_a_measure_that_was_added_later_is_no_difference(signed_run: Path, tmp_path: Path) -> None:
    def without(name: str, models: set[str]) -> Path:
        run = copy(signed_run, tmp_path / name)
        stored = json.loads((run / "metrics.json").read_text())
        for model in models & set(stored["scores"]):
            scores = stored["scores"][model]
            stored["scores"][model] = [one for one in scores if one["name"] != name]
        replace(run / "metrics.json", json.dumps(stored).encode())
        return run

    everywhere = set(Evaluation.read(signed_run / "metrics.json").scores)
    run = without("gap_test_floor", everywhere)
    recompute.metrics(run, read_record(run))

    # One model alone that lacks a measure was altered
    run = without("original_cosine", {"unlearned"})
    with pytest.raises(EvidenceError, match=r"unlearned original_cosine .*another number"):
        recompute.metrics(run, read_record(run))


def test_the_verdict_follows_from_the_signals(signed_run: Path, tmp_path: Path) -> None:
    record = read_record(signed_run)
    assert record.decision.rule_digest == record.files["rule.json"]
    assert any(
        one.channel == "image" and one.value is not None and not one.on for one in record.findings
    )
    assert recompute_verdict.verdict(signed_run, record) == record.decision.outcome
    run = copy(signed_run, tmp_path)
    audit = json.loads((run / "audit.json").read_text())
    audit["verdict"]["outcome"] = (
        "FORGOTTEN" if record.decision.outcome != "FORGOTTEN" else "NOT FORGOTTEN"
    )
    replace(run / "audit.json", json.dumps(audit).encode())
    with pytest.raises(EvidenceError, match="another when decided again"):
        recompute_verdict.verdict(run, record)


def test_the_record_itself_must_say_what_its_files_say(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    altered(run, lambda plain: (plain.update(signer=""), plain["findings"][0].update(value=0.001)))
    verify(run)  # unsigned and consistent
    with pytest.raises(EvidenceError, match="findings are not those"):
        recompute.metrics(run, read_record(run))
    altered(
        run, lambda plain: plain["decision"]["channels"].update(image="FORGOTTEN", text="FORGOTTEN")
    )
    with pytest.raises(EvidenceError, match="decision is not that"):
        recompute_verdict.verdict(run, read_record(run))


def test_who_stands_out_singly_follows_from_the_signals(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    patient = read_record(signed_run).subjects.patients[0]
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"]["flagged"].update({patient: "remembered"}),
        ),
    )
    with pytest.raises(EvidenceError, match="decision is not that"):
        recompute_verdict.verdict(run, read_record(run))
    whole = json.loads((run / "audit.json").read_text())
    for flag in ("remembered", "over_forgotten", "near_duplicate"):
        patients = [{**one, flag: not one[flag]} for one in whole["patients"]]
        replace(run / "audit.json", json.dumps({**whole, "patients": patients}).encode())
        with pytest.raises(EvidenceError, match="stand out singly"):
            recompute_verdict.verdict(run, read_record(run))


def test_the_audit_must_be_by_the_declared_rule(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    audit = json.loads((run / "audit.json").read_text())
    audit["declared"]["utility_margin"] = 0.4
    replace(run / "audit.json", json.dumps(audit).encode())
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"]["rule"].update(utility_margin=0.4),
        ),
    )
    with pytest.raises(EvidenceError, match="another rule than the declared one"):
        recompute_verdict.verdict(run, read_record(run))


def test_a_further_request_is_judged_again_from_the_signals(
    signed_run: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run = copy(signed_run, tmp_path)
    cohort, partition = tiny_data
    directory = RunDirectory(run)
    gone = partition.forget[
        partition.patient[partition.forget] == partition.patient[partition.forget[0]]
    ]
    further = dataclasses.replace(partition, earlier=gone)
    directory.partition.unlink()
    write_partition(directory.partition, further)
    found, _ = run_audit(
        directory,
        [read_draw(directory, cohort, further, seed=TINY.seed)],
        cohort=cohort,
        declared=TINY.audit,
        seed=TINY.seed,
    )
    signals = {path.stem: Signals.load(path) for path in (run / "signals").glob("*.npz")}
    replace(
        directory.metrics,
        evaluate(signals, further, task=cohort.task, seed=TINY.seed, resamples=TINY.resamples)
        .to_json()
        .encode(),
    )
    record = record_of(directory, spec=TINY, cohort=cohort, partition=further)
    assert found.draws[0].earlier == 1
    assert {*record.subjects.patients} == {*cohort.patient[partition.forget]} - {
        *cohort.patient[gone]
    }
    assert {*(record.subjects.earlier or ())} == {*cohort.patient[gone], *cohort.study[gone]}
    assert recompute.metrics(run, record)[0] > 50
    assert recompute_verdict.verdict(run, record) == record.decision.outcome
    directory.partition.unlink()
    write_partition(directory.partition, partition)
    with pytest.raises(EvidenceError, match="another when decided again"):
        recompute_verdict.verdict(run, record)


@pytest.mark.parametrize(
    "made",
    [
        Made("findings"),
        Made("pairs", heads=()),
        Made("classes", heads=("table", "text"), modalities=("table", "text")),
    ],
    ids=["findings", "pairs", "table and text"],
)
def test_a_verdict_of_any_task_and_any_heads_is_decided_again(made: Made, tmp_path: Path) -> None:
    """By the record's own task, through the model's own channels; else a sound record would seem altered."""
    patient = codes(made.owner.astype(str))[0]
    sets = dataclasses.replace(made.partition(), patient=patient, group=patient)
    declared = AuditSpec(rule=Rule(resamples=200), attacks=("population",), relearn_epochs=0)
    signals = made.signals(unlearned=("forget", "retain"))
    run = AuditedRun(name=tmp_path.name, partition=sets, signals=signals)

    # The files of a finished run, as far as they are read
    directory = RunDirectory(tmp_path)
    (tmp_path / "signals").mkdir()
    for name, of_model in signals.items():
        of_model.save(directory.signals(name))
    write_partition(directory.partition, sets)
    directory.rule.write_text(declared.to_json())
    result, _ = run_audit(directory, [run], cohort=made.cohort(), declared=declared, seed=0)
    roles = {"original": "before", "unlearned": "after"}
    models = {
        name: SimpleNamespace(name=name, weights=one.model, role=roles.get(name, "reference"))
        for name, one in signals.items()
    }
    record: Any = SimpleNamespace(
        decision=decision_in(directory),
        models=tuple(models.values()),
        model=lambda role: models[{"before": "original", "after": "unlearned"}[role]],
        recompute=SimpleNamespace(of_task=made.task),
    )
    assert result.outcome == "NOT FORGOTTEN"
    assert recompute_verdict.verdict(tmp_path, record) == "NOT FORGOTTEN"
