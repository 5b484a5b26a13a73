"""Planted cases on the level of signals: what the audit says of models whose memory is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.auditor import audit
from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import Relearning

CLASSES = 4
DECLARED = AuditSpec(
    rule=Rule(resamples=200),
    attacks=(
        "population",
        "rmia",
        "iam",
        "relearn",
        "report_retrieval",
        "epsilon_one_run",
        "lira_online",
    ),
)


# For tests that read no other attack
POPULATION = replace(DECLARED, attacks=("population",))

# For tests that read no attack: what this one needs, no run here has
BRIEF = replace(DECLARED, attacks=("lira_online",))


class Ward:
    """Patients, and models that remember some of them (Float by patient: 0 = never seen, 1 = trained on)."""

    def __init__(
        self,
        *,
        seed: int = 0,
        draws: int = 1,
        forgotten: int = 16,
        never: int = 60,
        reference: int = 0,
        noise: float = 0.4,
    ) -> None:
        self.r = np.random.default_rng(seed)
        self.kind = np.repeat(
            ["forget", "retain", "holdout", "reference"], [draws * forgotten, 60, never, reference]
        )
        self.forgotten, self.draws, self.noise = forgotten, draws, noise
        self.patient = np.repeat(np.arange(len(self.kind)), 2)
        n = len(self.patient)
        self.label = self.r.integers(0, CLASSES, len(self.kind))[self.patient]
        self.level = self.r.normal(0, 1.0, len(self.kind))
        name = np.array([f"p{code:04d}" for code in range(len(self.kind))], dtype=object)
        study = np.array([f"s{row}" for row in range(n)], dtype=object)

        self.cohort = Cohort(
            name="ward",
            patient=name[self.patient],
            study=study,
            image_id=study,
            group=name[self.patient],
            image=np.full(n, "", dtype=object),
            report=np.full(n, "", dtype=object),
            label=self.label,
            split=np.full(n, "", dtype=object),
            classes=tuple("abcd"),
            task="grades",
            show_images=False,
            digest="ward",
            key_id="k",
            subgroups={"sex": np.array(["F", "M"], dtype=object)[self.patient % 2]},
        )

    def of(self, *kinds: str) -> np.ndarray:
        return np.isin(self.kind, kinds).astype(float)

    def asked(self, draw: int) -> np.ndarray:
        """The patients of one forget set."""
        there = np.arange(len(self.kind)) - draw * self.forgotten
        return ((there >= 0) & (there < self.forgotten)).astype(float)

    def model(self, remembered: np.ndarray, *, wrong: np.ndarray | None = None) -> Signals:
        n, p = len(self.patient), self.patient
        target = np.eye(CLASSES)[self.label]

        logits = [
            (1.0 + self.level + self.noise * self.r.normal(size=len(self.kind)) + 4 * remembered)[
                p
            ][:, None]
            * target
            for _ in range(2)
        ]

        if wrong is not None:
            logits = [values - 8 * wrong[p][:, None] * target for values in logits]

        # Embeddings: image and report of a remembered patient resemble each other
        shared = self.r.normal(size=(n, 6))
        image = shared + self.noise * self.r.normal(size=(n, 6))
        text = (
            self.r.normal(size=(n, 6))
            + (remembered + self.noise * self.r.normal(size=len(self.kind)))[p][:, None] * shared
        )

        return Signals.image_text(
            model=f"m{self.r.integers(2**40)}",
            cohort="ward",
            row=np.arange(n),
            patient=self.cohort.patient,
            study=self.cohort.study,
            label=self.label,
            image_logits=logits[0],
            text_logits=logits[1],
            image_embedding=image.astype(np.float32),
            text_embedding=text.astype(np.float32),
            joint_embedding=image.astype(np.float32),
        )

    def draw(
        self,
        at: int = 0,
        *,
        kept: np.ndarray | float = 0.0,
        wrong: bool = False,
        retrains: int = 3,
        copies: Sequence[NearDuplicate] = (),
        copied: np.ndarray | float = 0.0,
        retained: float = 1.0,
    ) -> AuditedRun:
        """One forget set; `kept` = what the unlearned model still remembers of it, `copied` = what all models do."""
        asked, everybody = self.asked(at), np.maximum(self.of("forget"), self.of("retain"))
        rest = np.maximum(everybody - asked, copied * asked)
        exposed = rest * np.where(self.of("retain") > 0, retained, 1)
        signals = {
            "original": self.model(everybody),
            "unlearned": self.model(
                np.maximum(exposed, kept * asked), wrong=asked if wrong else None
            ),
        }
        signals |= {f"retrain-{r}": self.model(rest) for r in range(retrains)}
        sets = {
            name: np.flatnonzero(self.of(name)[self.patient]) for name in ("holdout", "reference")
        }
        inside = asked[self.patient] > 0

        partition = Partition(
            forget=np.flatnonzero(inside),
            validation=np.empty(0, np.int64),
            patient=self.patient,
            group=self.patient,
            retain=np.flatnonzero((everybody[self.patient] > 0) & ~inside),
            cohort="ward",
            **sets,
        )

        return AuditedRun(f"draw-{at}", partition, signals, duplicates=tuple(copies))


def judge(ward: Ward, *draws: AuditedRun, declared: AuditSpec = DECLARED) -> Audit:
    return audit(draws, cohort=ward.cohort, declared=declared, seed=1)


@pytest.fixture(scope="module")
def untouched() -> Audit:
    """The original handed out as if unlearned."""
    ward = Ward()
    return judge(ward, ward.draw(kept=1.0))


def test_an_untouched_model_is_not_forgotten(untouched: Audit) -> None:
    assert untouched.outcome == "NOT FORGOTTEN"
    assert any(sentence.startswith("Did not forget") for sentence in untouched.statements)
    assert untouched.verdict.rule == DECLARED.rule.digest
    assert untouched.rule_digest == DECLARED.digest
    assert all(abs(one.share or 0) < 0.1 for one in untouched.memory)
    assert {one.channel for one in untouched.memory} == {"image", "text", "both", "link"}
    assert {control.model: control.outcome for control in untouched.controls}[
        "original"
    ] == "NOT FORGOTTEN"
    assert all(
        control.outcome != "NOT FORGOTTEN"
        for control in untouched.controls
        if control.model != "original"
    )

    population = {
        row.model: row
        for row in untouched.attacks
        if (row.name, row.channel) == ("population", "both")
    }

    assert set(population) == {"original", "unlearned", "retrain-0", "retrain-1", "retrain-2"}
    assert population["unlearned"].value > 0.95
    assert len(population["retrain-0"].retrained) == 2
    assert max(population["unlearned"].retrained) < 0.75


def test_a_record_without_later_fields_is_read(untouched: Audit) -> None:
    plain = json.loads(untouched.to_json())
    for draw in plain["draws"]:
        del draw["left_out"], draw["earlier"]
    del plain["memory"]

    again = Audit.from_json(json.dumps(plain))
    assert again.to_json() == replace(untouched, memory=()).to_json()


def test_the_record_is_read_back(untouched: Audit) -> None:
    again = Audit.from_json(untouched.to_json())

    assert again.to_json() == untouched.to_json()
    assert again.patients == untouched.patients
    assert again.channel("link").outcome == untouched.channel("link").outcome
    assert {row.name for row in untouched.missing if not row.channel} == {
        "relearn",
        "epsilon_one_run",
        "lira_online",
    }


def test_too_visible_forgetting_is_over_forgotten() -> None:
    ward = Ward()
    result = judge(ward, ward.draw(wrong=True), declared=BRIEF)

    assert result.outcome == "OVER-FORGOTTEN"
    assert (
        result.patients[-1].channels["any"].score < 0
        or result.patients[-1].channels["image"].score < -2
    )


def test_four_pooled_forget_sets_can_show_forgetting() -> None:
    ward = Ward(draws=4, noise=0.05, seed=2, never=150)
    declared = replace(BRIEF, rule=Rule(resamples=300, channels=("image", "text", "both")))
    result = judge(ward, *(ward.draw(at) for at in range(4)), declared=declared)

    assert (result.verdict.forgotten, result.verdict.draws) == (64, 4)
    assert result.outcome == "FORGOTTEN", [channel.reason for channel in result.verdict.channels]
    assert {row.draw for row in result.patients} == {0, 1, 2, 3}
    assert all(
        control.outcome != "NOT FORGOTTEN"
        for control in result.controls
        if control.model != "original"
    )


def test_a_retained_near_duplicate_is_the_reason_and_no_failure() -> None:
    ward = Ward()
    twins = np.zeros(len(ward.kind))
    twins[[3, 7]] = 1.0
    copies = [
        NearDuplicate("same image", 0.99, "p0003", "p0020", "retain"),
        NearDuplicate("same file", 1.0, "p0007", "p0021", "retain"),
        NearDuplicate("same image", 0.97, "p0001", "p0080", "holdout"),
    ]
    result = judge(
        ward, ward.draw(kept=twins, copied=0.6 * twins, copies=copies), declared=POPULATION
    )

    assert result.outcome != "NOT FORGOTTEN"
    assert result.verdict.forgotten == 14
    assert result.draws[0].forgotten == 16
    assert result.draws[0].near_duplicates == 2
    assert {row.patient for row in result.patients if row.near_duplicate} == {"p0003", "p0007"}
    assert any(
        sentence.startswith("Near-duplicate retained: 2 withdrawn") and "p0003, p0007" in sentence
        for sentence in result.statements
    )
    assert any("1 patient counted as never seen" in sentence for sentence in result.statements)
    assert result.draws[0].left_out == ("p0080",)
    assert result.verdict.never_seen == 59
    assert all(row.counts["forgotten"] == 14 for row in result.attacks if row.name == "population")

    without = judge(ward, ward.draw(kept=twins, copied=0.6 * twins), declared=BRIEF)

    assert without.verdict.forgotten == 16


def test_patients_forgotten_earlier_water_nothing_down() -> None:
    """The second request's patients are remembered, the first one's are not: the audit is about the second's alone."""
    ward = Ward(draws=2)
    gone, asked = ward.asked(0), ward.asked(1)
    draw = ward.draw(1)
    rest = np.maximum(ward.of("forget"), ward.of("retain")) - gone
    signals = {"original": ward.model(rest), "unlearned": ward.model(rest)}
    signals |= {f"retrain-{r}": ward.model(rest - asked) for r in range(3)}
    before = np.flatnonzero(gone[ward.patient])
    copies = [
        NearDuplicate("same image", 0.97, "p0001", "p0099", "holdout"),
        NearDuplicate("same image", 0.97, "p0002", "p0040", "retain"),
    ]
    sets = {"retain": np.setdiff1d(draw.partition.retain, before)}

    run = replace(
        draw,
        signals=signals,
        duplicates=tuple(copies),
        partition=replace(
            draw.partition, **sets, forget=np.union1d(draw.partition.forget, before), earlier=before
        ),
    )

    result = judge(ward, run, declared=POPULATION)
    without = replace(run, partition=replace(draw.partition, **sets))
    alone = judge(ward, without, declared=POPULATION)

    assert result.outcome == "NOT FORGOTTEN"
    assert (result.verdict.forgotten, result.draws[0].forgotten, result.draws[0].images) == (
        16,
        16,
        32,
    )
    assert {row.patient for row in result.patients} == {f"p{code:04d}" for code in range(16, 32)}
    assert not any(row.near_duplicate for row in result.patients)
    assert (result.draws[0].earlier, result.draws[0].left_out) == (16, ("p0099",))

    sentences = [line for line in result.statements if "earlier requests" in line]

    assert len(sentences) == 1
    assert "16 patients" in sentences[0]
    assert (
        replace(result, draws=alone.draws, statements=alone.statements).to_json() == alone.to_json()
    )

    judge(ward, ward.draw(0), run, declared=BRIEF)  # pooled with the first: nobody counts twice


