"""Audits of made models of every task: remembered is remembered, never seen is not, and what does not apply is said."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from forgetmi.audit.auditor import audit
from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.evaluation.channels import channels_of
from tests.made_tasks import Made

DECLARED = AuditSpec(rule=Rule(resamples=300), attacks=("population",))
CASES = {
    "findings": Made("findings"),
    "value": Made("value", heads=("table",), modalities=("table",)),
    "binary": Made("binary"),
    "three": Made("classes", *[("image", "text", "table")] * 2),
    "pairs": Made("pairs", heads=()),
}


@cache
def audited(made: Made, unlearned: tuple[str, ...] = ("retain",)) -> Audit:
    return audit([made.run(unlearned)], cohort=made.cohort(), declared=DECLARED)


@pytest.mark.parametrize("name", CASES)
def test_what_is_remembered_is_not_forgotten_on_any_channel(name: str) -> None:
    made = CASES[name]
    remembering = audited(made, ("forget", "retain"))
    assert remembering.verdict.outcome == "NOT FORGOTTEN"
    assert tuple(one.channel for one in remembering.verdict.channels) == channels_of(
        made.model(0, ())
    )
    assert {one.outcome for one in remembering.verdict.channels} == {"NOT FORGOTTEN"}
    assert remembering.verdict.rule == DECLARED.rule.digest
    # No error is below 0, so that a remembered value does not stand out among strangers' lucky ones
    if name != "value":
        assert sum(row.remembered for row in remembering.patients) > 10

    # The record can be written and read
    assert Audit.from_json(remembering.to_json()).to_json() == remembering.to_json()


@pytest.mark.parametrize("name", ["findings", "pairs"])
def test_a_model_that_never_saw_them_does_not_remember(name: str) -> None:
    found = audited(CASES[name])
    assert found.verdict.outcome != "NOT FORGOTTEN"
    assert all(one.deltas is not None for one in found.verdict.channels)


def test_what_does_not_apply_is_said() -> None:
    of_values = audited(CASES["value"])
    assert any("Accuracy does not apply" in text for text in of_values.statements)
    assert {row.metric for row in of_values.harm} == {"r2"}
    assert all(one.deltas.performance is None for one in of_values.verdict.channels if one.deltas)
    bands = {row.value for row in of_values.subgroups if row.column == "label"}
    assert bands <= {
        *("lowest fifth", "second fifth", "third fifth", "fourth fifth", "highest fifth"),
        "",
    }

    of_pairs = audited(CASES["pairs"])
    assert any("no predictions" in text for text in of_pairs.statements)
    assert not of_pairs.harm


def test_findings_are_counted_and_the_worst_is_always_asked_for() -> None:
    found = audited(CASES["findings"], ("forget", "retain"))
    (counted,) = [text for text in found.statements if text.startswith("Of 4 findings")]
    assert "4 are both there and absent" in counted
    assert "samples without any are on no head's channel" in counted
    worst = [row for row in found.attacks if row.name == "worst_finding"]
    assert {row.channel for row in worst} == {"image", "text", "both"}
    assert any(row.model == "retrain-0" for row in worst)
    assert {row.metric for row in found.harm} == {"auc", "accuracy"}
    assert all(row.difference is not None for row in found.harm if not row.column)
    labels = {row.value for row in found.subgroups if row.column == "label"}
    assert "2 findings" in labels

    # Nothing of it is in an audit of classes
    of_classes = audited(CASES["three"])
    assert not any(row.name == "worst_finding" for row in of_classes.attacks)
    assert not any("findings" in text for text in of_classes.statements)


def test_missing_films_are_counted() -> None:
    made = Made("classes")
    present = np.arange(len(made.owner)) % 4 > 0
    found = audited(replace(made, present={"image": present}), ("forget", "retain"))
    rows = np.concatenate([made.partition().forget, made.partition().holdout])
    missing = int((~present[rows]).sum())
    said = f"{missing} of {len(rows)} forgotten and held-out samples lack image or text"
    assert any(text.startswith(said) for text in found.statements)
    assert found.verdict.channels[3].outcome == "NOT FORGOTTEN"


def test_a_rule_that_names_channels_judges_these_alone() -> None:
    rule = Rule(channels=("table",), resamples=300)
    declared = AuditSpec(rule=rule, attacks=("population",))
    made = CASES["three"]
    found = audit([made.run()], cohort=made.cohort(), declared=declared)
    assert [one.channel for one in found.verdict.channels] == ["table"]
    assert any("does not judge: image, text, all, link-image-text" in x for x in found.statements)
