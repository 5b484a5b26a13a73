"""The audit of runs: declared before any signal, pooled over forget sets, with shadow models."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.cli import main
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.errors import SpecError
from forgetmi.core.files import write_json
from forgetmi.core.partition import Partition
from forgetmi.evaluation.attacks.ignorance import Ignorance
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe
from forgetmi.run.audit_stage import declare, notice, read_draw
from forgetmi.run.costs import stage_names, total_cpu_seconds
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import run
from forgetmi.run.shadow_plan import forget_sets, inside, plan_for
from forgetmi.run.shadows import read_pools, read_verifiers
from forgetmi.run.spec import RunSpec
from tests.evidence.copied_runs import states
from tests.runs import SMALL

# So many that shadow models can forget others in the forgotten's place
SPEC = dataclasses.replace(
    SMALL,
    cohort=dataclasses.replace(SMALL.cohort, patients=40),
    training=Recipe(epochs=1),
    method=ForgetMI(epochs=1),
    duplicates=False,
    audit=AuditSpec(
        rule=Rule(resamples=200),
        relearn_epochs=2,
        attacks=(
            "population",
            "rmia",
            "iam",
            "lira_online",
            "u_lira",
            "relearn",
            "report_retrieval",
        ),
    ),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two forget sets of one cohort."""
    root = tmp_path_factory.mktemp("audits")
    for draw in (0, 1):
        run(
            dataclasses.replace(SPEC, partition=dataclasses.replace(SPEC.partition, draw=draw)),
            root / f"draw-{draw}",
        )
    return [root / "draw-0", root / "draw-1"]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where pages would be written; what is on them is tested with the report."""
    written: list[Path] = []
    monkeypatch.setattr(
        "forgetmi.commands.audit_runs.write_report", lambda path, facts: written.append(path)
    )
    return written


def found(path: Path) -> Audit:
    return Audit.from_json((path / "audit.json").read_text())


def test_a_run_is_audited(runs: list[Path]) -> None:
    audit, directory = found(runs[0]), RunDirectory(runs[0])
    assert audit.to_json() == directory.audit.read_text()
    assert audit.rule_digest == SPEC.audit.digest
    assert directory.rule.read_text() == SPEC.audit.to_json()
    assert audit.draws[0].forgotten == len(audit.patients)
    assert {row.model for row in audit.relearning} == {"unlearned", "retrain-0"}
    assert all(len(row.taught) == 3 for row in audit.relearning)
    assert {"relearn-unlearned", "relearn-retrain-0", "audit"} <= set(stage_names(SPEC, directory))
    assert {row.name for row in audit.of_model("unlearned", channel="link")} >= {
        "population",
        "report_retrieval",
    }
    assert [one.model for one in audit.controls] == [
        "original"
    ]  # a third retrained model is wanted to leave one out
    assert not list((runs[0] / "state").glob("*"))


def test_what_a_run_cost_is_the_cost_of_every_stage(runs: list[Path]) -> None:
    told = {
        path.stem: json.loads(path.read_text())["cost"]["cpu_seconds"]
        for path in (runs[0] / "traces").glob("*")
    }
    assert set(told) == {
        "original",
        "retrain-0",
        "retrain-1",
        "unlearned",
        "relearn-unlearned",
        "relearn-retrain-0",
        "evaluate",
        "audit",
    }
    assert total_cpu_seconds(SPEC, RunDirectory(runs[0])) == pytest.approx(sum(told.values()))


def test_the_rule_is_older_than_any_signal_and_stays(runs: list[Path], tmp_path: Path) -> None:
    directory = RunDirectory(runs[0])
    first = min(path.stat().st_mtime_ns for path in (runs[0] / "signals").glob("*.npz"))
    assert directory.rule.stat().st_mtime_ns < first
    with pytest.raises(SpecError, match="not the one declared"):
        declare(directory, AuditSpec(rule=Rule(margin=0.2)))
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "original.npz").write_bytes(b"")
    with pytest.raises(SpecError, match="declared no rule before"):
        declare(RunDirectory(tmp_path), SPEC.audit)
    assert not (tmp_path / "rule.json").exists()


def test_the_rules_digest_is_told_and_what_a_note_of_it_proves(
    runs: list[Path], tmp_path: Path
) -> None:
    early, late = (notice(RunDirectory(root), SPEC.audit) for root in (tmp_path / "new", runs[0]))
    digest = hashlib.sha256((runs[0] / "rule.json").read_bytes()).hexdigest()
    assert (
        early
        == f"decision rule sha256 {digest}: note it elsewhere to prove later that it was fixed beforehand"
    )
    assert late.startswith(f"decision rule sha256 {digest}: signals are there already")


def test_auditing_again_gives_the_same_bytes(runs: list[Path], pages: list[Path]) -> None:
    before = (runs[0] / "audit.json").read_bytes()
    assert main(["audit", str(runs[0])]) == 0
    assert (runs[0] / "audit.json").read_bytes() == before
    assert pages == [runs[0] / "report.html"]


def test_two_forget_sets_are_pooled(
    runs: list[Path],
    pages: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["audit", *map(str, runs), "--out", str(tmp_path / "both")]) == 0
    both, one = found(tmp_path / "both"), found(runs[0])
    assert both.verdict.draws == 2
    assert (
        both.verdict.forgotten == sum(draw.forgotten for draw in both.draws) > one.verdict.forgotten
    )
    assert {row.draw for row in both.attacks} == {0, 1}
    assert "Verdict: " in capsys.readouterr().out
    assert pages == [tmp_path / "both" / "report.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["audit", "{0}", "{1}"], "--out is needed"),
        (["audit", "{0}", "{0}", "--out", "{tmp}"], "same patient"),
        (["audit", "{tmp}"], "not a run directory"),
        (["audit", "{0}", "--shadows", "{1}", "--out", "{tmp}"], "no directory of shadow models"),
    ],
)
def test_wrong_requests_are_explained(
    words: list[str],
    message: str,
    runs: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([word.format(*runs, tmp=tmp_path) for word in words]) == 2
    assert message in capsys.readouterr().err


def test_a_changed_rule_file_is_refused(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rule = runs[1] / "rule.json"
    text = rule.read_text()
    rule.write_text(text.replace('"margin": 0.1,', '"margin": 0.4,'))
    try:
        assert main(["audit", str(runs[1])]) == 2
        assert "rule.json is not the rule" in capsys.readouterr().err
    finally:
        rule.write_text(text)


def partition_of(runs: list[Path]) -> Partition:
    return read_partition(runs[0] / "partition.json", SPEC.cohort.load())


@pytest.mark.parametrize("models", [2, 5, 16])
def test_every_patient_is_in_half_of_the_shadow_models(models: int, runs: list[Path]) -> None:
    partition = partition_of(runs)
    masks = inside(plan_for(partition, models=models, unlearnings=0, seed=1), partition)
    asked = np.unique(
        partition.patient[np.concatenate([partition.forget, partition.retain, partition.holdout])]
    )
    assert (masks[:, asked].sum(0) == models // 2).all()
    assert not np.delete(masks, asked, axis=1).any()
    assert (
        masks != inside(plan_for(partition, models=models, unlearnings=0, seed=2), partition)
    ).any()


def test_shadow_forget_sets_are_disjoint_and_of_the_asked() -> None:
    partition = make_partition(SPEC.cohort.load(), forget=12.0, seed=3)
    plan = plan_for(partition, models=4, unlearnings=1, seed=0)
    asked = np.unique(partition.patient[np.concatenate([partition.forget, partition.holdout])])
    for at in range(4):
        sets = forget_sets(plan, partition, at)
        assert all(len(one) == plan.forgotten for one in sets)
        assert np.isin(np.concatenate(sets), asked[inside(plan, partition)[at, asked]]).all()
    with pytest.raises(SpecError, match="cannot be drawn"):
        plan_for(partition, models=4, unlearnings=40, seed=0)
    with pytest.raises(SpecError, match="too few"):
        plan_for(partition, models=1, unlearnings=0, seed=0)


def test_verifiers_share_no_patient_and_know_no_forgotten_one(runs: list[Path]) -> None:
    partition = partition_of(runs)
    plan = plan_for(partition, models=3, unlearnings=0, seed=1, retained_share=0.2)
    masks = inside(plan, partition)
    retained = np.unique(partition.patient[partition.retain])
    assert (masks.sum(1) == round(0.2 * len(retained))).all()
    assert masks.sum(0).max() == 1
    assert not np.delete(masks, retained, axis=1).any()
    other = plan_for(partition, models=3, unlearnings=0, seed=2, retained_share=0.2)
    assert (masks != inside(other, partition)).any()
    for models, share, unlearnings in ((6, 0.2, 0), (1, 0.01, 0), (3, 0.2, 1)):
        with pytest.raises(SpecError, match=r"cannot be drawn|nobody to unlearn"):
            plan_for(
                partition, models=models, unlearnings=unlearnings, seed=0, retained_share=share
            )


def test_verifiers_and_shadow_models_are_not_taken_for_each_other(tmp_path: Path) -> None:
    cohort = SPEC.cohort.load()
    first, other = (make_partition(cohort, forget=12.0, seed=3, draw=draw) for draw in (0, 1))

    def finished(share: float) -> None:
        plan = plan_for(first, models=2, unlearnings=0, seed=0, retained_share=share)
        write_json(tmp_path / "plan.json", dataclasses.asdict(plan))

    (tmp_path / "signals").mkdir()
    for number in range(2):
        (tmp_path / "signals" / f"shadow-00{number}.npz").touch()
    finished(0.0)
    with pytest.raises(SpecError, match="not ignorant"):
        read_verifiers(tmp_path, cohort=cohort, partition=first)
    finished(0.2)
    with pytest.raises(SpecError, match="these are ignorance verifiers"):
        read_pools(tmp_path, cohort=cohort, partition=first)

    # Of another forget set some may have been taught to a verifier
    with pytest.raises(SpecError, match="other sets"):
        read_verifiers(tmp_path, cohort=cohort, partition=other)


@pytest.mark.slow
def test_verifiers_are_made_and_judge(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, out = tmp_path / "pool", tmp_path / "audit"
    words = [
        "shadows",
        str(runs[0]),
        "--out",
        str(pool),
        "--models",
        "2",
        "--retained-share",
        "0.3",
    ]
    assert main([*words, "--estimate"]) == 0
    assert "2 ignorance verifiers: about" in capsys.readouterr().out
    assert main(words) == 0
    verifiers = read_verifiers(pool, cohort=SPEC.cohort.load(), partition=partition_of(runs))
    assert len({one.model for one in verifiers}) == 2
    assert "--verifiers" in capsys.readouterr().out

    # The same run with them: the attack was not declared there, so that it is made here
    draw = read_draw(RunDirectory(runs[0]), SPEC.cohort.load(), partition_of(runs), seed=SPEC.seed)
    knowledge = dataclasses.replace(draw, verifiers=verifiers).knowledge(draw.partition, seed=0)
    output = Ignorance().apply(dataclasses.replace(knowledge, task=SPEC.cohort.load().task))
    assert output.counts["verifiers"] == 2
    assert 0 <= output.details["agreement_forget"] <= 1
    assert main(["audit", str(runs[0]), "--verifiers", str(pool), "--out", str(out)]) == 0
    assert found(out).outcome == found(runs[0]).outcome


def test_a_pool_of_other_sets_is_refused(tmp_path: Path) -> None:
    """Who was in and who was unlearned is drawn again from the partition: another one would give other masks."""
    cohort = SPEC.cohort.load()
    first, other = (make_partition(cohort, forget=12.0, seed=3, draw=draw) for draw in (0, 1))
    size = np.bincount(first.patient)
    kept, aside = first.patient[first.retain], first.patient[first.validation]
    leaves, enters = next((a, b) for a in kept for b in aside if size[a] == size[b])
    swapped = dataclasses.replace(
        first,
        retain=np.flatnonzero(np.isin(first.patient, [*kept[kept != leaves], enters])),
        validation=np.flatnonzero(np.isin(first.patient, [*aside[aside != enters], leaves])),
    )
    for partition, unlearnings, message in (
        (first, 1, "0 of 2"),
        (other, 1, "other sets"),
        (other, 0, "0 of 2"),
        (swapped, 0, "other sets"),
    ):
        write_json(
            tmp_path / "plan.json",
            dataclasses.asdict(plan_for(first, models=2, unlearnings=unlearnings, seed=0)),
        )
        with pytest.raises(SpecError, match=message):
            read_pools(tmp_path, cohort=cohort, partition=partition)


@pytest.mark.slow
def test_shadow_models_serve_the_attacks_and_resume(
    runs: list[Path],
    pages: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool = tmp_path / "pool"
    words = ["shadows", str(runs[0]), "--out", str(pool), "--models", "4", "--unlearnings", "1"]
    assert main([*words, "--estimate"]) == 0
    assert "4 shadow models (they serve RMIA and IAM)" in capsys.readouterr().out
    assert not pool.exists()
    assert main(words) == 0
    files = {path: path.read_bytes() for path in sorted((pool / "signals").glob("*.npz"))}
    assert len(files) == 8
    assert not list(pool.glob("models/*"))
    cohort, partition = SPEC.cohort.load(), partition_of(runs)
    plain, unlearned = read_pools(pool, cohort=cohort, partition=partition)
    assert unlearned is not None
    assert (len(plain.signals), len(unlearned.signals)) == (4, 4)
    assert (unlearned.forgotten.sum(1) == len(np.unique(partition.patient[partition.forget]))).all()
    lost = pool / "signals" / "shadow-000.npz"
    lost.unlink()
    assert (
        main(["audit", str(runs[0]), "--shadows", str(pool), "--out", str(tmp_path / "early")]) == 2
    )
    assert "3 of 4 shadow models" in capsys.readouterr().err
    assert main(words) == 0
    assert {path: path.read_bytes() for path in files} == files
    before = states(pool)
    capsys.readouterr()
    assert main(words) == 0
    assert "The pool is finished already. Nothing was done." in capsys.readouterr().out
    assert states(pool) == before
    assert (
        main(["audit", str(runs[0]), "--shadows", str(pool), "--out", str(tmp_path / "audit")]) == 0
    )
    audit = found(tmp_path / "audit")
    assert audit.draws[0].shadows == 4
    assert pages
    rows = {row.name: row for row in audit.of_model("unlearned", channel="image")}
    assert "at least 16 are wanted" in rows["lira_online"].note
    few = {row.name: row.reason for row in audit.missing}
    assert "fewer than two models" in few.get("u_lira", "") or "at least" in rows["u_lira"].note
    assert main([*words[:-1], "0"]) == 2
    assert "another pool" in capsys.readouterr().err


def test_the_declaration_is_text_with_a_digest() -> None:
    from forgetmi.core.serialization import from_plain

    declared = AuditSpec(rule=Rule(margin=0.07), attacks=("rmia",), relearn_epochs=3)
    assert (
        from_plain(AuditSpec, json.loads(declared.to_json()), where="rule", complete=True)
        == declared
    )
    assert declared.digest != RunSpec().audit.digest
    with pytest.raises(SpecError) as error:
        AuditSpec(utility_margin=0.6, subgroup_margin=0.0, relearn_lr=0.0, attacks=("rmai",))
    assert len(error.value.faults) == 4
    assert "rmia" in str(error.value)
