"""Every registered attack: what it declares, a memorised toy, a retrained one, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from forgetmi.core import registry
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Failed
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool, Relearning, Repeats
from forgetmi.evaluation.attacks.base import AttackResult
from forgetmi.evaluation.attacks.run import run_attack, run_attacks

NAMES = registry.attacks.names()
AUCS = (
    "population",
    "lira_online",
    "lira_offline",
    "rmia",
    "u_lira",
    "ruli_privacy",
    "ruli_efficacy",
    "linear_probe",
    "ignorance",
)
Make = Callable[..., AdversaryKnowledge]


@pytest.fixture(scope="module")
def remembered(make_evidence: Make) -> AdversaryKnowledge:
    return make_evidence(1.0)


@pytest.fixture(scope="module")
def forgotten(make_evidence: Make) -> AdversaryKnowledge:
    return make_evidence(0.0, seed=1)


@pytest.fixture(scope="module")
def partly(make_evidence: Make) -> AdversaryKnowledge:
    return make_evidence(0.3, seed=2, runs=16)


@cache
def result(name: str, knowledge: AdversaryKnowledge) -> AttackResult:
    channel = {"report_retrieval": "link", "linear_probe": "both"}.get(name, "image")
    knowledge = replace(knowledge, channel=channel)  # type: ignore[arg-type]
    found = run_attack(registry.attacks.get(name)(), knowledge)
    assert isinstance(found, AttackResult), found
    return found


@pytest.mark.parametrize("name", NAMES)
def test_declaration_and_result_hold_what_a_report_needs(
    name: str, forgotten: AdversaryKnowledge
) -> None:
    one = result(name, forgotten)
    assert one.info.name == name
    assert all((one.info.title, one.info.source, one.info.measures))
    assert one.target == "unlearned"
    assert np.isfinite(one.output.value)
    assert one.output.counts
    assert all(count >= 0 for count in one.output.counts.values())
    assert len(one.reference) == (3 if one.info.reference == "retrained" else 0)
    for values in one.output.scores.values():
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", [*AUCS, "report_retrieval"])
def test_a_memorised_toy_is_found_and_a_retrained_one_is_not(
    name: str,
    remembered: AdversaryKnowledge,
    forgotten: AdversaryKnowledge,
) -> None:
    found = result(name, remembered)
    assert found.output.value > 0.95
    assert max(found.reference) < 0.8
    low, high = result(name, forgotten).output.interval or (1, 0)
    assert low < 0.5 < high


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in (*AUCS, "report_retrieval")]
)
def test_every_other_attack_moves_in_its_direction(
    name: str, remembered: AdversaryKnowledge, forgotten: AdversaryKnowledge
) -> None:
    bad, good = result(name, remembered), result(name, forgotten)
    if bad.info.direction == "higher":
        assert bad.output.value > good.output.value + 0.1
    elif bad.info.direction == "lower":
        assert bad.output.value < good.output.value - 0.1
    else:
        ideal = float(np.mean(good.reference)) if good.reference else good.info.forgotten
        assert ideal is not None
        assert abs(bad.output.value - ideal) > abs(good.output.value - ideal)


def test_the_two_polarities_are_one_minus_the_other(remembered: AdversaryKnowledge) -> None:
    entropy, efficacy = (
        result("entropy_mia", remembered).output,
        result("mia_efficacy", remembered).output,
    )
    assert entropy.details["efficacy"] == 1 - entropy.value
    assert entropy.value > 0.95  # taken for members
    assert efficacy.value < 0.05  # as non-members
    assert efficacy.details["confidence"] == efficacy.value


def shuffled(knowledge: AdversaryKnowledge) -> AdversaryKnowledge:
    """The same records in another order in the cohort, and other orders again in every model's signals."""
    rng = np.random.default_rng(5)
    place = rng.permutation(len(knowledge.partition.patient))  # old row to new row

    def move(signals: Signals) -> Signals:
        mixed = signals.select(rng.permutation(signals.row))
        return replace(mixed, row=place[mixed.row])

    old = knowledge.partition
    back = np.argsort(place)
    sets = {
        name: np.sort(place[old.rows(name)])
        for name in ("forget", "retain", "validation", "holdout")
    }
    return map_signals(
        replace(
            knowledge,
            partition=Partition(
                patient=old.patient[back], group=old.group[back], cohort="toy", **sets
            ),
        ),
        move,
    )


