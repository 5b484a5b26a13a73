"""The whole evaluation: what it holds, what it must not depend on, and how it says what cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import log_probabilities
from forgetmi.evaluation.suite import evaluate, table
from forgetmi.evaluation.utility import macro_auc

HEADS = ("image", "text", "both")

Toy = Callable[..., tuple[dict[str, Signals], Partition]]


def run(toy: tuple[dict[str, Signals], Partition], **options: object) -> Evaluation:
    signals, partition = toy
    return evaluate(signals, partition, **{"task": "grades", "seed": 0, "resamples": 50, **options})  # type: ignore[arg-type]


def score(found: Evaluation, model: str, name: str, **at: str) -> Score:
    one = found.get(model, name, **at)
    assert isinstance(one, Score), one
    return one


@pytest.fixture(scope="module")
def evaluation(toy_run: Toy) -> Evaluation:
    return run(toy_run(), resamples=200)


@pytest.fixture(scope="module")
def plain(toy_run: Toy) -> Evaluation:
    """The toy with nothing changed, in a few resamples."""
    return run(toy_run())


def test_every_score_is_there_once(evaluation: Evaluation) -> None:
    utility = ("auc", "f1", "accuracy", "pairwise_auc", "ordinal_auc", "severity_mse")
    expected = {
        *product(utility, HEADS, ("forget", "test", "retain")),
        ("pair_auc", "both", "forget"),
        *product(("sample_mia", "jsf", "loss_spearman"), HEADS, ("forget",)),
        *product(("never_seen_flag_rate",), HEADS, ("test",)),
        *product(("loss_auc",), HEADS, ("forget", "retain")),
        *product(("gap", "gap_forget", "gap_test"), ("image",), ("",)),
        *product(("gap_joint", "gap_joint_forget", "gap_joint_test"), ("both",), ("",)),
    }
    to_original = {
        *product(("original_symmetric_kl",), HEADS, ("forget", "test", "retain")),
        *product(("original_cosine",), ("image", "text"), ("forget", "test", "retain")),
    }
    for model in ("original", "unlearned", "retrain-0", "retrain-1", "retrain-2"):
        keys = [(one.name, one.head, one.on) for one in evaluation.scores[model]]
        assert len(keys) == len(set(keys))
        assert set(keys) == expected | (set() if model == "original" else to_original)
        assert all(isinstance(one, Score) for one in evaluation.scores[model])
    assert {(one.name, one.head) for one in evaluation.scores["retrain"]} == {
        ("gap_floor", "image"),
        ("gap_floor_largest", "image"),
        ("gap_joint_floor", "both"),
        ("gap_joint_floor_largest", "both"),
        *product(("gap_forget_floor", "gap_test_floor"), ("image",)),
        *product(("gap_joint_forget_floor", "gap_joint_test_floor"), ("both",)),
    }


def test_what_earlier_requests_had_forgotten_is_not_measured(toy_run: Toy) -> None:
    signals, partition = toy_run()
    patients = np.unique(partition.patient[partition.forget])
    before = partition.forget[
        np.isin(partition.patient[partition.forget], patients[: len(patients) // 2])
    ]
    alone = replace(partition, forget=np.setdiff1d(partition.forget, before))
    assert (
        run((signals, replace(partition, earlier=before))).to_json()
        == run((signals, alone)).to_json()
    )


def test_the_toy_is_judged_rightly(evaluation: Evaluation, toy_run: Toy) -> None:
    for head in HEADS:
        assert score(evaluation, "original", "sample_mia", head=head, on="forget").value > 0.7
        low, high = score(evaluation, "unlearned", "loss_auc", head=head, on="forget").interval or (
            1,
            0,
        )
        assert low < 0.5 < high
    floor = score(evaluation, "retrain", "gap_floor", head="image").value
    gaps = {
        model: score(evaluation, model, "gap", head="image")
        for model in evaluation.scores
        if model != "retrain"
    }
    assert gaps["original"].value > 4 * floor > gaps["unlearned"].value
    assert gaps["unlearned"].reference == pytest.approx(floor)
    assert floor == pytest.approx(np.mean([gaps[f"retrain-{r}"].value for r in range(3)]))
    largest = score(evaluation, "retrain", "gap_floor_largest", head="image").value
    assert largest == max(gaps[f"retrain-{r}"].value for r in range(3))
    auc = score(evaluation, "unlearned", "auc", head="both", on="test")
    signals, partition = toy_run()
    held = signals["unlearned"].select(partition.holdout)
    assert auc.value == pytest.approx(
        macro_auc(np.exp(log_probabilities(held, "both")), held.label)[0]
    )
    assert (auc.patients, auc.images, auc.better) == (30, 120, "higher")


def test_gap_is_what_its_five_terms_give(evaluation: Evaluation) -> None:
    def terms(model: str, head: str) -> np.ndarray:
        at = [
            ("auc", "forget"),
            ("f1", "forget"),
            ("auc", "test"),
            ("f1", "test"),
            ("sample_mia", "forget"),
        ]
        return np.array([score(evaluation, model, name, head=head, on=on).value for name, on in at])

    for name, head in (("gap", "image"), ("gap_joint", "both")):
        retrains = [terms(f"retrain-{r}", head) for r in range(3)]
        pairs = [
            (retrains[1] + retrains[2]) / 2,
            (retrains[0] + retrains[2]) / 2,
            (retrains[0] + retrains[1]) / 2,
        ]
        expected = np.mean([np.abs(terms("unlearned", head) - pair).mean() for pair in pairs])
        assert score(evaluation, "unlearned", name, head=head).value == pytest.approx(expected)
        own = np.abs(retrains[1] - pairs[1]).mean()
        assert score(evaluation, "retrain-1", name, head=head).value == pytest.approx(own)


def test_a_gap_is_its_two_parts_weighted_by_their_measures(evaluation: Evaluation) -> None:
    for model, end in (
        ("unlearned", ""),
        ("original", ""),
        ("retrain-1", ""),
        ("retrain", "_floor"),
    ):
        for name, head in (("gap", "image"), ("gap_joint", "both")):
            whole, forgotten, test = (
                score(evaluation, model, f"{name}{part}{end}", head=head).value
                for part in ("", "_forget", "_test")
            )
            assert whole == pytest.approx((3 * forgotten + 2 * test) / 5)
            assert forgotten != pytest.approx(test)


def test_forgetting_shows_in_the_first_part_alone(evaluation: Evaluation) -> None:
    """The toy's original remembers the forgotten, and is like any other model on test patients."""
    floor = {
        part: score(evaluation, "retrain", f"gap_{part}_floor", head="image").value
        for part in ("forget", "test")
    }
    original = {
        part: score(evaluation, "original", f"gap_{part}", head="image").value for part in floor
    }
    assert original["forget"] > 4 * floor["forget"]
    assert original["test"] < 3 * floor["test"]


