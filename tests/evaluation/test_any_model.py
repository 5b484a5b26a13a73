"""Any task, any heads: made models whose memory is known are measured by what they have, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from forgetmi.core.errors import EvaluationError
from forgetmi.core.scores import Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.ignorance import Ignorance
from forgetmi.evaluation.attacks.probe import LinearProbe
from forgetmi.evaluation.attacks.representation_residual import RepresentationResidual
from forgetmi.evaluation.attacks.retrieval import ReportRetrieval
from forgetmi.evaluation.attacks.run import run_attack, run_attacks
from forgetmi.evaluation.attacks.smi import Smi
from forgetmi.evaluation.attacks.worst_finding import WorstFinding, most_telling
from forgetmi.evaluation.channels import channel_signal, channels_of
from forgetmi.evaluation.gaps import main_head, single_heads, stayed
from forgetmi.evaluation.suite import evaluate
from forgetmi.evaluation.tasks import measures_of
from tests.made_tasks import Made

ONE = Made("findings", heads=("image",), modalities=("image",))
FOUR = Made("classes", *[("image", "text", "table", "series")] * 2)
CASES = {
    "findings": Made("findings"),
    "value": Made("value"),
    "binary": Made("binary"),
    "image only": ONE,
    "table and text": Made("classes", heads=("table", "text"), modalities=("table", "text")),
    "four": FOUR,
    "pairs": Made("pairs", heads=()),
}


def test_channels_come_from_the_model() -> None:
    assert channels_of(Made("classes").model(0, ())) == ("image", "text", "both", "link")
    assert channels_of(ONE.model(0, ())) == ("image",)
    assert channels_of(CASES["pairs"].model(0, ())) == ("link",)
    four = channels_of(FOUR.model(0, ()))
    assert four[:5] == ("image", "text", "table", "series", "all")
    assert four[5:7] == ("link-image-text", "link-image-table")
    assert len(four) == 11

    # An ensemble has no embeddings; its link is there and cannot be measured
    ensemble = replace(Made("classes").model(0, ()), embedding={})
    assert channels_of(ensemble)[-1] == "link"
    with pytest.raises(EvaluationError, match="no embeddings"):
        channel_signal(ensemble, "link", gallery=ensemble)
    with pytest.raises(EvaluationError, match="several links"):
        channel_signal(FOUR.model(0, ()), "link", gallery=FOUR.model(0, ()))


@pytest.mark.parametrize("name", CASES)
def test_memory_is_measured_on_every_channel_of_every_model(name: str) -> None:
    made = CASES[name]
    found = evaluate(
        made.signals(unlearned=("forget", "retain")),
        made.partition(),
        task=made.task,
        classes=made.names,
        seed=0,
        resamples=20,
    )
    known_failures = [
        score
        for score in found.scores["unlearned"]
        if isinstance(score, Failed) and not score.name.startswith("auc_finding")
    ]
    assert not known_failures

    head = main_head(found)
    first = "link" if name == "pairs" else made.heads[0]
    assert head == first
    assert single_heads(found) == (made.heads or ("link",))
    membership = "pair_auc" if name == "pairs" else "loss_auc"
    assert value(found, "unlearned", membership, head) > 0.75
    assert 0.35 < value(found, "retrain-0", membership, head) < 0.65
    assert found.get("unlearned", "gap", head=head).value > 0.2
    assert found.get("retrain", "gap_floor", head=head).value < 0.2
    assert not any(stayed(found, model) for model in ("retrain-0", "retrain-1"))
    joint = [one for one in found.scores["unlearned"] if one.name == "gap_joint"]
    expected = {"four": ["all"], "image only": [], "pairs": []}.get(name, ["both"])
    assert [one.head for one in joint] == expected


def value(evaluation: object, model: str, name: str, head: str, on: str = "forget") -> float:
    score = evaluation.get(model, name, head=head, on=on)  # type: ignore[attr-defined]
    assert isinstance(score, Score), score
    return score.value


def test_each_finding_is_measured_and_named() -> None:
    made = Made("findings")
    signals = made.signals()
    found = evaluate(
        signals, made.partition(), task="findings", classes=made.names, seed=0, resamples=20
    )
    rows = made.partition().holdout
    label, logits = made.label()[rows], signals["unlearned"].of_head("image")[rows]
    for number, name in enumerate(made.names):
        score = found.get("unlearned", f"auc_finding_{number + 1}", head="image", on="test")
        known = ~np.isnan(label[:, number])
        assert score.value == pytest.approx(
            roc_auc_score(label[known, number], logits[known, number])
        )
        assert name in score.note
        assert score.interval is not None
        assert score.better == "higher"


def test_recall_is_that_of_a_slow_search() -> None:
    made = Made("pairs", heads=())
    signals = made.signals()
    found = evaluate(signals, made.partition(), task="pairs", seed=0, resamples=0)
    model = signals["unlearned"].select(made.partition().holdout)
    image = model.embedding["image"].astype(float)
    text = model.embedding["text"].astype(float)
    hits = []
    for row in range(len(image)):
        cosines = text @ image[row] / np.linalg.norm(text, axis=1)
        own = cosines[row]
        other = model.patient != model.patient[row]
        hits.append(1 + (cosines[other] > own).sum() <= 5)
    assert value(found, "unlearned", "recall_at_5", "link", "test") == pytest.approx(np.mean(hits))


def test_labels_of_another_task_are_refused_before_anything_is_measured() -> None:
    made = Made("value")
    with pytest.raises(EvaluationError, match="not those of the task findings"):
        evaluate(made.signals(), made.partition(), task="findings", seed=0, resamples=0)
    headless = Made("pairs", heads=())
    with pytest.raises(EvaluationError, match="has no head, which the task classes needs"):
        evaluate(headless.signals(), headless.partition(), task="classes", seed=0, resamples=0)


@pytest.mark.parametrize("name", CASES)
def test_attacks_find_what_is_remembered_or_say_why_they_do_not_apply(name: str) -> None:
    made = CASES[name]
    for channel in channels_of(made.model(0, ())):
        fresh = made.knowledge(channel)
        remembered = made.knowledge(channel, ("forget", "retain"))
        before, after = run_attacks(remembered, ["population"]), run_attacks(fresh, ["population"])
        assert before[0].output.value > 0.7, channel  # type: ignore[union-attr]
        assert 0.3 < after[0].output.value < 0.7, channel  # type: ignore[union-attr]

    for result in run_attacks(made.knowledge(channels_of(made.model(0, ()))[0])):
        if isinstance(result, Failed):
            assert result.reason
            assert "Traceback" not in result.reason


def test_a_probe_and_a_retrieval_of_pairs() -> None:
    knowledge = Made("pairs", heads=()).knowledge("link", ("forget", "retain"))
    assert LinearProbe().apply(knowledge).note.startswith("12 dimensions")  # both sides
    assert ReportRetrieval().apply(knowledge).value > 0.7


def test_one_remembered_finding_shows_in_the_worst_and_hardly_in_the_mean() -> None:
    made = Made("findings", findings=14)
    signals = made.signals(("forget", "retain"), only=5)
    knowledge = replace(made.knowledge("image"), signals=signals)
    found = WorstFinding().apply(knowledge)
    assert found.details["finding"] == 6
    assert found.details["p"] <= 0.01
    assert found.value > 0.8
    mean = run_attacks(knowledge, ["population"])[0].output.value  # type: ignore[union-attr]
    assert mean < found.value - 0.1

    # A model that never saw them, and a task without findings
    assert WorstFinding().apply(made.knowledge("image")).details["p"] > 0.05
    refused = run_attack(WorstFinding(), Made("value").knowledge("image"))
    assert isinstance(refused, Failed)
    assert "no findings" in refused.reason


def test_the_worst_of_many_is_corrected_for_their_number() -> None:
    """Under exchangeable patients a p-value of 5 % or less comes in 5 % of draws; the best AUC alone does in most."""
    draw = np.random.default_rng(0)
    forgotten = np.arange(60) < 20
    found = [
        most_telling(draw.normal(size=(14, 60)), forgotten, generator=draw, permutations=99)
        for _ in range(120)
    ]
    assert np.mean([one.p <= 0.05 for one in found]) < 0.12
    assert np.mean([one.auc for one in found]) > 0.6


@pytest.mark.parametrize("name", [*CASES, "some films missing"])
def test_embeddings_and_ignorance_are_asked_of_every_model(name: str) -> None:
    """Of each channel the attack says more of a model that remembers, or in a sentence why it is not made."""
    there = np.arange(len(Made("classes").owner)) % 3 > 0
    made = CASES.get(name, Made("classes", present={"image": there}))
    verifiers = tuple(made.model(seed, ()) for seed in (10, 11))
    attacks = {"smi": Smi(), "residual": RepresentationResidual(), "ignorance": Ignorance()}

    refused: set[str] = set()
    for channel in channels_of(made.model(0, ())):
        for attack, made_by in attacks.items():
            values = []
            for unlearned in (("retain",), ("forget", "retain")):
                knowledge = replace(made.knowledge(channel, unlearned), verifiers=verifiers)
                found = run_attack(made_by, knowledge)
                if isinstance(found, Failed):
                    refused.add(f"{attack}: {found.reason}")
                else:
                    values.append(found.output.value)

            # Memory lowers the share of strangers, leaves more of the way to go, and moves the AUC off 0.5
            if values:
                stranger, remembered = values
                change = {
                    "smi": stranger - remembered,
                    "residual": remembered - stranger,
                    "ignorance": abs(remembered - 0.5) - abs(stranger - 0.5),
                }
                assert change[attack] > 0.1, (attack, channel, values)

    of_links = {
        "smi: a link has no embedding of its own. Read the heads' lines.",
        "residual: a link has no embedding of its own. Read the heads' lines.",
        "ignorance: the image-report link has no class probabilities.",
    }
    expected = (
        of_links if made.heads else {"ignorance: the image-report link has no class probabilities."}
    )
    assert refused == (set() if made is ONE else expected)


def test_pairs_that_lack_a_side_are_off_the_link_alone() -> None:
    present = np.arange(len(Made("classes").owner)) % 3 > 0
    made = Made("classes", present={"image": present})
    knowledge = made.knowledge("link")
    forget = made.partition().forget
    assert knowledge.rows("forget").tolist() == forget[present[forget]].tolist()
    assert len(made.knowledge("text").rows("forget")) > len(knowledge.rows("forget"))
    assert not isinstance(run_attacks(knowledge, ["population"])[0], Failed)

    # A model that collapsed is measured, and fails
    collapsed = knowledge.audited.replaced(image_embedding=np.zeros((len(made.owner), 6)))
    signals = dict.fromkeys(knowledge.signals, collapsed)
    result = run_attacks(replace(knowledge, signals=signals), ["population"])[0]
    assert isinstance(result, Failed)
    assert "zero" in result.reason


def test_groups_mean_the_same_on_both_sides() -> None:
    made = Made("value")
    knowledge, task = made.knowledge("image"), measures_of("value")
    groups = task.groups(made.label())
    for name in ("forget", "holdout"):
        rows = knowledge.rows(name)
        assert knowledge.group(name).tolist() == groups[rows].tolist()


@pytest.mark.parametrize("name", CASES)
def test_signals_of_every_task_are_stored(name: str, tmp_path: Path) -> None:
    model = CASES[name].model(0, ("forget",))
    model.save(tmp_path / "s.npz")
    back = Signals.load(tmp_path / "s.npz")
    np.testing.assert_array_equal(back.label, model.label)
    assert list(back.logits) == list(model.logits)
    assert list(back.embedding) == list(model.embedding)


@pytest.mark.parametrize(
    ("label", "columns", "why"),
    [
        (np.array([[0.0, 2.0]] * 3), 2, "0, 1 or unknown"),
        (np.zeros((3, 2)), 3, "0, 1 or unknown"),
        (np.array([0.0, np.inf, 1.0]), 1, "no values"),
        (np.zeros(3), 2, "no values"),
        (np.array([0, 1, 2]), 1, "no class"),
        (np.zeros((3, 2, 1)), 2, "another type or shape"),
    ],
)
def test_stored_labels_that_fit_no_logits(
    label: np.ndarray, columns: int, why: str, tmp_path: Path
) -> None:
    rows = np.arange(3)
    names = rows.astype(str)
    logits = {"table": np.zeros((3, columns))}
    Signals("m", "c", rows, names, names, label, logits).save(tmp_path / "s.npz")
    with pytest.raises(EvaluationError, match=why):
        Signals.load(tmp_path / "s.npz")
