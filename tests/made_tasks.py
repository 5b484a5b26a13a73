"""Made signals of models whose memory is known, for every task and any modalities: no model is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge

SIZES = {"forget": 30, "retain": 40, "validation": 4, "holdout": 60}
IMAGES = 2  # of each patient, one a study
FINDINGS = 4
FACTOR = 3.0  # how much larger a remembered margin is


@dataclass(frozen=True, eq=False)
class Made:
    """Models over one cohort.

    Args:
        task: Name of the task.
        heads: Heads of the models, none of pairs.
        modalities: What they embed.
        findings: How many, where the labels are findings.
        present: Modality to Bool[n]: samples that have it; a missing one has logits and embedding of 0.
    """

    task: str
    heads: tuple[str, ...] = ("image", "text")
    modalities: tuple[str, ...] = ("image", "text")
    findings: int = FINDINGS
    present: dict[str, np.ndarray] | None = None

    @property
    def kind(self) -> np.ndarray:
        """The set of each patient."""
        return np.repeat(list(SIZES), list(SIZES.values()))

    @property
    def owner(self) -> np.ndarray:
        """The patient of each image."""
        return np.repeat(np.arange(len(self.kind)), IMAGES)

    def partition(self) -> Partition:
        of = {name: np.flatnonzero((self.kind == name)[self.owner]) for name in SIZES}
        return Partition(**of, patient=self.owner, group=self.owner, cohort="made")

    def label(self) -> np.ndarray:
        """The same for every model."""
        draw, count = np.random.default_rng(7), len(self.owner)
        if self.task == "findings":
            label = (draw.random((count, self.findings)) < 0.4).astype(np.float64)
            label[draw.random(label.shape) < 0.2] = np.nan
            label[::29] = np.nan  # nothing known
            return label
        if self.task == "value":
            label = draw.normal(size=count)
            label[::29] = np.nan
            return label
        if self.task == "pairs":
            return np.zeros(count, np.int64)
        label = draw.integers(2 if self.task == "binary" else 3, size=count)
        label[::29] = -1
        return label

    def model(self, seed: int, remembered: Sequence[str], only: int | None = None) -> Signals:
        """A model that remembers the patients of some sets; `only` = by one finding alone."""
        draw, label = np.random.default_rng(seed), self.label()
        known = np.nan_to_num(label)
        memory = np.isin(self.kind, remembered)[self.owner]
        count = len(self.owner)

        logits = {head: self._logits(draw, known, memory, only) for head in self.heads}
        for name, there in (self.present or {}).items():
            if name in logits:
                logits[name][~there] = 0
        own = np.random.default_rng(3).normal(size=(count, 6))
        embedding = {}
        for name in (*self.modalities, "joint"):
            values = draw.normal(size=own.shape) + (1 + 3 * memory[:, None]) * own
            if self.present and name in self.present:
                values[~self.present[name]] = 0
            embedding[name] = values.astype(np.float32)
        if not self.heads:
            del embedding["joint"]

        rows = np.arange(count)
        return Signals(
            model=f"model {seed}",
            cohort="made",
            row=rows,
            patient=self.owner.astype(str),
            study=rows.astype(str),
            label=label,
            logits=logits,
            embedding=embedding,
            present=self.present or {},
        )

    def _logits(
        self,
        draw: np.random.Generator,
        label: np.ndarray,
        memory: np.ndarray,
        only: int | None,
    ) -> np.ndarray:
        if self.task == "value":
            error = draw.normal(size=len(label)) * np.where(memory, 0.2, 1.0)
            return (label + error)[:, None]
        if self.task == "findings":
            remembered = np.repeat(memory[:, None], self.findings, axis=1)
            if only is not None:
                remembered &= np.arange(self.findings) == only
            strength = np.where(remembered, FACTOR, 1.0)
            return draw.normal(size=label.shape) + strength * (2 * label - 1)
        true = np.eye(2 if self.task == "binary" else 3)[np.maximum(label, 0)]
        return draw.normal(size=true.shape) + np.where(memory, 4.0, 1.0)[:, None] * true

    @cache  # noqa: B019
    def signals(self, unlearned: Sequence[str] = ("retain",), only: int | None = None) -> dict:
        """An original, three retrained models, and an unlearned one that remembers some sets."""
        return {
            "original": self.model(0, ("forget", "retain"), only),
            "unlearned": self.model(1, unlearned, only),
            "retrain-0": self.model(2, ("retain",)),
            "retrain-1": self.model(3, ("retain",)),
            "retrain-2": self.model(4, ("retain",)),
        }

    def knowledge(self, channel: str, unlearned: Sequence[str] = ("retain",)) -> AdversaryKnowledge:
        signals = self.signals(unlearned)
        return AdversaryKnowledge(self.partition(), signals, channel=channel, task=self.task)

    def run(self, unlearned: Sequence[str] = ("retain",)) -> AuditedRun:
        return AuditedRun("made", self.partition(), self.signals(unlearned))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes or findings."""
        if self.task == "findings":
            return tuple(f"sign {number}" for number in range(1, self.findings + 1))
        if self.task in ("value", "pairs"):
            return ()
        return ("no", "yes") if self.task == "binary" else ("a", "b", "c")

    def cohort(self) -> Cohort:
        count = len(self.owner)
        rows = np.arange(count).astype(str).astype(object)
        patient = self.owner.astype(str).astype(object)
        empty = np.full(count, "", dtype=object)
        sex = np.where(self.owner % 2, "F", "M").astype(object)
        return Cohort(
            name="made",
            patient=patient,
            study=rows,
            image_id=rows,
            group=patient,
            image=empty,
            report=empty,
            label=self.label(),
            split=empty,
            classes=self.names,
            task=self.task,
            subgroups={"sex": sex},
            show_images=False,
            digest="made",
            key_id="",
        )