def test_intervals_and_references(evaluation: Evaluation) -> None:
    for model, scores in evaluation.scores.items():
        for one in scores:
            assert isinstance(one, Score)
            if one.on == "retain":
                assert one.interval is None
                assert "no interval" in one.note
            else:
                assert one.interval is not None
                assert one.interval[0] <= one.interval[1]
            if model != "retrain" and one.better == "closer" and model != "original":
                assert one.reference is not None
    values = [
        score(evaluation, f"retrain-{r}", "sample_mia", head="image", on="forget").value
        for r in range(3)
    ]
    assert score(
        evaluation, "original", "sample_mia", head="image", on="forget"
    ).reference == pytest.approx(np.mean(values))


def test_json_and_table_keep_everything(evaluation: Evaluation) -> None:
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    rows = table(evaluation)
    assert len(rows) == sum(map(len, evaluation.scores.values()))
    assert len({tuple(row) for row in rows}) == 1
    gap = next(row for row in rows if (row["model"], row["name"]) == ("unlearned", "gap"))
    one = score(evaluation, "unlearned", "gap", head="image")
    assert (gap["value"], (gap["low"], gap["high"]), gap["failed"]) == (
        one.value,
        one.interval,
        None,
    )


def test_same_seed_same_numbers_other_seed_other_intervals(toy_run: Toy, plain: Evaluation) -> None:
    toy = toy_run()
    one, two, three = plain, run(toy), run(toy, seed=1)
    assert one == two
    key = {"head": "image", "on": "test"}
    assert (
        score(one, "unlearned", "auc", **key).value == score(three, "unlearned", "auc", **key).value
    )
    assert (
        score(one, "unlearned", "auc", **key).interval
        != score(three, "unlearned", "auc", **key).interval
    )


def test_identifier_key_row_order_and_order_of_models_do_not_matter(
    toy_run: Toy, plain: Evaluation
) -> None:
    (signals, partition), expected = toy_run(), plain
    assert run(toy_run(key="another key")) == expected
    order = np.random.default_rng(0).permutation(len(partition.patient))
    shuffled = {name: found.select(found.row[order]) for name, found in signals.items()}
    assert run((shuffled, partition)) == expected
    assert run((dict(reversed(signals.items())), partition)).scores == expected.scores


