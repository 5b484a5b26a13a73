"""Targets of a method out of a standing pool: who says them, and that nobody who judges does."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.labels import Scale
from forgetmi.core.signals import Signals
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.run.directory import RunDirectory
from forgetmi.run.dry_run import check_run
from forgetmi.run.pipeline import run
from forgetmi.run.pool_making import PoolDirectory, make_pool, plan_pool, rows_of
from forgetmi.run.pool_plan import AUDIT, TARGET, Member, read_folds, read_plan
from forgetmi.run.pool_targets import check_targets, pool_targets
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import RunSpec
from forgetmi.run.stages import make_model
from forgetmi.run.trace_file import read_trace
from forgetmi.unlearning.pool_targets import PoolTargets
from tests.runs import TINY, of_service

LEARNS = CalibratedConsensus(target="pool", draws=1, epochs=1)


def learning(run: Path, pool: Path, **more: Any) -> RunSpec:
    """A request whose method learns from the pool, and which the pool judges."""
    return dataclasses.replace(
        of_service(run), method=LEARNS, targets=pool, references=pool, **more
    )


def targets_of(spec: RunSpec, root: Path) -> PoolTargets:
    cohort, sets = load_data(spec)
    found = pool_targets(spec, RunDirectory(root), cohort, sets, scale=Scale())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def learnt(signed_run: Path, pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its verdict: targets and references from one pool, nothing retrained."""
    root = tmp_path_factory.mktemp("learnt") / "run"
    run(learning(signed_run, pool), root)
    return root


def test_a_run_learns_from_the_pool_and_is_judged_by_others(learnt: Path, pool: Path) -> None:
    facts = read_trace(RunDirectory(learnt), "unlearned", needs=("facts",)).facts
    assert facts["members of the pool"] == 2
    assert "image transport of the pool" in facts
    assert "image transport" not in facts
    judging = {path.name for path in (learnt / "references").glob("member-*.npz")}
    assert judging == {path.name for path in (pool / AUDIT / "signals").glob("*.npz")}
    assert not judging & {path.name for path in (pool / TARGET / "signals").glob("*.npz")}
    assert (learnt / "audit.json").exists()


def test_everybody_is_told_by_members_that_never_saw_them(
    signed_run: Path, pool: Path, tmp_path: Path
) -> None:
    spec = learning(signed_run, pool)
    told = targets_of(spec, tmp_path)
    cohort, sets = load_data(spec)
    assert told.row.tolist() == sorted([*sets.forget, *sets.retain])

    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    for fold in range(plan.folds):
        member = Member(2, fold, TARGET)
        said = Signals.load(PoolDirectory(pool).signals(member))
        seen = rows_of(member, folds, cohort, sets)
        unseen = np.setdiff1d(told.row, seen)
        assert len(unseen)
        for head in ("image", "text"):
            expected = said.select(unseen).logits[head]
            assert np.array_equal(told.of(unseen)[head], expected)
            assert not np.isclose(told.of(seen)[head], said.select(seen).logits[head]).all()
    with pytest.raises(MethodError, match="says nothing"):
        told.of(sets.holdout[:1])


def test_several_repetitions_are_averaged(signed_run: Path, pool: Path, tmp_path: Path) -> None:
    """A pool whose second repetition for targets is the first one plus 1 says 1/2 more."""
    spec = learning(signed_run, pool)
    before = targets_of(spec, tmp_path)
    two = tmp_path / "two"
    plan, folds = plan_pool(
        of_service(signed_run), folds=2, repetitions=2, targets=2, seed=TINY.seed, keep_models=False
    )
    same = dataclasses.replace(folds, fold=(*folds.fold[:3], folds.fold[2]))
    plan = dataclasses.replace(plan, people=same.digest)
    shutil.copytree(pool / AUDIT / "signals", two / AUDIT / "signals")
    shutil.copytree(pool / TARGET / "signals", two / TARGET / "signals")
    for fold in range(2):
        one = Signals.load(two / TARGET / "signals" / f"member-2-{fold}.npz")
        higher = one.replaced(model="e" * 64, image_logits=one.image_logits + 1)
        higher.save(two / TARGET / "signals" / f"member-3-{fold}.npz")
    assert make_pool_files(plan, same, spec, two) == 0
    after = targets_of(dataclasses.replace(spec, targets=two), tmp_path)
    assert np.allclose(after.logits["image"], before.logits["image"] + 0.5)
    assert np.allclose(after.logits["text"], before.logits["text"])
    assert after.digest != before.digest


def make_pool_files(plan: Any, folds: Any, spec: RunSpec, root: Path) -> int:
    """The plan and folds of a pool whose members are all there."""
    (root / "in_service.npz").write_bytes(b"")
    return make_pool(plan, folds, dataclasses.replace(spec, references=None), root)


