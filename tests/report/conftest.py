"""Facts of a run as the product makes them: simulated outputs of five models, evaluated by the evaluate room."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from forgetmi.audit.delta import DeltaEstimate, Deltas
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import (
    AttackMissing,
    AttackRow,
    Control,
    DrawSummary,
    HarmRow,
    NeverSeen,
    PatientRow,
    PatientScore,
    RelearnCurve,
    RetainedRisk,
    RetainedRow,
)
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.subgroups import SubgroupRow
from forgetmi.audit.verdict import ChannelVerdict, Outcome, Verdict
from forgetmi.core.cohort import ForgetRequest
from forgetmi.core.cost import Cost
from forgetmi.core.near_duplicates import NearDuplicate, NearDuplicates
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.suite import evaluate
from forgetmi.report import (
    figures,
    forest_figure,
    loss_figure,
    patient_figure,
    relearn_figure,
    rendering,
    roc_figure,
    trade_off_figure,
)
from forgetmi.report.content import (
    CohortSummary,
    Example,
    ReportFacts,
    Work,
)
from forgetmi.report.manifest import Manifest
from forgetmi.unlearning.info import MethodInfo
from tests.figures import drawn_figures

CLASSES = ("none", "vascular congestion", "interstitial edema", "alveolar edema")
SIZES = {"forget": 16, "retain": 146, "validation": 41, "holdout": 67}
# Each model: its confidence on what it was trained on, on never-seen and on withdrawn patients; the seed of its errors
MODELS = {
    "original": (5.5, 0.9, 5.5, 1),
    "unlearned": (4.9, 0.9, 1.1, 2),
    "retrain-0": (5.5, 0.85, 0.85, 3),
    "retrain-1": (5.5, 0.9, 0.9, 4),
    "retrain-2": (5.5, 0.9, 0.9, 5),
}


def make_partition() -> Partition:
    generator = np.random.default_rng(7)
    patient = np.repeat(
        np.arange(sum(SIZES.values())), generator.integers(1, 9, sum(SIZES.values()))
    )
    starts = np.cumsum([0, *SIZES.values()])
    rows = {
        name: np.flatnonzero((patient >= low) & (patient < high))
        for name, low, high in zip(SIZES, starts, starts[1:], strict=False)
    }

    return Partition(
        **rows,
        patient=patient,
        group=patient,
        cohort="c0" * 32,
        notes=("Share of images 10.0 %; distance of study counts to the cohort 0.08.",),
    )


def make_signals(partition: Partition) -> dict[str, Signals]:
    n = len(partition.patient)
    label = np.random.default_rng(8).choice(4, n, p=[0.47, 0.23, 0.2, 0.1])
    hard = np.random.default_rng(9).normal(size=(2, n, 4))
    signals = {}

    for model, (trained, never_seen, withdrawn, seed) in MODELS.items():
        strength = np.full(n, never_seen)
        strength[partition.retain] = trained
        strength[partition.forget] = withdrawn
        logits = []
        for head, scale in ((0, 1.0), (1, 1.15)):
            noise = hard[head] + 0.5 * np.random.default_rng((seed, head)).normal(size=(n, 4))
            truth = np.eye(4)[label] * strength[:, None] * scale
            logits.append(truth + noise)
        signals[model] = Signals.image_text(
            model=f"{seed:064x}",
            cohort=partition.cohort,
            row=np.arange(n),
            patient=np.array([f"secret-patient-{code:08d}" for code in partition.patient]),
            study=np.array([f"secret-study-{row:08d}" for row in range(n)]),
            label=label,
            image_logits=logits[0],
            text_logits=logits[1],
        )

    return signals


def make_facts() -> ReportFacts:
    partition = make_partition()
    signals = make_signals(partition)
    y, x = np.mgrid[0:96, 0:96] / 96
    pictures = [0.5 + 0.4 * np.sin(6 * x + phase) * np.cos(5 * y) for phase in (0.0, 1.0, 2.0)]

    return ReportFacts(
        title="Removal of 16 patients from the edema classifier",
        cohort=CohortSummary(
            "synthetic chest films",
            len(partition.patient),
            1079,
            sum(SIZES.values()),
            CLASSES,
            ("12 colour images were converted to grey.",),
        ),
        partition=partition,
        request=ForgetRequest(
            tuple(f"{code:016x}" for code in range(11, 27)), (), "consent withdrawn", "2026-03-14"
        ),
        method=MethodInfo(
            title="Forget-MI",
            paper="Hardan et al., MICCAI 2025, arXiv 2506.23145",
            summary="The model is moved, on the withdrawn patients, towards what the original would say about "
            "a blurred copy of their images and reports, and is held in place on all others.",
            reads=frozenset({"forget", "retain", "validation"}),
            exact=False,
            cost="two",
            suits="everybody",
        ),
        options={
            "learning_rate": 3e-4,
            "epochs": 30,
            "direction": "toward_noise",
            "image_std": 0.25,
            "text_level": 0.2,
        },
        work=Work(
            180,
            {"forget": 2916, "retain": 2430, "validation": 169},
            Cost(12.4, 12.1, 421 * 2**20),
            Cost(37.2, 36.9, 812 * 2**20),
            (),
        ),
        evaluation=evaluate(signals, partition, task="grades", seed=0, resamples=200),
        signals=signals,
        derived_from_forgotten=(
            "The vocabulary of the reports: pieces that occur with at least five training patients, the withdrawn "
            "among them.",
            "The choice of the noise level, which was set on their images.",
            "The gate was refitted on the remaining patients alone.",
        ),
        manifest=Manifest(
            package="0.1.0",
            python="3.11.7",
            libraries={"torch": "2.13.0", "numpy": "2.4.6"},
            platform="Linux x86_64",
            processor="AMD EPYC",
            accelerator="",
            cores=2,
            threads=1,
            seeds={"root": 0, "retrain-0": 1},
            cohort="c0" * 32,
            models={model: outputs.model for model, outputs in signals.items()},
            spec="5e" * 32,
            command="forgetmi unlearn --spec spec.yaml",
            stages={
                "train": Cost(38.1, 37.5, 812 * 2**20),
                "retrain": Cost(37.2, 36.9, 812 * 2**20),
                "unlearn": Cost(12.4, 12.1, 421 * 2**20),
                "evaluate": Cost(1.9, 1.9, 300 * 2**20),
            },
        ),
        duplicates=NearDuplicates(
            pairs=(NearDuplicate("same image", 0.987, f"{16:016x}", "0f" * 8, "retain"),),
            images=(81, 1117),
            reports=(71, 1008),
        ),
        examples=tuple(
            Example(pixels, f"Example {place + 1}, test patient, grade {CLASSES[place]}")
            for place, pixels in enumerate(pictures)
        ),
    )


def make_verdict(outcome: Outcome) -> Verdict:
    """A verdict whose first channel has the outcome; the link could not be measured."""
    value = {
        "FORGOTTEN": 0.01,
        "NOT FORGOTTEN": 0.19,
        "OVER-FORGOTTEN": -0.22,
        "NOT RESOLVABLE": 0.04,
    }[outcome]
    half = {"FORGOTTEN": 0.06, "NOT RESOLVABLE": 0.17}.get(outcome, 0.12)
    unlearned = DeltaEstimate(value, value - half, value + half, 0.001, 0.4)

    measured = Deltas(
        unlearned,
        DeltaEstimate(0.42, 0.3, 0.51, 0.0005, 1.0),
        DeltaEstimate(-0.03, -0.12, 0.05, 0.7, 0.3),
        (0.51 + value, 0.51),
        52.0,
    )

    channels = [
        ChannelVerdict(channel, outcome, f"reason of {channel}", measured, 0.004, 0.9, 0.11)
        for channel in ("image", "text", "both")
    ]

    return Verdict(
        outcome,
        (*channels, ChannelVerdict("link", "NOT RESOLVABLE", "the model has no embeddings")),
        "ab" * 32,
        16,
        67,
        1,
        ("With 16 withdrawn patients an AUC below 0.72 cannot be told from 0.5.",),
    )


def make_patients(generator: np.random.Generator) -> tuple[PatientRow, ...]:
    rows = []

    for code, score in enumerate(np.sort(generator.normal(0.3, 1.1, 16))[::-1]):
        patient_score = PatientScore(
            float(score) + (3.1 if code == 0 else 0),
            99.0 - code,
            0.01,
            0.03 if code == 0 else 0.6,
            0.5,
            0.9,
            67,
        )
        digest = f"{0x9E3779B97F4A7C15 * (code + 11) % 2**64:016x}"
        rows.append(
            PatientRow(
                digest,
                0,
                1 + code % 4,
                2 + code % 7,
                code == 5,
                code == 0,
                False,
                dict.fromkeys(("image", "text", "both", "any"), patient_score),
            )
        )

    return tuple(rows)


def make_attacks(generator: np.random.Generator) -> tuple[AttackRow, ...]:
    rows = []

    for name, title, note, scored in (
        ("population", "Population attack", "", True),
        ("rmia", "RMIA, offline", "3 reference models", True),
        ("svm_loss", "SVM loss attack", "for comparison with published tables", False),
    ):
        for channel in ("image", "text"):
            for model, shift in (
                ("original", 2.2),
                ("unlearned", 0.5),
                ("retrain-0", 0.0),
                ("retrain-1", 0.1),
            ):
                scores = (
                    {
                        "forgotten": tuple(generator.normal(shift, 1, 16)),
                        "never seen": tuple(generator.normal(0, 1, 67)),
                    }
                    if scored
                    else {}
                )
                rows.append(
                    AttackRow(
                        0,
                        model,
                        channel,
                        name,
                        title,
                        "Somebody et al., 2020",
                        "AUC of forgotten against never-seen",
                        "higher",
                        "retrained",
                        0.5 if scored else None,
                        0.5 + shift / 5,
                        (0.4 + shift / 5, 0.6 + shift / 5),
                        "",
                        "patients" if scored else "images",
                        {"forgotten": 16, "never seen": 67},
                        {"leakage": 0.61},
                        scores,
                        (0.48, 0.5, 0.53),
                        note,
                    )
                )

    return tuple(rows)


def make_audit(outcome: Outcome = "NOT RESOLVABLE") -> Audit:
    generator = np.random.default_rng(3)
    harm = [
        HarmRow(0, "", "", head, "auc", 67, 0.71, 0.72, -0.01, (-0.03, 0.02), 0.05, "within margin")
        for head in ("image", "text")
    ]

    harm += [
        HarmRow(0, "sex", value, head, "accuracy", 30, 0.6, 0.7, difference, interval, 0.1, result)
        for head in ("image", "text")
        for value, difference, interval, result in (
            ("F", -0.14, (-0.22, -0.06), "harmed"),
            ("M", 0.01, (-0.12, 0.14), "not resolvable"),
            ("", None, None, "too few to say"),
        )
    ]

    return Audit(
        declared=AuditSpec(),
        rule_digest="ab" * 32,
        cohort="c0" * 32,
        seed=0,
        duplicates=(),
        draws=(DrawSummary("run", 16, 81, 1, 67, {"original": "0a" * 32, "unlearned": "0b" * 32}),),
        verdict=make_verdict(outcome),
        statements=("One patient with a copy elsewhere was left out.",),
        controls=(
            Control("original", "NOT FORGOTTEN", {}),
            Control("retrain-0", "NOT RESOLVABLE", {}),
        ),
        patients=make_patients(generator),
        never_seen=(NeverSeen(0, "any", tuple(generator.normal(0, 1, 67))),),
        subgroups=(
            SubgroupRow("sex", "F", 9, 30, 0.62, (0.44, 0.78)),
            SubgroupRow("sex", "M", 7, 37, 0.5, (0.3, 0.7)),
            SubgroupRow("site", "", 1, 4, None, None, "too few to say"),
        ),
        harm=tuple(harm),
        retained=(
            RetainedRisk(
                0,
                146,
                0.01,
                {"image": 0.8},
                {"image": 0.79},
                (RetainedRow(0, "fe" * 8, "image", 4.2, 0.03),),
            ),
        ),
        relearning=tuple(
            RelearnCurve(0, model, "image", losses, losses, 0.2, 0.2, 3, model == "unlearned")
            for model, losses in (
                ("unlearned", (0.9, 0.5, 0.3, 0.25)),
                ("retrain-0", (1.4, 0.8, 0.4, 0.2)),
            )
        ),
        attacks=make_attacks(generator),
        missing=(
            AttackMissing(0, "lira_online", "LiRA, online", "image", "needs shadows"),
            AttackMissing(0, "lira_online", "LiRA, online", "text", "needs shadows"),
        ),
    )


@pytest.fixture(scope="package", autouse=True)
def _drawn_figures() -> Iterator[None]:
    """Here every figure is drawn."""
    with drawn_figures():
        # The signs in the pages' common part were drawn, too
        rendering._environment.cache_clear()
        yield
        rendering._environment.cache_clear()


@pytest.fixture(scope="session")
def facts() -> ReportFacts:
    return make_facts()


@pytest.fixture(scope="session")
def audited(facts: ReportFacts) -> ReportFacts:
    return replace(facts, audit=make_audit())


PANELS = (
    (loss_figure, "loss_panel"),
    (figures, "dot_panel"),
    (figures, "strip"),
    (trade_off_figure, "trade_off_panel"),
    (roc_figure, "roc_panel"),
    (patient_figure, "strip_panel"),
    (forest_figure, "forest_panel"),
    (relearn_figure, "relearn_panel"),
)
DRAW = {(module, name): getattr(module, name) for module, name in PANELS}  # as the product has them


def drawn_once(draw: Callable[..., str]) -> Callable[..., str]:
    """A panel function that draws the same arguments once; that they give the same bytes is tested apart."""
    drawn: dict[bytes, str] = {}

    def draw_or_look_up(*arguments: object, **options: object) -> str:
        key = pickle.dumps((arguments, options))
        if key not in drawn:
            drawn[key] = draw(*arguments, **options)
        return drawn[key]

    return draw_or_look_up


@pytest.fixture(scope="module")
def shared_pictures() -> Iterator[None]:
    """The pages that a module renders share the pictures whose content is the same."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), draw in DRAW.items():
            patch.setattr(module, name, drawn_once(draw))
        yield


@pytest.fixture
def fresh_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture drawn anew, whatever pages share."""
    for (module, name), draw in DRAW.items():
        monkeypatch.setattr(module, name, draw)