def map_signals(
    knowledge: AdversaryKnowledge, change: Callable[[Signals], Signals]
) -> AdversaryKnowledge:
    def pool(one: Pool | None) -> Pool | None:
        return one and Pool(tuple(map(change, one.signals)), one.inside, one.forgotten)

    assert knowledge.repeats is not None
    assert knowledge.relearning is not None
    return replace(
        knowledge,
        signals={name: change(one) for name, one in knowledge.signals.items()},
        shadows=pool(knowledge.shadows),
        unlearned_shadows=pool(knowledge.unlearned_shadows),
        verifiers=tuple(map(change, knowledge.verifiers)),
        repeats=Repeats(
            *(
                tuple(map(change, one))
                for one in (knowledge.repeats.unlearned, knowledge.repeats.retrained)
            )
        ),
        relearning={
            name: Relearning(tuple(map(change, one.signals)), one.taught)
            for name, one in knowledge.relearning.items()
        },
    )


def higher_logits(signals: Signals) -> Signals:
    added = np.random.default_rng(0).normal(0, 5, (len(signals), 1))
    return signals.replaced(
        image_logits=signals.image_logits + added, text_logits=signals.text_logits - 3.5
    )


CHANGES = {
    "records permuted": shuffled,
    "a constant added to logits": lambda knowledge: map_signals(knowledge, higher_logits),
}


@pytest.fixture(scope="module", params=CHANGES)
def changed(request: pytest.FixtureRequest, partly: AdversaryKnowledge) -> AdversaryKnowledge:
    """Evidence that says the same in other words, made once for all attacks."""
    return CHANGES[request.param](partly)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_records_and_constants_in_logits_change_nothing(
    name: str, changed: AdversaryKnowledge, partly: AdversaryKnowledge
) -> None:
    knowledge = partly
    if name == "rmia":  # ties at 1e-12 are the only place where rounding may show
        assert result(name, changed).output.value == pytest.approx(
            result(name, knowledge).output.value, abs=0.01
        )
    else:
        assert result(name, changed).output.value == pytest.approx(
            result(name, knowledge).output.value, rel=1e-6, abs=1e-9
        )


def test_what_is_missing_is_said(make_evidence: Make) -> None:
    knowledge = make_evidence(everything=False, retrains=1)
    found = {
        one.info.name if isinstance(one, AttackResult) else one.name: one
        for one in run_attacks(knowledge)
    }
    assert tuple(found) == NAMES
    assert isinstance(found["population"], AttackResult)
    assert isinstance(found["rmia"], AttackResult)
    assert (
        found["rmia"].reference == ()
    )  # the only retrained model has no other to be compared with
    for name, what in (
        ("lira_online", "shadows"),
        ("u_lira", "unlearned shadows"),
        ("klom", "repeats"),
        ("relearn", "relearning"),
        ("ignorance", "verifiers"),
        ("epsilon_one_run", "canaries"),
        ("report_retrieval", "image-report link"),
    ):
        one = found[name]
        assert isinstance(one, Failed)
        assert what in one.reason
    assert {one.name for one in run_attacks(knowledge, ["klom"]) if isinstance(one, Failed)} == {
        "klom"
    }


def test_the_link_has_no_probabilities_but_a_signal(make_evidence: Make) -> None:
    knowledge = replace(make_evidence(1.0, everything=False), channel="link")
    found = {
        one.info.name if isinstance(one, AttackResult) else one.name: one
        for one in run_attacks(knowledge)
    }
    assert isinstance(found["population"], AttackResult)
    assert found["population"].output.value > 0.95
    assert isinstance(found["rmia"], Failed)
    assert "no class probabilities" in found["rmia"].reason


def test_an_attacked_model_among_the_shadows_is_refused(make_evidence: Make) -> None:
    knowledge = make_evidence(runs=8)
    pool = knowledge.shadows
    assert pool is not None
    knowledge = replace(
        knowledge, shadows=Pool((knowledge.audited, *pool.signals[1:]), pool.inside, pool.forgotten)
    )
    one = run_attack(registry.attacks.get("lira_online")(), knowledge)
    assert isinstance(one, Failed)
    assert "reads off the answer" in one.reason
