"""What an adversary knows: signals of models, and who was trained on by each. The attacks read nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.labels import known
from forgetmi.core.model_names import is_retrained, retrained_names
from forgetmi.core.partition import NEVER_SEEN, Partition, SetName
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.attacks.pools import Pool, Relearning, Repeats, ShadowSignals
from forgetmi.evaluation.attacks.remembered import Remembered
from forgetmi.evaluation.channels import channel_signal, is_link, linked
from forgetmi.evaluation.patients import Patients, by_patient
from forgetmi.evaluation.signals import has_inputs, predictions
from forgetmi.evaluation.tasks import measures_of

# The patients whom an attack compares. Reference patients only serve attacks that need a population.
ATTACKED_SETS: tuple[SetName, ...] = ("forget", "holdout")

Need = Literal[
    "original",
    "retrained",
    "references",
    "shadows",
    "unlearned shadows",
    "repeats",
    "relearning",
    "canaries",
    "retain rows",
    "verifiers",
]


@dataclass(frozen=True, eq=False, repr=False)
class AdversaryKnowledge:
    """Everything an attack may use, seen through one channel and aimed at one model.

    Args:
        partition: Who is forgotten, retained, and never seen (held out, or an extra reference). Attacks compare the
            forgotten with the held-out patients.
        signals: "original", "unlearned", "retrain-0" ... to signals on at least the forget and holdout rows.
        task: Name of the cohort's task, which says what a head's signal is.
        channel: Through which the models are seen, see `forgetmi.evaluation.channels.channel_signal`.
        target: Name of the attacked model.
        seed: Root seed of the attacks' subsamples and folds.
        shadows: Models trained on random halves of the patients.
        unlearned_shadows: Models trained on random halves, that then forgot some of their patients.
        repeats: Many unlearned and retrained models of this very request.
        relearning: Model name to its relearning.
        verifiers: Signals of models trained on a small part of the retained patients alone.
        canaries: Int[c] by patient code: 1 or 0 = a coin decided that it was, or was not, trained on; -1 = no canary.
    """

    partition: Partition
    signals: Mapping[str, Signals]
    channel: str = "image"
    task: str = "classes"
    target: str = "unlearned"
    seed: int = 0
    shadows: Pool | None = None
    unlearned_shadows: Pool | None = None
    repeats: Repeats | None = None
    relearning: Mapping[str, Relearning] | None = None
    verifiers: tuple[Signals, ...] = ()
    canaries: Ints | None = None

    def with_target(self, target: str) -> AdversaryKnowledge:
        """The same knowledge with another model attacked."""
        return self._seen_otherwise(target=target)

    def with_channel(self, channel: str) -> AdversaryKnowledge:
        """The same knowledge seen through another channel."""
        return self._seen_otherwise(channel=channel)

    def _seen_otherwise(self, **seen: str) -> AdversaryKnowledge:
        # What was computed of the same evidence stays known
        view = replace(self, **seen)  # type: ignore[arg-type]
        view.__dict__["_remembered"] = self._remembered
        return view

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered()

    def _view(self, *what: str) -> tuple[str | int, ...]:
        """A key of what follows from the channel and from which samples the attacked model's signals are of."""
        return (*what, self.channel, self._remembered.samples(self.audited))

    def missing(self, needs: frozenset[Need]) -> tuple[Need, ...]:
        """What an attack needs and the adversary does not know, sorted."""
        is_known: dict[Need, bool] = {
            "original": "original" in self.signals,
            "retrained": bool(self.retrained),
            "references": bool(self.retrained) or self.shadows is not None,
            "shadows": self.shadows is not None,
            "unlearned shadows": self.unlearned_shadows is not None,
            "repeats": self.repeats is not None,
            "canaries": self.canaries is not None,
            "verifiers": bool(self.verifiers),
            "retain rows": bool(np.isin(self.partition.retain, self.audited.row).all()),
            "relearning": self.relearning is not None and self.target in self.relearning,
        }
        return tuple(sorted(need for need in needs if not is_known[need]))

    # Models

    @property
    def audited(self) -> Signals:
        """Signals of the attacked model."""
        return self.signals[self.target]

    @property
    def retrained(self) -> tuple[Signals, ...]:
        """Signals of the retrained models, without the attacked one."""
        # In the order of their numbers
        names = filter(self.is_other_retrain, retrained_names(self.signals))
        return tuple(self.signals[name] for name in names)

    def is_other_retrain(self, name: str) -> bool:
        """Whether a model of that name is retrained and not the attacked one."""
        return name != self.target and is_retrained(name)

    # Patients and their images

    @property
    def never_seen(self) -> tuple[SetName, ...]:
        """The sets of never-seen patients that have rows."""
        return tuple(name for name in NEVER_SEEN if len(self.rows(name)))

    def rows(self, on: SetName) -> Ints:
        """Rows of a set; for a head's channel only the labelled ones that have what it reads; found once."""
        return self._remembered.once(self._view("rows", on), lambda: self._rows_of(on))

    def _rows_of(self, on: SetName) -> Ints:
        """See `rows`."""
        rows = self.partition.rows(on)

        # A link needs no label, but both of its modalities.
        if is_link(self.channel):
            return rows[self._linked_rows(rows)]

        # A head of one modality says nothing of a row without it
        signals = self.audited.select(rows)
        return rows[known(signals.label) & has_inputs(signals, self.channel)]

    def patients(self, on: SetName) -> Patients:
        """The patients of a set; grouped once and then remembered."""
        return self._remembered.once(self._view("patients", on), lambda: self._patients_of(on))

    def _patients_of(self, on: SetName) -> Patients:
        """See `patients`."""
        rows = self.rows(on)
        signals = self.audited.select(rows)
        owners = self.partition.patient[rows]
        return by_patient(owners, signals.study, self._groups(rows))

    def label(self, on: SetName) -> Labels:
        """Labels of the images of a set, as the task has them."""
        return self.audited.select(self.rows(on)).label

    def group(self, on: SetName) -> Ints:
        """Int[n], what the images of a set have in common by their labels: compared are those of one group."""
        return self._groups(self.rows(on))

    def _groups(self, rows: Ints) -> Ints:
        """Groups of some rows, formed over all rows: of some of them alone they could mean something else."""
        every = replace(self.audited, label=self.measures.groups(self.audited.label))
        return every.select(rows).label

    @property
    def measures(self) -> TaskMeasures:
        """How the task is measured."""
        return measures_of(self.task)

    def _linked_rows(self, rows: Ints) -> np.ndarray:
        """Bool[n]: whether a row has both modalities of the link, which no model embeds as nothing but zeros."""
        there = _embedded(self.audited, self.channel, rows)
        if there.all():
            return there

        # A model that collapsed to zero is no sign that something is missing
        for model in self.signals.values():
            there |= _embedded(model, self.channel, rows)
        return there if there.any() else ~there

    # Signals of one model

    def signal(self, model: Signals, on: SetName) -> Floats:
        """Float[p]: the channel's signal of each patient of a set under a model; computed once."""
        key = self._view("signal", on)
        return self._remembered.of_model(model, key, lambda: self._signal_of(model, on))

    def _signal_of(self, model: Signals, on: SetName) -> Floats:
        """See `signal`."""
        # Per image, then the mean over each patient's studies
        images = model.select(self.rows(on))
        gallery = self.gallery(model) if is_link(self.channel) else images
        per_image = channel_signal(images, self.channel, gallery=gallery, task=self.measures)
        return self.patients(on).mean(per_image)

    def attacked_signal(self, model: Signals) -> Floats:
        """Float[f + m]: the channel's signal of the forgotten patients, then of the never-seen ones."""
        return np.concatenate([self.signal(model, name) for name in ATTACKED_SETS])

    def gallery(self, model: Signals) -> Signals:
        """The forgotten and never-seen rows, whose reports the link is compared with."""
        # One gallery for both sides
        rows = np.concatenate([self.partition.forget, self.partition.holdout])
        if is_link(self.channel):
            rows = rows[self._linked_rows(rows)]
        return model.select(np.sort(rows))

    def log_probabilities(self, model: Signals, on: SetName) -> Floats:
        """Float[n, k] of the images of a set.

        Raises:
            EvaluationError: The channel is the link, or the task is not one class of several.
        """
        if not self.measures.one_class:
            raise EvaluationError(
                Fault(f"the task {self.task} has no class probabilities, which this attack reads")
            )
        return self.predictions(model, on)

    def predictions(self, model: Signals, on: SetName) -> Floats:
        """What the channel's head predicts for the images of a set.

        Raises:
            EvaluationError: The channel is a link, which predicts nothing.
        """
        if is_link(self.channel):
            raise EvaluationError(Fault("the image-report link has no class probabilities"))
        return predictions(model.select(self.rows(on)), self.channel, self.measures)

    def loss(self, model: Signals, on: SetName) -> Floats:
        """Float[n], the task's loss of the images of a set."""
        return self.measures.loss(self.predictions(model, on), self.label(on))

    def correct(self, model: Signals, on: SetName) -> Floats | None:
        """Float[n], share of each image's labels that are predicted right; None where nothing is right or wrong."""
        return self.measures.correct(self.predictions(model, on), self.label(on))

    def share_correct(self, model: Signals, on: SetName) -> Floats | None:
        """Float[p], share of each patient's images that are predicted right; None as in `correct`; computed once."""
        key = self._view("correct", on)

        def make() -> Floats | None:
            right = self.correct(model, on)
            return None if right is None else self.patients(on).mean(right)

        return self._remembered.of_model(model, key, make)

    def probability(self, model: Signals, on: SetName) -> Floats:
        """Float[p], mean probability of the true class of each patient of a set; computed once."""
        key = self._view("probability", on)
        return self._remembered.of_model(
            model, key, lambda: self.patients(on).mean(np.exp(-self.loss(model, on)))
        )

    # Signals of several models

    def outside_probability(self, on: SetName) -> Floats:
        """Float[m, p], `probability` under models that never saw the patient.

        The retrained models; where there are none, the shadow models that left the patient out, as many for each
        patient as for the one left out least often.
        """
        if self.retrained or self.shadows is None:
            return np.stack([self.probability(model, on) for model in self.retrained])

        # Shadow models that left a patient out come first in that patient's column.
        left_out = ~self.shadows.inside[:, self.patients(on).code]
        order = np.argsort(~left_out, axis=0, kind="stable")
        probability = np.stack([self.probability(model, on) for model in self.shadows.signals])
        ordered = np.take_along_axis(probability, order, 0)

        least = int(left_out.sum(0).min())
        return ordered[:least]

    def canary_signal(self) -> tuple[Ints, Floats]:
        """Patient codes of the canaries among the forgotten and the never-seen patients, and their signals."""
        # Canaries among the patients of `attacked_signal`
        code = self._attacked_codes()
        is_canary = np.asarray(self.canaries)[code] >= 0
        return code[is_canary], self.attacked_signal(self.audited)[is_canary]

    def shadow_signals(self, kind: Literal["shadows", "unlearned shadows"]) -> ShadowSignals:
        """The forgotten and the never-seen patients under the attacked model and every model of a pool.

        Raises:
            EvaluationError: There is no such pool, or the attacked model is itself in it.
        """
        pool = self.shadows if kind == "shadows" else self.unlearned_shadows
        if pool is None:
            raise EvaluationError(Fault(f"there are no {kind}"))

        if any(shadow.model == self.audited.model for shadow in pool.signals):
            raise EvaluationError(
                Fault(
                    "the attacked model is one of the shadow models",
                    why="an attack fitted on its target reads off the answer",
                )
            )

        # The pool's columns in the order of the signals
        code = self._attacked_codes()
        return ShadowSignals(
            target=self.attacked_signal(self.audited),
            stack=np.stack([self.attacked_signal(shadow) for shadow in pool.signals]),
            inside=pool.inside[:, code],
            forgotten=pool.forgotten[:, code],
            members=len(self.patients("forget")),
        )

    def repeated_signals(self, on: SetName) -> tuple[Floats, Floats]:
        """Float[m, p] twice: patients of a set under the repeated unlearned and the repeated retrained models.

        Raises:
            EvaluationError: There are no repeats.
        """
        if self.repeats is None:
            raise EvaluationError(Fault("there are no repeated unlearned and retrained models"))

        unlearned = self._stacked(self.repeats.unlearned, on)
        retrained = self._stacked(self.repeats.retrained, on)
        return unlearned, retrained

    def _stacked(self, models: Sequence[Signals], on: SetName) -> Floats:
        """Float[m, p]: the patients of a set under each of m models."""
        return np.stack([self.signal(model, on) for model in models])

    def _attacked_codes(self) -> Ints:
        """Patient codes in the order of `attacked_signal`."""
        return np.concatenate([self.patients(name).code for name in ATTACKED_SETS])


def _embedded(model: Signals, channel: str, rows: Ints) -> np.ndarray:
    """Bool[n]: whether a model embeds both modalities of a link as something else than zeros."""
    chosen = model.select(rows)
    there = np.ones(len(rows), bool)
    for name in linked(channel, model):
        embedding = chosen.embedding.get(name)
        if embedding is not None:
            there &= embedding.any(axis=1)
    return there