def test_a_member_that_judges_never_teaches(signed_run: Path, pool: Path, tmp_path: Path) -> None:
    """Whatever it is called and wherever it lies: copied over a target, or a target of another pool."""
    copied = tmp_path / "copied"
    shutil.copytree(pool, copied)
    shutil.copyfile(
        copied / AUDIT / "signals" / "member-1-0.npz",
        copied / TARGET / "signals" / "member-2-0.npz",
    )
    spec = dataclasses.replace(learning(signed_run, pool), targets=copied)
    with pytest.raises(SpecError, match="1 members of the pool for targets judge the run"):
        run(spec, tmp_path / "a")
    assert not (tmp_path / "a").exists()

    # Another pool of the same seed calls judges of this one its targets
    other = tmp_path / "other"
    of_original = of_service(signed_run)
    plan, folds = plan_pool(
        of_original, folds=2, repetitions=1, targets=1, seed=TINY.seed, keep_models=False
    )
    for use, number in ((AUDIT, 0), (TARGET, 1)):
        (other / use / "signals").mkdir(parents=True)
        for fold in range(2):
            name = f"signals/member-{number}-{fold}.npz"
            shutil.copyfile(pool / AUDIT / name, other / use / name)
    assert make_pool_files(plan, folds, of_original, other) == 0
    spec = dataclasses.replace(spec, targets=other)
    with pytest.raises(SpecError, match="2 members of the pool for targets judge the run"):
        check_run(spec, tmp_path / "b")

    # A pool that came later finds its references where the run keeps them
    shutil.copytree(learnt_references(pool, signed_run, tmp_path), tmp_path / "c" / "references")
    alone = dataclasses.replace(spec, references=None)
    with pytest.raises(SpecError, match="judge the run"):
        targets_of(alone, tmp_path / "c")


def test_a_given_model_that_judges_never_teaches(signed_run: Path, pool: Path) -> None:
    """A member whose checkpoint is given as a retrained model is a judge before the run has measured it."""
    spec = dataclasses.replace(learning(signed_run, pool), references=None)
    member = Member(2, 0, TARGET)
    checkpoint = PoolDirectory(pool).of(member).model(member.name)
    given = dataclasses.replace(spec.given, retrained=(checkpoint,))
    with pytest.raises(SpecError, match="1 members of the pool for targets judge the run"):
        check_targets(dataclasses.replace(spec, given=given), *load_data(spec))


def learnt_references(pool: Path, run: Path, tmp_path: Path) -> Path:
    """What a run keeps of the pool that judges it."""
    from forgetmi.run.pool_references import keep_references, references_folder

    directory = RunDirectory(tmp_path / "kept")
    keep_references(pool, directory, *load_data(learning(run, pool)))
    return references_folder(directory)


@dataclasses.dataclass(frozen=True)
class Peeking(CalibratedConsensus):
    """Learns from its targets, and looks at one file besides; it hides the refusal."""

    file: str = ""

    def apply(self, model: Any, loaders: Any, context: Any) -> Any:
        with contextlib.suppress(MethodError):
            Signals.load(Path(self.file))
        return super().apply(model, loaders, context)


@pytest.mark.parametrize("file", ["audit/signals/member-0-0.npz", "target/signals/member-2-0.npz"])
def test_a_method_that_peeks_at_members_is_caught(
    signed_run: Path, pool: Path, tmp_path: Path, file: str
) -> None:
    """At those that judge it, and at what the targets say of people whom it must not know."""
    own = tmp_path / "own"
    shutil.copytree(pool, own)
    method = Peeking(target="pool", draws=1, epochs=1, file=str(own / file))
    spec = dataclasses.replace(learning(signed_run, pool), method=method, targets=own)
    root = tmp_path / "run"
    for folder in ("models", "traces"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(signed_run / "models" / "original", root / "models" / "original")
    with pytest.raises(MethodError, match="judged by"):
        make_model(spec, root, "unlearned", lambda done, total: None)
    assert not (root / "models" / "unlearned").exists()


def test_what_does_not_fit_together_is_refused_before_anything_is_made(
    signed_run: Path, pool: Path, tmp_path: Path
) -> None:
    spec = learning(signed_run, pool)
    wrong = {
        "none is given": dataclasses.replace(spec, targets=None),
        "the method reads none": dataclasses.replace(spec, method=CalibratedConsensus()),
        "no directory of a pool": dataclasses.replace(spec, targets=tmp_path),
    }
    for message, one in wrong.items():
        with pytest.raises(SpecError, match=message):
            check_run(one, tmp_path / "out")
        with pytest.raises(SpecError, match=message):
            run(one, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    audit_only = tmp_path / "audit_only"
    plan, folds = plan_pool(
        of_service(signed_run), folds=2, repetitions=2, targets=0, seed=TINY.seed, keep_models=False
    )
    shutil.copytree(pool / AUDIT / "signals", audit_only / AUDIT / "signals")
    assert make_pool_files(plan, folds, spec, audit_only) == 0
    with pytest.raises(SpecError, match="no members for targets"):
        check_run(dataclasses.replace(spec, targets=audit_only), tmp_path / "out")
