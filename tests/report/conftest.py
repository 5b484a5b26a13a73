"""Facts of a run as the product makes them: simulated outputs of five models, evaluated by the evaluate room."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.cost import Cost
from forgetmi.evaluation.suite import evaluate
from forgetmi.report.content import CohortSummary, Example, MethodSummary, ReportFacts, Work
from forgetmi.report.manifest import Manifest
from forgetmi.types import ForgetRequest, Partition, Signals

CLASSES = ("none", "vascular congestion", "interstitial edema", "alveolar edema")
SIZES = {"forget": 16, "retain": 146, "validation": 41, "holdout": 67}
# Each model: its confidence on what it was trained on, on strangers and on the withdrawn; the seed of its errors
MODELS = {
    "original": (5.5, 0.9, 5.5, 1), "unlearned": (4.9, 0.9, 1.1, 2), "retrain-0": (5.5, 0.85, 0.85, 3),
    "retrain-1": (5.5, 0.9, 0.9, 4), "retrain-2": (5.5, 0.9, 0.9, 5),
}


def make_partition() -> Partition:
    generator = np.random.default_rng(7)
    patient = np.repeat(np.arange(sum(SIZES.values())), generator.integers(1, 9, sum(SIZES.values())))
    starts = np.cumsum([0, *SIZES.values()])
    rows = {name: np.flatnonzero((patient >= low) & (patient < high))
            for name, low, high in zip(SIZES, starts, starts[1:], strict=False)}
    return Partition(**rows, patient=patient, group=patient, cohort="c0" * 32,
                     notes=("Share of images 10.0 %; distance of study counts to the cohort 0.08.",))


def make_signals(partition: Partition) -> dict[str, Signals]:
    n = len(partition.patient)
    label = np.random.default_rng(8).choice(4, n, p=[0.47, 0.23, 0.2, 0.1])
    hard = np.random.default_rng(9).normal(size=(2, n, 4))
    signals = {}
    for model, (trained, strangers, withdrawn, seed) in MODELS.items():
        strength = np.full(n, strangers)
        strength[partition.retain] = trained
        strength[partition.forget] = withdrawn
        logits = []
        for head, scale in ((0, 1.0), (1, 1.15)):
            noise = hard[head] + 0.5 * np.random.default_rng((seed, head)).normal(size=(n, 4))
            truth = np.eye(4)[label] * strength[:, None] * scale
            logits.append(truth + noise)
        signals[model] = Signals(
            model=f"{seed:064x}", cohort=partition.cohort, row=np.arange(n),
            patient=np.array([f"secret-patient-{code:08d}" for code in partition.patient]),
            study=np.array([f"secret-study-{row:08d}" for row in range(n)]), label=label,
            image_logits=logits[0], text_logits=logits[1])
    return signals


def make_facts() -> ReportFacts:
    partition = make_partition()
    signals = make_signals(partition)
    y, x = np.mgrid[0:96, 0:96] / 96
    pictures = [0.5 + 0.4 * np.sin(6 * x + phase) * np.cos(5 * y) for phase in (0.0, 1.0, 2.0)]
    return ReportFacts(
        title="Removal of 16 patients from the edema classifier",
        cohort=CohortSummary("synthetic chest films", len(partition.patient), 1079, sum(SIZES.values()), CLASSES,
                             ("12 colour images were converted to grey.",)),
        partition=partition,
        request=ForgetRequest(tuple(f"{code:016x}" for code in range(11, 27)), (), "consent withdrawn", "2026-03-14"),
        method=MethodSummary(
            "Forget-MI", "The model is moved, on the withdrawn patients, towards what the original would say about "
            "a blurred copy of their images and reports, and is held in place on all others.",
            "Hardan et al., MICCAI 2025, arXiv 2506.23145",
            {"learning_rate": 3e-4, "epochs": 30, "direction": "toward_noise", "image_std": 0.25, "text_level": 0.2}),
        work=Work(180, {"forget": 2916, "retain": 2430, "validation": 169}, Cost(12.4, 12.1, 421 * 2**20),
                  Cost(37.2, 36.9, 812 * 2**20), ()),
        evaluation=evaluate(signals, partition, ordinal=True, seed=0, resamples=200),
        signals=signals,
        derived_from_forgotten=(
            "The vocabulary of the reports: pieces that occur with at least five training patients, the withdrawn "
            "among them.", "The choice of the noise level, which was set on their images.",
            "The gate was refitted on the remaining patients alone."),
        manifest=Manifest(
            package="0.1.0", python="3.11.7", libraries={"torch": "2.13.0", "numpy": "2.4.6"}, platform="Linux x86_64",
            processor="AMD EPYC", accelerator="", cores=2, threads=1, seeds={"root": 0, "retrain-0": 1},
            cohort="c0" * 32, models={model: found.model for model, found in signals.items()}, spec="5e" * 32,
            command="forgetmi unlearn --spec spec.yaml",
            stages={"train": Cost(38.1, 37.5, 812 * 2**20), "retrain": Cost(37.2, 36.9, 812 * 2**20),
                    "unlearn": Cost(12.4, 12.1, 421 * 2**20), "evaluate": Cost(1.9, 1.9, 300 * 2**20)}),
        examples=tuple(Example(pixels, f"Example {place + 1}, test patient, grade {CLASSES[place]}")
                       for place, pixels in enumerate(pictures)),
    )


@pytest.fixture(scope="session")
def facts() -> ReportFacts:
    return make_facts()