def test_all_forgotten_patients_copied() -> None:
    ward = Ward(forgotten=2)
    copies = [NearDuplicate("same image", 0.99, f"p000{at}", "p0010", "retain") for at in range(2)]
    result = judge(ward, ward.draw(kept=1.0, copied=1.0, copies=copies))

    assert result.outcome == "NOT RESOLVABLE"
    assert result.attacks == ()
    assert len(result.patients) == 2


@pytest.mark.parametrize(("reference", "named"), [(400, True), (0, False)])
def test_one_remembered_patient_among_sixteen_is_named(reference: int, named: bool) -> None:
    ward = Ward(reference=reference, noise=0.3)
    remembered = np.zeros(len(ward.kind))
    remembered[5] = 1.0
    result = judge(ward, ward.draw(kept=remembered), declared=BRIEF)

    assert result.patients[0].patient == "p0005"
    assert result.patients[0].remembered is named
    assert sum(row.remembered for row in result.patients) <= 2
    assert (
        any("Single patients" in sentence and "p0005" in sentence for sentence in result.statements)
        is named
    )
    assert (
        any(
            "could not have been named: that takes 320" in sentence
            for sentence in result.statements
        )
        is not named
    )
    assert result.draws[0].never_seen == 60 + reference


def test_harm_to_others_is_found() -> None:
    ward = Ward(never=120)
    draw = ward.draw()
    # Harm is corrected over all subgroups and heads: fewer resamples could not show it
    declared = replace(BRIEF, rule=Rule(resamples=2000))
    sick = replace(draw.signals["unlearned"])
    women = (ward.patient % 2 == 0) & (ward.of("holdout")[ward.patient] > 0)
    logits = np.where(women[:, None], np.roll(sick.image_logits, 1, axis=1), sick.image_logits)
    signals = {**draw.signals, "unlearned": sick.replaced(image_logits=logits, text_logits=logits)}
    result = judge(ward, replace(draw, signals=signals), declared=declared)
    outcome = {(row.column, row.value, row.head): row.outcome for row in result.harm}

    assert outcome["", "", "image"] == "harmed"
    assert outcome["sex", "F", "both"] == "harmed"
    assert outcome["sex", "M", "both"] in ("within margin", "not resolvable")
    assert any(
        "Harm to subgroups: " in sentence and "sex F" in sentence for sentence in result.statements
    )