def test_validation_patients_are_not_read(toy_run: Toy, plain: Evaluation) -> None:
    signals, partition = toy_run()
    needed = np.concatenate([partition.forget, partition.retain, partition.holdout])
    few = {name: found.select(needed) for name, found in signals.items()}
    assert run((few, partition)) == plain


def test_a_constant_on_the_logits_changes_only_their_cosine(
    toy_run: Toy, plain: Evaluation
) -> None:
    signals, partition = toy_run()
    moved = {
        name: found.replaced(
            image_logits=found.image_logits + 3.7, text_logits=found.text_logits - 8.1
        )
        for name, found in signals.items()
    }
    one, two = plain, run((moved, partition))
    for model in one.scores:
        for a, b in zip(one.scores[model], two.scores[model], strict=True):
            assert isinstance(a, Score)
            assert isinstance(b, Score)
            if a.name != "original_cosine":
                assert a.value == pytest.approx(b.value, abs=1e-9), a


def test_identical_models_are_at_distance_zero(toy_run: Toy) -> None:
    signals, partition = toy_run()
    same = dict.fromkeys(signals, signals["retrain-0"])
    found = run((same, partition))
    for head in HEADS:
        assert score(found, "unlearned", "jsf", head=head, on="forget").value == 0
        assert score(
            found, "unlearned", "loss_spearman", head=head, on="forget"
        ).value == pytest.approx(1)
        for on in ("forget", "test", "retain"):
            assert score(found, "unlearned", "original_symmetric_kl", head=head, on=on).value == 0
    assert score(
        found, "unlearned", "original_cosine", head="image", on="test"
    ).value == pytest.approx(0, abs=1e-12)
    for model, name, head in (
        ("unlearned", "gap", "image"),
        ("retrain-1", "gap_joint", "both"),
        ("retrain", "gap_floor", "image"),
    ):
        gap = score(found, model, name, head=head)
        assert gap.value == pytest.approx(0, abs=1e-12)
        assert gap.interval == pytest.approx((0, 0), abs=1e-12)


