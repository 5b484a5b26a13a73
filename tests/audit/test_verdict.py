"""The decision rule: what it says on planted cases, how often it errs, and that it is fixed beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from forgetmi.audit.decision import decide, detectable_auc, holm
from forgetmi.audit.delta import deltas, separation
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import Outcome, Verdict
from forgetmi.core.errors import EvaluationError, SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.statistics import weighted_auc


def draw(
    seed: int,
    *,
    unlearned: float = 0.0,
    original: float = 2.0,
    forgotten: int = 16,
    never: int = 65,
    noise: float = 0.5,
    retrains: int = 3,
    accuracy: float = 0.0,
    start: int = 0,
) -> ForgetDraw:
    """Patients with a level of their own, models with noise, forgotten patients shifted by so much."""
    r = np.random.default_rng(seed)
    p = forgotten + never
    member = np.arange(p) < forgotten
    level = r.normal(size=p)
    signal = [
        level + noise * r.normal(size=p) + shift * member
        for shift in (unlearned, original, *[0.0] * retrains)
    ]
    correct = (r.random((1 + retrains, p)) < 0.7).astype(float)
    correct[0] = np.where(r.random(p) < accuracy, 0.0, correct[1])
    patient = np.concatenate([10_000 + start + np.arange(forgotten), np.arange(never)])

    return ForgetDraw(
        patient=patient,
        members=forgotten,
        studies=r.integers(1, 4, p),
        label=r.integers(0, 3, p),
        unlearned=signal[0],
        original=signal[1],
        retrained=np.stack(signal[2:]),
        correct=correct,
    )


def judge(seed: int, rule: Rule | None = None, draws: int = 1, **options: float) -> Verdict:
    rule = rule or Rule(resamples=400)

    return decide(
        rule,
        {
            channel: [
                draw(10_000 * seed + 100 * at + d, start=100 * d, **options)  # type: ignore[arg-type]
                for d in range(draws)
            ]
            for at, channel in enumerate(rule.channels)
        },
    )


def test_the_rule_is_text_with_a_digest() -> None:
    rule = Rule(margin=0.08, channels=("image", "link"))

    assert from_plain(Rule, json.loads(rule.to_json()), where="rule", complete=True) == rule
    assert rule.digest == Rule(margin=0.08, channels=("image", "link")).digest

    others = [
        replace(rule, **{name: value})
        for name, value in (
            ("margin", 0.09),
            ("channels", ("image",)),
            ("level", 0.9),
            ("seed", 1),
            ("forget_margin", 0.2),
            ("resamples", 999),
            ("power", 0.9),
        )
    ]

    assert len({rule.digest, *(other.digest for other in others)}) == 8
    assert judge(0, rule).rule == rule.digest

    with pytest.raises(SpecError) as error:
        Rule(margin=0.0, level=1.0, channels=("image", "image"))

    assert len(error.value.faults) == 3


def test_separation_is_the_weighted_auc() -> None:
    r = np.random.default_rng(0)
    members, never = r.integers(0, 5, 7).astype(float), r.integers(0, 5, 11).astype(float)
    weights = r.integers(0, 3, (20, 18)).astype(float)
    np.testing.assert_allclose(
        separation(members, never, inside=weights[:, :7], outside=weights[:, 7:]),
        weighted_auc(np.concatenate([members, never]), np.arange(18) < 7, weights),
    )


def test_holm_by_hand() -> None:
    assert holm({"image": 0.01, "text": 0.04, "both": 0.03}, 3) == pytest.approx(
        {"image": 0.03, "both": 0.06, "text": 0.06}
    )
    assert holm({"image": 0.01}, 4) == {"image": 0.04}  # what could not be measured still counts


@pytest.mark.parametrize(
    ("forgotten", "never", "half"),
    [(16, 156, 0.149), (32, 156, 0.110), (60, 156, 0.086), (256, 256, 0.05)],
)
def test_detectable_auc(forgotten: int, never: int, half: float) -> None:
    assert detectable_auc(forgotten, never, power=0.5) - 0.5 == pytest.approx(half, abs=0.001)
    assert detectable_auc(forgotten, never) > detectable_auc(forgotten, never, power=0.5)
    assert detectable_auc(2, 2) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"unlearned": 2.0}, "NOT FORGOTTEN"),
        ({"unlearned": -2.0}, "OVER-FORGOTTEN"),
        ({"accuracy": 0.9}, "OVER-FORGOTTEN"),
        ({}, "NOT RESOLVABLE"),
        ({"draws": 4, "noise": 0.15}, "FORGOTTEN"),
        ({"draws": 4, "noise": 0.15, "original": 0.0}, "NOT RESOLVABLE"),
    ],
)
def test_planted_cases(options: dict[str, float], expected: Outcome) -> None:
    result = judge(1, **options)  # type: ignore[arg-type]

    assert result.outcome == expected, result
    assert result.forgotten == 16 * int(options.get("draws", 1))
    assert result.never_seen == 65
    assert [channel.channel for channel in result.channels] == list(Rule().channels)
    assert all(channel.reason for channel in result.channels)

    permutation = result.channels[0].permutation

    assert (permutation is None) == (result.forgotten >= 20)
    if options == {"unlearned": 2.0}:
        assert permutation is not None
        assert permutation < 0.01

    assert any("there was nothing to test" in sentence for sentence in result.statements) == (
        options.get("original") == 0.0
    )


def test_a_rule_that_asks_for_less_is_said_to() -> None:
    assert not [sentence for sentence in judge(1).statements if "The rule" in sentence]

    loose = judge(
        1,
        Rule(resamples=400, margin=0.49, forget_margin=0.3, level=0.8, channels=("image", "text")),
    )

    assert loose.outcome == "FORGOTTEN"  # so wide a margin shows nothing

    assert [sentence for sentence in loose.statements if "The rule" in sentence] == [
        "The rule allows a difference up to 0.49 in AUC, more than the 0.1 of the default rule.",
        "The rule allows a difference up to 0.3 in accuracy on forgotten images, more than the 0.1 of the default "
        "rule.",
        "The rule does not judge: both, link. What can be told there is no part of the verdict.",
        "The rule's confidence is 0.8, less than the 0.95 of the default rule.",
    ]

    assert any(
        "The rule does not judge" in sentence
        for sentence in decide(Rule(channels=("link",)), {}).statements
    )


def test_memory_on_one_of_many_channels_by_chance_is_no_memory() -> None:
    """The original knows nothing of these patients; without correction one of four intervals lies above 0."""
    rule = Rule(resamples=200)

    draws: dict[Channel, list[ForgetDraw]] = {}
    for at, channel in enumerate(rule.channels):
        first = 30_000 + 100 * at
        draws[channel] = [
            draw(first + d, start=100 * d, noise=0.15, original=0.0) for d in range(4)
        ]

    result = decide(rule, draws)

    assert any(
        channel.deltas is not None and channel.deltas.original.low > 0
        for channel in result.channels
    )
    assert {channel.outcome for channel in result.channels} == {"FORGOTTEN"}
    assert result.outcome == "NOT RESOLVABLE"
    assert any("there was nothing to test" in sentence for sentence in result.statements)


def test_resamples_must_suffice_for_the_smallest_p_value() -> None:
    assert Rule(level=0.99, resamples=842).level == 0.99
    for level, resamples in ((0.99, 841), (0.999, 2000)):
        with pytest.raises(SpecError, match="resamples is out of range"):
            Rule(level=level, resamples=resamples)


def test_one_channel_that_remembers_is_enough() -> None:
    rule = Rule(resamples=400)
    good = {channel: [draw(at, noise=0.1)] for at, channel in enumerate(rule.channels)}
    result = decide(
        rule,
        {**good, "link": [draw(9, unlearned=2.0, noise=0.1)], "text": [draw(8, unlearned=-2.0)]},
    )

    assert result.outcome == "NOT FORGOTTEN"
    assert {channel.channel: channel.outcome for channel in result.channels}[
        "text"
    ] == "OVER-FORGOTTEN"
    assert "link" in [
        channel.channel for channel in result.channels if channel.outcome == "NOT FORGOTTEN"
    ]


def test_a_channel_without_measurement_rules_out_forgotten() -> None:
    rule = Rule(resamples=400)
    draws: dict[Channel, list[ForgetDraw]] = {}
    for at, channel in enumerate(rule.channels):
        draws[channel] = [draw(100 * at + d, start=100 * d, noise=0.15) for d in range(4)]

    assert decide(rule, draws).outcome == "FORGOTTEN"

    del draws["link"]
    result = decide(rule, draws)  # type: ignore[arg-type]

    assert result.outcome == "NOT RESOLVABLE"
    assert "no forget draw" in result.channels[-1].reason

    nothing = decide(rule, {"image": [draw(0, retrains=1)]})

    assert nothing.outcome == "NOT RESOLVABLE"
    assert "1 retrained models" in nothing.channels[0].reason
    assert "unverifiable" in nothing.statements[0]


def test_without_knowing_who_was_trained_on_there_is_no_verdict() -> None:
    rule = Rule(channels=("image",), resamples=200)
    draws: dict[Channel, list[ForgetDraw]] = {
        "image": [draw(0, forgotten=60, never=600, noise=0.1)]
    }
    proved = decide(rule, draws)
    assert proved.outcome == "FORGOTTEN"

    refused = decide(rule, draws, unproved="nobody says so")
    assert refused.outcome == "NOT RESOLVABLE"
    assert refused.channels[0].outcome == "NOT RESOLVABLE"
    assert "nobody says so" in refused.channels[0].reason
    assert repr(refused.channels[0].deltas) == repr(proved.channels[0].deltas)
    assert refused.statements[0].startswith("No verdict is given: nobody says so.")
    assert refused.statements[1:] == proved.statements


def test_statements_say_what_could_be_shown() -> None:
    sentences = judge(2).statements

    assert any(
        "16 forgotten patients" in line and "cannot be told from 0.5" in line for line in sentences
    )
    assert any("FORGOTTEN could not have been shown" in line for line in sentences)

    partly = decide(
        Rule(resamples=400, channels=("image", "text")),
        {"image": [draw(0)], "text": [draw(1, original=0.0)]},
    ).statements

    assert any("no memory of these patients on: text" in line for line in partly)


def test_equal_models_have_no_difference_and_no_width() -> None:
    one = draw(3)
    same = replace(one, unlearned=one.retrained[0], retrained=np.stack([one.retrained[0]] * 3))
    result = deltas([same], level=0.95, resamples=300, seed=0).unlearned
    assert (result.value, result.low, result.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_same_seed_same_verdict_and_order_of_patients_changes_nothing() -> None:
    one = draw(4, unlearned=0.6)
    result = deltas([one], level=0.95, resamples=300, seed=1)

    assert deltas([one], level=0.95, resamples=300, seed=1).unlearned == result.unlearned
    assert deltas([one], level=0.95, resamples=300, seed=2).unlearned != result.unlearned

    r = np.random.default_rng(0)
    order = np.concatenate([r.permutation(16), 16 + r.permutation(65)])

    mixed = replace(
        one,
        **{
            name: getattr(one, name)[..., order]
            for name in (
                "patient",
                "studies",
                "label",
                "unlearned",
                "original",
                "retrained",
                "correct",
            )
        },
    )

    again = deltas([mixed], level=0.95, resamples=300, seed=1).unlearned

    assert (again.value, again.low, again.high) == pytest.approx(
        (result.unlearned.value, result.unlearned.low, result.unlearned.high), abs=1e-9
    )


def test_too_small_a_draw_raises() -> None:
    for small in (draw(0, forgotten=1), draw(0, never=1), draw(0, retrains=1)):
        with pytest.raises(EvaluationError, match="at least two of each"):
            deltas([small], level=0.95, resamples=200, seed=0)


# A sound rule fails a check of few replicates by chance once in 10,000 sets of seeds.
CHANCE = 1e-4


@pytest.mark.parametrize("shift", [0.0, 0.8])
@pytest.mark.parametrize(
    ("replicates", "least"),
    [
        (100, binom.ppf(CHANCE, 100, 0.90)),
        pytest.param(500, 0.90 * 500, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_the_true_difference(shift: float, replicates: int, least: float) -> None:
    """16 against 65 patients and 3 retrained models; the truth is known in closed form."""
    truth, hits = norm.cdf(shift / np.sqrt(2 * 1.25)) - 0.5, 0

    for seed in range(replicates):
        one = replace(
            draw(seed, unlearned=shift),
            studies=np.ones(81, int),
            label=np.zeros(81, int),
            correct=None,
        )
        result = deltas([one], level=0.95, resamples=300, seed=seed).unlearned
        hits += result.low <= truth <= result.high

    assert hits >= least


@pytest.mark.parametrize(
    ("draws", "most_remembered", "most_over_forgotten"),
    [
        (25, binom.isf(CHANCE, 25, 0.025), binom.isf(CHANCE, 25, 0.025)),
        pytest.param(
            100,
            100 * (0.025 + 1.96 * np.sqrt(0.025 * 0.975 / 100) + 0.01),
            6,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_retraining_is_seldom_called_anything_else(
    draws: int, most_remembered: float, most_over_forgotten: float
) -> None:
    """The null: the attacked model is one more retrained one. Four channels, so many forget draws."""
    result = [judge(seed, Rule(resamples=200)).outcome for seed in range(draws)]
    assert result.count("NOT FORGOTTEN") <= most_remembered
    assert result.count("OVER-FORGOTTEN") <= most_over_forgotten
    assert result.count("FORGOTTEN") == 0  # 16 patients cannot show it


def test_from_signals_to_the_verdict(
    toy_run: Callable[..., tuple[dict[str, Signals], Partition]],
) -> None:
    signals, partition = toy_run(patients={"forget": 20, "holdout": 60})
    rule = Rule(resamples=400)

    def verdict(target: str) -> Verdict:
        return decide(
            rule,
            {
                channel: [
                    forget_draw(
                        AdversaryKnowledge(partition, signals, channel=channel, target=target)
                    )
                ]
                for channel in rule.channels
            },
        )

    assert verdict("original").outcome == "NOT FORGOTTEN"
    assert verdict("unlearned").outcome in ("NOT RESOLVABLE", "FORGOTTEN")
    assert verdict("retrain-0").outcome != "NOT FORGOTTEN"

    one = forget_draw(AdversaryKnowledge(partition, signals, target="retrain-0"))

    assert one.retrained.shape == (2, 80)  # the attacked model is not its own reference
    assert one.correct is not None
    assert one.correct.shape == (3, 80)
    assert one.members == 20


def test_reference_patients_are_never_seen_ones(
    toy_run: Callable[..., tuple[dict[str, Signals], Partition]],
) -> None:
    signals, partition = toy_run(patients={"forget": 20, "holdout": 20, "reference": 40})
    less = replace(partition, reference=partition.reference[:0])
    result = {}

    for name, chosen in (("all", partition), ("held out", less)):
        seen = forget_draw(AdversaryKnowledge(chosen, signals, target="original"))
        result[name] = (
            len(seen.patient),
            deltas([seen], level=0.95, resamples=400, seed=0).unlearned,
        )

    assert (result["all"][0], result["held out"][0]) == (80, 40)

    width = {name: estimate.high - estimate.low for name, (_, estimate) in result.items()}

    assert width["all"] < width["held out"]


def test_separation_some_resamples_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    r = np.random.default_rng(3)
    members, never = np.round(r.normal(size=9), 1), np.round(r.normal(size=31), 1)
    inside = r.integers(0, 4, (50, 9)).astype(np.float64)
    outside = r.integers(0, 4, (50, 31)).astype(np.uint8)
    matched = r.random(31)

    # Each pair by itself
    wins = (members[:, None] > never) + 0.5 * (members[:, None] == never)
    of_pairs = np.einsum("bi,ij,bj->b", inside, wins, outside * matched)
    expected = of_pairs / (inside.sum(1) * (outside * matched).sum(1))

    def found() -> np.ndarray:
        return separation(members, never, inside=inside, outside=outside, matched=matched)

    whole = found()
    np.testing.assert_allclose(whole, expected)
    monkeypatch.setattr("forgetmi.audit.delta._BLOCK", 7 * 31)
    np.testing.assert_array_equal(found(), whole)