@pytest.mark.slow  # where the women are harmed, the men above are not
def test_no_harm_is_found_where_there_is_none() -> None:
    ward = Ward(never=120)
    clean = judge(ward, ward.draw(), declared=replace(BRIEF, rule=Rule(resamples=2000)))

    assert not any(row.outcome == "harmed" for row in clean.harm)


def test_retained_patients_at_higher_risk_are_counted() -> None:
    ward = Ward()
    result = judge(ward, ward.draw(retained=2.0), declared=BRIEF)

    assert len(result.retained[0].risen) > 30
    assert any("easier to recognise" in sentence for sentence in result.statements)

    calm = judge(ward, ward.draw(), declared=BRIEF)

    assert len(calm.retained[0].risen) <= 3
    assert calm.retained[0].auc["both"] == pytest.approx(
        calm.retained[0].auc_retrained["both"], abs=0.1
    )


def test_relearning_and_canaries_are_used() -> None:
    ward = Ward()
    draw = ward.draw(kept=1.0)
    asked = ward.asked(0)
    # The unlearned model is back faster than the retrained one
    steps = {
        "unlearned": tuple(ward.model(asked * level) for level in (0.9, 1.1, 1.2)),
        "retrain-0": tuple(ward.model(asked * level) for level in (0.0, 0.5, 1.2)),
    }
    canaries = np.where(ward.of("forget") > 0, 1, np.where(ward.of("holdout") > 0, 0, -1)).astype(
        np.int64
    )

    result = judge(
        ward,
        replace(
            draw,
            canaries=canaries,
            relearning={name: Relearning(signals, np.arange(8)) for name, signals in steps.items()},
        ),
        declared=replace(DECLARED, attacks=("relearn", "epsilon_one_run")),
    )

    curves = {row.model: row for row in result.relearning if row.head == "both"}

    assert curves["unlearned"].epochs < curves["retrain-0"].epochs
    assert len(curves["unlearned"].watched) == 3

    values = {row.name: row.value for row in result.of_model("unlearned", channel="both")}

    assert values["relearn"] < 1
    assert values["epsilon_one_run"] > 0.5


