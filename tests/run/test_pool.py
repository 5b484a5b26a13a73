"""A standing pool: who is left out by which member, references without a retraining, early warning, and the wall."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.audit.memorisation import memorised, risk_by_group
from forgetmi.cli import main
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.listed_people import ListedPeople
from forgetmi.cohort.model_patients import read_patients
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.pooled_signals import PooledSignals
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.toy import toy_knowledge
from forgetmi.evaluation.link import contrast, retrieval_rank
from forgetmi.evidence.verify import verify
from forgetmi.methods.fine_tune import FineTune
from forgetmi.run import pool_making
from forgetmi.run.closed_folders import closed_to_method
from forgetmi.run.finish import finish
from forgetmi.run.pool_making import PoolDirectory, make_pool, plan_pool, rows_of
from forgetmi.run.pool_plan import (
    AUDIT,
    TARGET,
    Folds,
    Member,
    PoolPlan,
    draw_folds,
    read_folds,
    read_plan,
)
from forgetmi.run.pool_references import pool_references, references_in, speaking
from forgetmi.run.pool_risk import pool_risk
from forgetmi.run.pool_standby import standbys
from forgetmi.run.recompute import metrics
from forgetmi.run.run_data import divide, load_data
from forgetmi.run.spec import GivenModels
from forgetmi.run.stages import make_model
from tests.runs import TINY, of_service, unnamed


@pytest.fixture(scope="module")
def judged(signed_run: Path, pool: Path) -> Path:
    """A run whose references come from the pool."""
    spec = dataclasses.replace(of_service(signed_run), references=pool, request=TINY.request)
    attacks = (*TINY.audit.attacks, "representation_residual")
    spec = dataclasses.replace(spec, audit=dataclasses.replace(TINY.audit, attacks=attacks))
    root = pool.parent / "judged"
    finish(spec, root, command=["forgetmi", "run"])
    return root


def test_everybody_is_in_one_fold_and_groups_stay_together() -> None:
    cohort, sets = load_data(TINY)
    pairs = {str(patient): f"g{n // 2}" for n, patient in enumerate(sorted(set(cohort.patient)))}
    in_pairs = dataclasses.replace(
        cohort, group=np.array([pairs[str(one)] for one in cohort.patient])
    )
    drawn = draw_folds(in_pairs, sets, folds=3, repetitions=2, seed=1)
    side = np.concatenate([sets.forget, sets.retain])
    assert set(drawn.patients) == set(map(str, cohort.patient[side]))

    for repetition in range(2):
        fold_of = dict(zip(drawn.patients, drawn.fold[repetition], strict=True))
        assert set(fold_of.values()) == {0, 1, 2}
        for group in set(pairs.values()):
            assert len({fold_of[p] for p in fold_of if pairs[p] == group}) <= 1
        groups = [{pairs[p] for p in fold_of if fold_of[p] == fold} for fold in range(3)]
        sizes = [len(group) for group in groups]
        assert max(sizes) - min(sizes) <= 1
    assert drawn.fold[0] != drawn.fold[1]


def test_folds_depend_on_people_and_not_on_rows() -> None:
    cohort, sets = load_data(TINY)
    swapped = dataclasses.replace(sets, forget=sets.retain, retain=sets.forget)
    one = draw_folds(cohort, sets, folds=2, repetitions=1, seed=4)
    assert one == draw_folds(cohort, swapped, folds=2, repetitions=1, seed=4)
    assert one != draw_folds(cohort, sets, folds=2, repetitions=1, seed=5)


def test_who_withdrew_earlier_is_in_no_fold() -> None:
    cohort, sets = load_data(TINY)
    gone = sets.forget[sets.patient[sets.forget] == sets.patient[sets.forget[0]]]
    drawn = draw_folds(
        cohort, dataclasses.replace(sets, earlier=gone), folds=2, repetitions=1, seed=0
    )
    assert not {*map(str, cohort.patient[gone])} & {*drawn.patients}


@pytest.mark.parametrize("folds", [0, 1, 10_000])
def test_impossible_folds_are_refused(folds: int) -> None:
    with pytest.raises(SpecError, match="folds are not possible"):
        draw_folds(*load_data(TINY), folds=folds, repetitions=1, seed=0)


def test_a_member_is_trained_on_everybody_but_its_fold(pool: Path) -> None:
    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    cohort, sets = load_data(TINY)
    side = np.sort(np.concatenate([sets.forget, sets.retain]))
    for member in plan.members():
        facts = PoolDirectory(pool).of(member).model(member.name) / "model.json"
        plain = json.loads(facts.read_text())["extra"]["patients"]
        trained = {*read_patients(plain, where="").trained.patients}
        rows = rows_of(member, folds, cohort, sets)
        assert trained == set(map(str, cohort.patient[rows]))
        fold = folds.of(member.repetition, cohort.patient[side])
        left_out = set(map(str, cohort.patient[side[fold == member.fold]]))
        assert left_out
        assert trained | left_out == set(map(str, cohort.patient[side]))
        assert not trained & left_out


def test_who_speaks_for_whom() -> None:
    patients = np.array(["a", "a", "b", "c", "c", "d", "stranger", "stranger"])
    folds = Folds(("a", "b", "c", "d"), ((0, 1, 2, 1),))
    plan = PoolPlan(3, 1, 0, 7, False, "", "", TINY.training, folds.digest)
    forgotten = np.array([0, 1, 3, 4])
    speaks = speaking(plan, folds, 0, patients, forgotten=forgotten)
    assert speaks[[0, 1]].tolist() == [0, 0]  # left a out
    assert speaks[[3, 4]].tolist() == [2, 2]
    assert speaks[2] != 1  # b and d are retained: somebody who was trained on them
    assert speaks[5] != 1
    assert speaks[6] == speaks[7]
    assert set(speaks) <= {0, 1, 2}

    # Strangers are dealt out among all members, and anew in each request with another seed
    many = np.array([f"s{n}" for n in range(300)])
    counts = np.bincount(speaking(plan, folds, 0, many, forgotten=np.array([], int)), minlength=3)
    assert counts.min() > 60
    other = dataclasses.replace(plan, seed=8)
    assert not np.array_equal(
        speaking(plan, folds, 0, many, forgotten=np.array([], int)),
        speaking(other, folds, 0, many, forgotten=np.array([], int)),
    )


def test_signals_of_several_models_are_those_of_the_speaking_ones() -> None:
    toy = toy_knowledge()
    members = [toy.signals["original"], toy.signals["retrain-0"], toy.signals["retrain-1"]]
    member = np.arange(len(members[0])) % 3
    pooled = PooledSignals.of(members, member)
    order = np.array([5, 0, 9, 3])
    chosen = pooled.select(order)
    for place, row in enumerate(order):
        expected = members[row % 3].select(np.array([row]))
        for name, values in expected.named().items():
            assert np.array_equal(chosen.named()[name][place], values[0]), name

    # What compares rows does so within one model: a slow oracle, row by row
    gallery = pooled.select(np.arange(20))
    contrasts = contrast(chosen, gallery)
    ranks = retrieval_rank(chosen, gallery, among=5)
    for place, row in enumerate(order):
        model, one = members[row % 3], np.array([row])
        own = model.select(one), model.select(np.arange(20))
        assert contrasts[place] == pytest.approx(contrast(*own)[0], abs=1e-12)
        assert ranks[place] == pytest.approx(retrieval_rank(*own, among=5)[0], abs=1e-12)

    # The same model throughout is that model
    alone = PooledSignals.of([members[0], members[0]], member % 2)
    assert np.allclose(contrast(alone, alone), contrast(members[0], members[0]))
    assert alone.model != pooled.model
    with pytest.raises(TypeError, match="one by one"):
        pooled.save(Path("nowhere"))


def test_a_request_is_judged_by_the_pool_and_nothing_is_retrained(
    judged: Path, signed_run: Path
) -> None:
    assert sorted(path.name for path in (judged / "models").iterdir()) == ["original", "unlearned"]
    audit = json.loads((judged / "audit.json").read_text())
    assert {"retrain-0", "retrain-1"} <= audit["draws"][0]["models"].keys()
    stored = json.loads((judged / "metrics.json").read_text())
    assert "retrain-1" in json.dumps(stored)
    assert "standing pool" in (judged / "report.html").read_text(encoding="utf-8")

    # The evidence stands without the pool, and the record says what the references are
    checked = verify(judged)
    assert any("standing pool" in sentence for sentence in checked.record.decision.statements)
    assert not any(
        "standing pool" in sentence for sentence in verify(signed_run).record.decision.statements
    )
    assert any(name.startswith("references/") for name in checked.record.files)
    compared, largest = metrics(judged, checked.record)
    assert compared > 100
    assert largest < 1e-9

    # Rows of several models are not compared in one space
    refused = [one for one in audit["missing"] if one["name"] == "representation_residual"]
    assert refused
    assert all("several models" in one["reason"] for one in refused if one["channel"] != "link")
    assert not [
        one for one in audit["attacks"] if one["name"] == "linear_probe" and one["retrained"]
    ]


def test_no_reference_has_seen_anybody_who_is_forgotten(judged: Path, pool: Path) -> None:
    cohort, sets = load_data(of_service(judged))
    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    references = pool_references(pool_making.RunDirectory(judged), sets)
    assert sorted(references) == ["retrain-0", "retrain-1"]
    for repetition, reference in enumerate(references.values()):
        for row in sets.forget:
            member = Member(repetition, int(reference.member[row]), AUDIT)
            assert row not in rows_of(member, folds, cohort, sets)
        for row in sets.retain:
            member = Member(repetition, int(reference.member[row]), AUDIT)
            assert row in rows_of(member, folds, cohort, sets)


def test_members_for_targets_never_judge(pool: Path) -> None:
    plan = read_plan(pool)
    uses = {use: {m.name for m in plan.members() if m.use == use} for use in (AUDIT, TARGET)}
    assert len(uses[AUDIT]) == 4
    assert len(uses[TARGET]) == 2
    assert not uses[AUDIT] & uses[TARGET]
    models = {
        PoolDirectory(pool).signals(m): Signals.load(PoolDirectory(pool).signals(m)).model
        for m in plan.members()
    }
    assert len(set(models.values())) == 6
    references = references_in(pool, pool / AUDIT / "signals", forgotten=np.array([0]))
    judging = {one.model for reference in references.values() for one in reference.members}
    assert len(judging) == 4


@dataclasses.dataclass(frozen=True)
class Peeking(FineTune):
    """Looks at what it is judged by, and tries to hide that."""

    file: str = ""
    hides: bool = True

    def apply(self, *given: Any) -> Any:
        peek(Path(self.file), hides=self.hides)
        return super().apply(*given)


def peek(file: Path, *, hides: bool) -> None:
    try:
        Signals.load(file)
    except MethodError:
        if not hides:
            raise


@pytest.mark.parametrize("hides", [True, False])
def test_what_is_closed_cannot_be_read_by_another_name(
    pool: Path, tmp_path: Path, hides: bool
) -> None:
    target = pool / AUDIT / "signals" / "member-0-0.npz"
    (tmp_path / "link").symlink_to(target)
    with (
        pytest.raises(MethodError, match="models that it is judged by"),
        closed_to_method([pool / AUDIT]),
    ):
        peek(tmp_path / "link", hides=hides)

    # What is not closed can be read, and after the block everything can
    with closed_to_method([pool / AUDIT]):
        Signals.load(pool / TARGET / "signals" / "member-2-0.npz")
    Signals.load(target)


def test_a_run_of_such_a_method_ends_with_an_error(
    signed_run: Path, pool: Path, tmp_path: Path
) -> None:
    peeking = Peeking(epochs=1, file=str(pool / AUDIT / "signals" / "member-1-1.npz"))
    spec = dataclasses.replace(of_service(signed_run), references=pool, method=peeking)
    root = tmp_path / "run"
    for folder in ("models", "traces"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(signed_run / "models" / "original", root / "models" / "original")
    with pytest.raises(MethodError, match="judged by"):
        make_model(spec, root, "unlearned", lambda done, total: None)
    assert not (root / "models" / "unlearned").exists()


def test_a_pool_that_cannot_speak_is_refused(signed_run: Path, pool: Path, tmp_path: Path) -> None:
    spec = of_service(signed_run)
    with pytest.raises(SpecError, match="a pool and retrained models are given"):
        dataclasses.replace(
            spec,
            references=pool,
            given=GivenModels(spec.given.original, retrained=(Path("x"),)),
        )

    unfinished = tmp_path / "unfinished"
    shutil.copytree(pool, unfinished)
    (unfinished / AUDIT / "signals" / "member-0-1.npz").unlink()
    with pytest.raises(SpecError, match="1 members are missing"):
        finish(dataclasses.replace(spec, references=unfinished), tmp_path / "a", command=[])

    # A model with other sides: some were never seen by it, and the pool was trained on them
    others = dataclasses.replace(TINY, seed=9, retrains=0, references=pool)
    with pytest.raises(SpecError, match="whom the run calls never seen"):
        finish(others, tmp_path / "b", command=[])

    no_pool = dataclasses.replace(spec, references=tmp_path)
    with pytest.raises(SpecError, match="no directory of a pool"):
        finish(no_pool, tmp_path / "c", command=[])


def test_an_interrupted_pool_goes_on_to_the_same_bits(
    signed_run: Path, pool: Path, tmp_path: Path
) -> None:
    spec, root = of_service(signed_run), tmp_path / "pool"
    shutil.copytree(pool, root)
    lost = root / AUDIT / "signals" / "member-1-0.npz"
    before = lost.read_bytes()
    lost.unlink()
    shutil.rmtree(root / AUDIT / "models" / "member-1-0")
    plan = read_plan(root)
    assert make_pool(plan, read_folds(root, plan), spec, root) == 1
    assert lost.read_bytes() == before
    assert make_pool(plan, read_folds(root, plan), spec, root) == 0

    other, folds = plan_pool(spec, folds=3, repetitions=1, targets=0, seed=1, keep_models=False)
    with pytest.raises(SpecError, match="another pool"):
        make_pool(other, folds, spec, root)


def test_models_are_kept_only_on_request(signed_run: Path, tmp_path: Path) -> None:
    spec, root = of_service(signed_run), tmp_path / "pool"
    plan, folds = plan_pool(spec, folds=2, repetitions=1, targets=0, seed=2, keep_models=False)
    make_pool(plan, folds, spec, root)
    left = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert left == [
        ".lock",
        "audit/signals/member-0-0.npz",
        "audit/signals/member-0-1.npz",
        "folds.json",
        "in_service.npz",
        "plan.json",
        "spec.yaml",
    ]


def test_folds_that_were_changed_are_refused(pool: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pool"
    shutil.copytree(pool, copy)
    plain = json.loads((copy / "folds.json").read_text())
    plain["fold"][0][0] = 1 - plain["fold"][0][0]
    (copy / "folds.json").write_text(json.dumps(plain))
    with pytest.raises(SpecError, match="not those of the pool's plan"):
        read_folds(copy, read_plan(copy))


def test_early_warning_names_planted_patients_and_nobody_else(pool: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pool"
    shutil.copytree(pool, copy)
    spec = of_service(pool.parent)
    cohort, sets = load_data(TINY)
    references = references_in(copy, copy / AUDIT / "signals", forgotten=sets.retain)
    reference = references["retrain-0"]

    # A model in service that says what a reference says, but knows one patient by heart
    patient = sets.patient[sets.retain[0]]
    planted = np.flatnonzero((sets.patient == patient) & (cohort.label >= 0))
    assert len(planted)
    logits = {}
    for head, values in reference.logits.items():
        logits[head] = values.copy()
        logits[head][planted, cohort.label[planted]] += 9.0
    Signals(
        reference.model,
        reference.cohort,
        reference.row,
        reference.patient,
        reference.study,
        reference.label,
        logits,
        reference.embedding,
    ).save(copy / "in_service.npz")

    found = pool_risk(copy, resamples=50)
    assert spec.cohort == TINY.cohort
    for head in ("image", "text"):
        memory = found.by_channel[head]
        most = memory.patient[memory.value.argmax()]
        assert found.digests[most] == cohort.patient[planted[0]]
        assert memory.exposed[memory.value.argmax()] == 1.0
        assert memory.value.max() > 5
        everybody = found.groups[head][0]
        assert (everybody.column, everybody.patients) == ("", len(memory.patient))
        assert everybody.mean == pytest.approx(memory.value.mean())


def test_memorisation_is_the_difference_of_means() -> None:
    toy = toy_knowledge()
    found = memorised(dataclasses.replace(toy, channel="image"))
    model = dataclasses.replace(toy, channel="image", target="original")
    outside = model.signal(toy.signals["original"], "holdout") - np.mean(
        [model.signal(toy.signals[name], "holdout") for name in ("retrain-0", "retrain-1")], axis=0
    )
    for name in ("forget", "retain"):
        own = model.signal(toy.signals["original"], name)
        others = [model.signal(toy.signals[r], name) for r in ("retrain-0", "retrain-1")]
        places = np.searchsorted(found.patient, model.patients(name).code)
        expected = own - np.mean(others, axis=0) - outside.mean()
        assert np.allclose(found.value[places], expected)

    # Subgroups: the planted one stands out, unknown values are left out
    column = np.array([""] * (found.patient.max() + 1), dtype=object)
    column[found.patient] = np.where(found.value > np.median(found.value), "high", "low")
    column[found.patient[0]] = ""
    rows = risk_by_group(found, {"half": column.astype(str)}, resamples=200, seed=0)
    assert [row.value for row in rows] == ["", "high", "low"]
    assert rows[1].mean > rows[0].mean > rows[2].mean
    assert sum(row.patients for row in rows[1:]) == rows[0].patients - 1
    assert all(row.interval and row.interval[0] <= row.mean <= row.interval[1] for row in rows)


def test_a_model_that_names_nobody_has_no_pool(signed_run: Path, tmp_path: Path) -> None:
    checkpoint = unnamed(signed_run / "models" / "original", tmp_path / "model")
    spec = dataclasses.replace(of_service(signed_run), given=GivenModels(checkpoint))
    with pytest.raises(SpecError, match="does not name the patients"):
        plan_pool(spec, folds=2, repetitions=1, targets=0, seed=0, keep_models=False)
    named = of_service(signed_run)
    with pytest.raises(SpecError, match="0 is not possible"):
        plan_pool(named, folds=2, repetitions=0, targets=0, seed=0, keep_models=False)
    assert divide(named, named.cohort.load())


def test_the_commands_say_what_a_pool_costs_and_whom_it_warns_of(
    signed_run: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = ["--model", str(signed_run / "models" / "original")]
    assert main(["pool", "make", *service, "--out", str(tmp_path / "p"), "--estimate"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("10 members of ")
    assert "the work of 8 trainings, about " in printed
    assert not (tmp_path / "p").exists()

    assert main(["pool", "risk", str(pool), "--out", str(tmp_path / "risk.csv")]) == 0
    printed = capsys.readouterr().out
    assert "image: " in printed
    assert "link: " in printed
    lines = (tmp_path / "risk.csv").read_text().splitlines()
    patients = len(read_folds(pool, read_plan(pool)).patients)
    assert lines[0] == "patient,channel,memorised,exposed"
    assert len(lines) - 1 >= patients
    assert not {line.split(",")[0] for line in lines} & {f"P{number:06d}" for number in range(40)}

    assert main(["pool", "risk", str(tmp_path)]) == 2
    assert main(["pool", "make", *service, "--out", str(tmp_path / "p"), "--folds", "1"]) == 2
    assert "1 folds are not possible" in capsys.readouterr().err


def test_a_withdrawal_says_that_nothing_is_retrained(
    signed_run: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, sets = load_data(TINY)
    (tmp_path / "who.csv").write_text(f"patient_id\n{raw_identifier(cohort, sets)}\n")
    words = ["withdraw", "--model", str(signed_run / "models" / "original"), "--dry-run"]
    words += ["--list", str(tmp_path / "who.csv"), "--references", str(pool)]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "Nothing is retrained: the pool gives 2 references." in capsys.readouterr().out


def raw_identifier(cohort: Cohort, sets: Partition) -> str:
    """The identifier of a retained patient as the generated table has it."""
    key = Pseudonyms(load_key(None))
    wanted = str(cohort.patient[sets.retain[0]])
    return next(name for n in range(40) if key.digest("patient", name := f"P{n:06d}") == wanted)


def test_a_member_that_never_saw_the_listed_stands_by(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    first = ListedPeople((folds.patients[0],), ())
    found = standbys(pool, first)
    assert len(found) == plan.repetitions + plan.targets
    for one in found:
        assert one.checkpoint is not None
        plain = json.loads((one.checkpoint / "model.json").read_text())["extra"]["patients"]
        assert folds.patients[0] not in read_patients(plain, where="").trained.patients

    # Everybody lies in several folds; a stranger among the listed changes nothing
    assert standbys(pool, ListedPeople(folds.patients, ())) == []
    assert standbys(pool, ListedPeople((folds.patients[0], "0" * 16), ())) == found
    with pytest.raises(SpecError, match="names studies"):
        standbys(pool, ListedPeople((), ("0" * 16,)))

    (tmp_path / "who.csv").write_text(f"patient_digest\n{folds.patients[0]}\n")
    assert main(["pool", "standby", str(pool), "--list", str(tmp_path / "who.csv")]) == 0
    assert "was trained on none of them: " in capsys.readouterr().out


def test_with_another_key_no_member_stands_by(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else every member would be called one that never saw the patient, and serve although it did."""
    cohort, sets = load_data(TINY)
    (tmp_path / "who.csv").write_text(f"patient_id\n{raw_identifier(cohort, sets)}\n")
    words = ["pool", "standby", str(pool), "--list", str(tmp_path / "who.csv")]
    assert main(words) == 0
    capsys.readouterr()

    (tmp_path / "key").write_bytes(b"another key of thirty-two bytes!")
    (tmp_path / "key").chmod(0o600)
    assert main([*words, "--key-file", str(tmp_path / "key")]) == 2
    captured = capsys.readouterr()
    assert "nobody on the list is among the patients of the pool" in captured.err
    assert "was trained on none of them" not in captured.out

    # A stranger beside somebody who is known is counted
    (tmp_path / "who.csv").write_text(f"patient_id\n{raw_identifier(cohort, sets)}\nnobody\n")
    assert main(words) == 0
    assert "1 of the 2 listed are not among the patients" in capsys.readouterr().out


def test_a_wall_within_a_wall_keeps_both(pool: Path, tmp_path: Path) -> None:
    target = pool / AUDIT / "signals" / "member-0-0.npz"
    other = tmp_path / "closed"
    other.mkdir()

    def nested() -> None:
        with closed_to_method([pool / AUDIT]):
            peek(target, hides=True)
            with closed_to_method([other]):
                pass

    with pytest.raises(MethodError, match="judged by"):
        nested()