def test_swapped_predictions_keep_the_gap_and_are_seen_by_jsf(toy_run: Toy) -> None:
    """Giving each forgotten image the prediction of another one with its label leaves every aggregate as it is."""
    signals, partition = toy_run(images=8)
    logits = np.array(signals["retrain-0"].image_logits)
    label = signals["retrain-0"].label[partition.forget]
    for c in range(4):
        at = partition.forget[label == c]
        logits[at] = logits[np.roll(at, len(at) // 2)]
    cheat = signals["retrain-0"].replaced(image_logits=logits)
    found = run(
        ({**signals, "honest": signals["retrain-0"], "cheat": cheat}, partition), resamples=0
    )
    for name in ("auc", "f1", "sample_mia"):
        honest, cheated = (
            score(found, model, name, head="image", on="forget").value
            for model in ("honest", "cheat")
        )
        assert cheated == pytest.approx(honest)
    assert score(found, "cheat", "gap", head="image").value == pytest.approx(
        score(found, "honest", "gap", head="image").value
    )
    jsf = {
        model: score(found, model, "jsf", head="image", on="forget").value
        for model in ("honest", "cheat")
    }
    assert jsf["cheat"] > 1.3 * jsf["honest"]


def test_unknown_labels_are_left_out(toy_run: Toy) -> None:
    signals, partition = toy_run(unknown=100)
    found = run((signals, partition))
    known = int((signals["original"].label[partition.forget] >= 0).sum())
    auc = score(found, "original", "auc", head="image", on="forget")
    assert auc.images == known < len(partition.forget)
    assert score(found, "original", "pair_auc", head="both", on="forget").images == len(
        partition.forget
    )


@pytest.mark.parametrize("retrains", [0, 1])
def test_too_few_retrained_models_fail_by_name(toy_run: Toy, retrains: int) -> None:
    found = run(toy_run(retrains=retrains))
    gap = found.get("unlearned", "gap", head="image")
    assert isinstance(gap, Failed)
    assert f"at least two retrained models, there are {retrains}" in gap.reason
    jsf = found.get("unlearned", "jsf", head="text", on="forget")
    assert isinstance(jsf, Failed if retrains == 0 else Score)
    mia = score(found, "unlearned", "sample_mia", head="image", on="forget")
    assert (mia.reference is None) == (retrains == 0)
    assert ("retrain" in found.scores) == (retrains == 1)
    if retrains:
        assert isinstance(found.get("retrain-0", "jsf", head="image", on="forget"), Failed)
        assert isinstance(found.get("retrain", "gap_floor", head="image"), Failed)
    assert Evaluation.from_json(found.to_json()) == found
    assert any(row["failed"] for row in table(found))


def test_two_retrained_models_are_enough(toy_run: Toy) -> None:
    found = run(toy_run(retrains=2))
    a, b = (score(found, f"retrain-{r}", "gap", head="image").value for r in (0, 1))
    assert a == pytest.approx(b)
    assert score(found, "unlearned", "gap", head="image").value > 0


def test_one_diverged_retrain_blocks_what_rests_on_it(toy_run: Toy) -> None:
    signals, partition = toy_run()
    broken = np.array(signals["retrain-1"].image_logits)
    broken[partition.holdout[0]] = np.nan
    signals["retrain-1"] = signals["retrain-1"].replaced(image_logits=broken)
    found = run((signals, partition))
    gap = found.get("unlearned", "gap", head="image")
    assert isinstance(gap, Failed)
    assert "retrain-1" in gap.reason
    assert "not finite" in gap.reason
    assert score(found, "unlearned", "auc", head="image", on="test").reference is None
    assert score(found, "unlearned", "auc", head="text", on="test").reference is not None
    assert Evaluation.from_json(found.to_json()) == found


def test_models_without_embeddings_and_absent_classes(toy_run: Toy) -> None:
    signals, partition = toy_run(embeddings=False)
    label = np.array(signals["original"].label)
    label[partition.forget] = 2
    label[partition.holdout] %= 3
    found = run(({name: replace(one, label=label) for name, one in signals.items()}, partition))
    pair = found.get("unlearned", "pair_auc", head="both", on="forget")
    assert isinstance(pair, Failed)
    assert "no embeddings" in pair.reason
    auc = found.get("unlearned", "auc", head="image", on="forget")
    assert isinstance(auc, Failed)
    assert "fewer than two classes" in auc.reason
    assert isinstance(found.get("unlearned", "gap", head="image"), Failed)
    assert "3 of 4 classes" in score(found, "unlearned", "auc", head="image", on="test").note


def test_a_single_forgotten_patient_has_no_interval(toy_run: Toy) -> None:
    found = run(toy_run(patients={"forget": 1}, images=12))
    for name, on in (("auc", "forget"), ("sample_mia", "forget"), ("loss_auc", "forget")):
        one = score(found, "unlearned", name, head="image", on=on)
        assert one.interval is None
        assert "single patient" in one.note
    assert score(found, "unlearned", "gap", head="image").interval is None
    assert score(found, "unlearned", "auc", head="image", on="test").interval is not None


def test_without_held_out_patients_nothing_on_them_is_invented(toy_run: Toy) -> None:
    found = run(toy_run(patients={"holdout": 0}))
    for name, on in (
        ("auc", "test"),
        ("sample_mia", "forget"),
        ("loss_auc", "forget"),
        ("gap", ""),
    ):
        assert isinstance(found.get("unlearned", name, head="image", on=on), Failed)
    assert score(found, "unlearned", "auc", head="image", on="forget").value > 0


def test_faults_of_the_input_are_reported_at_once(toy_run: Toy) -> None:
    signals, partition = toy_run()
    signals["unlearned"] = signals["unlearned"].select(partition.forget)
    signals["retrain-0"] = replace(signals["retrain-0"], cohort="other")
    signals["retrain-1"] = replace(
        signals["retrain-1"], label=np.zeros(len(partition.patient), np.int64)
    )
    signals["retrain"] = signals["original"]
    with pytest.raises(EvaluationError) as caught:
        run((signals, partition))
    assert len(caught.value.faults) == 4
    assert {fault.where for fault in caught.value.faults} == {
        "",
        "unlearned",
        "retrain-0",
        "retrain-1",
    }
    with pytest.raises(EvaluationError, match="no signals"):
        run(({}, partition))


def test_each_model_is_announced(toy_run: Toy) -> None:
    seen: list[str] = []
    signals, partition = toy_run()
    evaluate(signals, partition, task="classes", seed=0, resamples=0, on_step=seen.append)
    assert seen == list(signals)


def test_a_model_of_one_head_is_measured_by_it(toy_run: Toy) -> None:
    signals, partition = toy_run()
    whole = run((signals, partition))
    alone = {
        name: replace(one, logits={"text": one.text_logits}, embedding={})
        for name, one in signals.items()
    }
    found = run((alone, partition))
    assert score(found, "unlearned", "auc", head="text", on="test") == score(
        whole, "unlearned", "auc", head="text", on="test"
    )
    assert {one.head for one in found.scores["unlearned"] if isinstance(one, Score)} == {"text"}

    # Models of other heads are not compared.
    signals["unlearned"] = alone["unlearned"]
    with pytest.raises(EvaluationError, match="heads, classes or labels"):
        run((signals, partition))