def test_order_of_records_and_constant_logits_change_nothing() -> None:
    ward = Ward(never=40)
    draw = ward.draw(kept=0.3, retrains=2)
    order = np.random.default_rng(5).permutation(len(ward.patient))
    moved = {
        name: signals.select(order).replaced(image_logits=signals.select(order).image_logits + 3.0)
        for name, signals in draw.signals.items()
    }
    before, after = judge(ward, draw), judge(ward, replace(draw, signals=moved))

    assert before.outcome == after.outcome
    assert before.verdict.statements == after.verdict.statements

    for a, b in zip(before.attacks, after.attacks, strict=True):
        assert (a.name, a.model, a.channel) == (b.name, b.model, b.channel)
        assert a.value == pytest.approx(b.value, abs=1e-9)


def test_what_cannot_be_audited_is_refused() -> None:
    ward = Ward(draws=2)
    draw = ward.draw(0)

    with pytest.raises(EvaluationError, match="same patient"):
        judge(ward, draw, ward.draw(0))

    other = replace(draw.signals["unlearned"], cohort="another")

    with pytest.raises(EvaluationError, match="another cohort"):
        judge(ward, replace(draw, signals={**draw.signals, "unlearned": other}))

    with pytest.raises(EvaluationError, match="no original"):
        judge(ward, replace(draw, signals={"unlearned": draw.signals["unlearned"]}))

    with pytest.raises(EvaluationError, match="nothing to audit"):
        audit([], cohort=ward.cohort, declared=DECLARED)


def test_without_retrained_models_nothing_is_claimed() -> None:
    ward = Ward()
    result = judge(ward, ward.draw(kept=1.0, retrains=0), declared=BRIEF)

    assert result.outcome == "NOT RESOLVABLE"
    assert any("unverifiable" in sentence for sentence in result.statements)
    assert result.retained == ()
    assert {row.outcome for row in result.harm} <= {"not resolvable", "too few to say"}
