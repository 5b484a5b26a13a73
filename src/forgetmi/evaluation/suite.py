"""Every score of every model of a run, from saved signals alone: no model and no method is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import retrained_names
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.svm_loss import sample_mia
from forgetmi.evaluation.distance import cosine_distance, jensen_shannon, symmetric_kl
from forgetmi.evaluation.gaps import FLOOR, gaps
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.scores import Better, Key, Measure, key_of, measure
from forgetmi.evaluation.signals import (
    HEADS,
    Head,
    cross_entropy,
    log_probabilities,
    margin,
    pair_cosine,
)
from forgetmi.evaluation.statistics import (
    Metric,
    PatientSample,
    resample_patients,
    weighted_mean,
    weighted_spearman,
)
from forgetmi.evaluation.utility import (
    accuracy,
    macro_auc,
    macro_f1,
    mean_ordinal_auc,
    mean_pairwise_auc,
    severity_mse,
)

MEASURED: dict[str, SetName] = {
    "forget": "forget",
    "test": "holdout",
    "retain": "retain",
}  # reported name: its set
Utility = Callable[[Floats, Ints, Floats], Floats]
UTILITY: dict[str, Utility] = {"auc": macro_auc, "f1": macro_f1, "accuracy": accuracy}
ORDINAL: dict[str, Utility] = {
    "pairwise_auc": mean_pairwise_auc,
    "ordinal_auc": mean_ordinal_auc,
    "severity_mse": severity_mse,
}


@dataclass(frozen=True, eq=False)
class _Set:
    """One set: its rows, and the images of all rows and of the labelled ones with their patients resampled."""

    rows: Ints
    labelled: Ints
    all_images: PatientSample
    images: PatientSample


@dataclass(frozen=True, eq=False)
class _Predictions:
    """What one head of one model says about the labelled images of a set; reading raises if logits are not finite."""

    signals: Signals
    head: Head

    @cached_property
    def log(self) -> Floats:
        return log_probabilities(self.signals, self.head)

    @cached_property
    def probabilities(self) -> Floats:
        return np.exp(self.log)

    @cached_property
    def margin(self) -> Floats:
        return margin(self.log, self.signals.label)

    @cached_property
    def loss(self) -> Floats:
        return cross_entropy(self.log, self.signals.label)


class _Run:
    """One model's signals, set by set and head by head."""

    def __init__(self, signals: Signals, sets: Mapping[str, _Set]) -> None:
        self.sets = sets
        self.all = {on: signals.select(found.rows) for on, found in sets.items()}
        labelled = {on: signals.select(found.labelled) for on, found in sets.items()}
        self.said = {(head, on): _Predictions(labelled[on], head) for head in HEADS for on in sets}


def evaluate(
    signals: Mapping[str, Signals],
    partition: Partition,
    *,
    ordinal: bool,
    seed: int,
    resamples: int = 1000,
    on_step: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure every model on the forgotten, the held-out ("test") and the retained patients.

    Utility, membership inference and distances per head, each with a 95 % interval from resampled patients (the same
    patients for every model; none on retain), and the gap to retraining. The image head is the one Forget-MI
    (arXiv 2506.23145) reports. Validation patients are not read.

    Args:
        signals: Model name to signals: "original", "retrain-0" ... "retrain-k", and any other name for unlearned
            models. Each holds at least the forget, retain and holdout rows.
        partition: Who is in which set; what earlier requests had forgotten is not measured.
        ordinal: Whether the classes are grades; adds pairwise and ordinal AUC and the error of the expected grade.
        seed: Root seed; resamples and attack splits derive from it.
        resamples: Bootstrap resamples, >= 0 (0 = no intervals).
        on_step: Called with each model's name when it is done.

    Returns:
        Scores per model, and under "retrain" the gap of the retrained models among themselves. What cannot be
        measured is a `Failed` with the reason.

    Raises:
        EvaluationError: Signals are of another cohort, lack rows, or disagree in classes or labels; all faults at once.
    """
    _check(signals, partition)
    sets = _sets(
        next(iter(signals.values())), partition.of_request(), seed=seed, resamples=resamples
    )
    runs = {name: _Run(found, sets) for name, found in signals.items()}
    retrains = retrained_names(runs)
    measured: dict[str, dict[Key, Measure | Failed]] = {}
    for name, run in runs.items():
        found = list(_pairs(run))
        for head in HEADS:
            found += [*_utility(run, head, ordinal=ordinal), *_membership(run, head, seed=seed)]
            found += _to_retrains(run, head, [runs[other] for other in retrains if other != name])
            if name != "original" and "original" in runs:
                found += _to_original(run, head, runs["original"])
        measured[name] = {key_of(one): one for one in found}
        if on_step is not None:
            on_step(name)
    for name, found in gaps(
        measured, retrains=retrains, samples=(sets["forget"].images, sets["test"].images)
    ).items():
        measured.setdefault(name, {}).update({key_of(one): one for one in found})
    reference = _references([measured[name] for name in retrains])
    return Evaluation(
        {
            name: tuple(
                one if isinstance(one, Failed) else one.score(reference.get(key))
                for key, one in found.items()
            )
            for name, found in measured.items()
        },
        _notes(sets, retrains, resamples),
    )


def table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One plain row per model and score, for CSV, Parquet or a data frame; failed ones keep their reason.

    Returns:
        Rows with the same columns: model, name, head, on, value, low, high, patients, images, better, reference, note,
        failed. A missing number is None.
    """
    columns = [f.name for f in fields(Score)]
    rows = []
    for model, scores in evaluation.scores.items():
        for score in scores:
            stored = asdict(score)
            row = {
                "model": model,
                **{name: stored.get(name) for name in columns},
                "failed": stored.get("reason"),
            }
            row["low"], row["high"] = row.pop("interval") or (None, None)
            rows.append(row)
    return rows


def _check(signals: Mapping[str, Signals], partition: Partition) -> None:
    if not signals:
        raise EvaluationError(Fault("there are no signals to evaluate"))
    faults = []
    if FLOOR in signals:
        faults.append(
            Fault(
                f"a model may not be named {FLOOR!r}",
                do=f"Name retrained models {FLOOR}-0, {FLOOR}-1.",
            )
        )
    rows = np.concatenate([partition.rows(source) for source in MEASURED.values()])
    expected: tuple[int, list[int]] | None = None
    for name, found in signals.items():
        if found.cohort != partition.cohort:
            faults.append(Fault("the signals are of another cohort than the partition", where=name))
        elif missing := len(np.setdiff1d(rows, found.row)):
            faults.append(
                Fault(
                    f"{missing} of the {len(rows)} rows to measure are missing",
                    where=name,
                    do="Collect signals of the forget, retain and holdout rows.",
                )
            )
        else:
            own = found.image_logits.shape[1], found.select(rows).label.tolist()
            expected = own if expected is None else expected
            if own != expected:
                faults.append(
                    Fault("the classes or labels differ from the other models'", where=name)
                )
    if faults:
        raise EvaluationError(faults)


def _sets(signals: Signals, partition: Partition, *, seed: int, resamples: int) -> dict[str, _Set]:
    sets = {}
    for on, source in MEASURED.items():
        rows = partition.rows(source)
        images = resample_patients(
            partition.patient[rows],
            resamples=0 if on == "retain" else resamples,
            generator=numpy_generator(seed, "evaluate", "bootstrap", on),
        )
        known = signals.select(rows).label >= 0
        sets[on] = _Set(rows, rows[known], images, images.take(known))
    return sets


def _utility(run: _Run, head: Head, *, ordinal: bool) -> Iterator[Measure | Failed]:
    for on, found in run.sets.items():
        said = run.said[head, on]
        classes, present = said.signals.image_logits.shape[1], len(np.unique(said.signals.label))
        for name, metric in {**UTILITY, **(ORDINAL if ordinal else {})}.items():
            better: Better = (
                "closer" if on == "forget" else "lower" if name == "severity_mse" else "higher"
            )
            note = (
                f"{present} of {classes} classes present"
                if name.endswith("auc") and present < classes
                else ""
            )
            yield measure(
                name,
                partial(_predicted, metric, said),
                found.images,
                better=better,
                head=head,
                on=on,
                note=note,
            )


def _predicted(metric: Utility, said: _Predictions) -> Metric:
    return partial(metric, said.probabilities, said.signals.label)


def _membership(run: _Run, head: Head, *, seed: int) -> Iterator[Measure | Failed]:
    forget, test, retain = (run.sets[on].images for on in ("forget", "test", "retain"))

    def loss_auc(on: str) -> Metric:
        return partial(membership_auc, run.said[head, on].margin, run.said[head, "test"].margin)

    try:
        losses = {on: run.said[head, on].loss for on in run.sets}
        attack = sample_mia(
            retain=losses["retain"],
            forget=losses["forget"],
            never_seen=losses["test"],
            patient=test.patient,
            seed=seed,
        )
    except EvaluationError as error:
        yield Failed("sample_mia", str(error), head, "forget")
        yield Failed("never_seen_flag_rate", str(error), head, "test")
    else:
        note = "attacks fitted on {} and {} images a side".format(*attack.sizes)
        yield measure(
            "sample_mia",
            lambda: attack.flag_rate,
            forget,
            better="closer",
            head=head,
            on="forget",
            note=f"{note}; target: never_seen_flag_rate",
        )
        yield measure(
            "never_seen_flag_rate",
            lambda: attack.never_seen_flag_rate,
            test,
            better="closer",
            head=head,
            on="test",
            note=note,
        )
    yield measure(
        "loss_auc",
        partial(loss_auc, "forget"),
        forget,
        test,
        better="closer",
        head=head,
        on="forget",
        note="P(loss on forget < loss on test)",
    )
    yield measure(
        "loss_auc",
        partial(loss_auc, "retain"),
        retain,
        test.without_resamples(),
        better="closer",
        head=head,
        on="retain",
        note="P(loss on retain < loss on test)",
    )


def _pairs(run: _Run) -> Iterator[Measure | Failed]:
    def pair_auc() -> Metric:
        return partial(membership_auc, pair_cosine(run.all["forget"]), pair_cosine(run.all["test"]))

    yield measure(
        "pair_auc",
        pair_auc,
        run.sets["forget"].all_images,
        run.sets["test"].all_images,
        better="closer",
        head="both",
        on="forget",
        note="P(image-report cosine on forget > on test)",
    )


def _to_original(run: _Run, head: Head, original: _Run) -> Iterator[Measure | Failed]:
    for on, found in run.sets.items():
        better: Better = "closer" if on == "forget" else "lower"
        one, two = run.said[head, on], original.said[head, on]
        yield measure(
            "original_symmetric_kl",
            partial(_symmetric_kl, one, two),
            found.images,
            better=better,
            head=head,
            on=on,
            note="nats",
        )
        if head != "both":  # the mean of both heads has probabilities, no logits
            yield measure(
                "original_cosine",
                partial(_cosine, one, two),
                found.images,
                better=better,
                head=head,
                on=on,
                note="1 - cosine of the logits",
            )


def _symmetric_kl(one: _Predictions, two: _Predictions) -> Metric:
    return partial(weighted_mean, symmetric_kl(one.log, two.log))


def _cosine(one: _Predictions, two: _Predictions) -> Metric:
    a, b = (
        (said.signals.image_logits if said.head == "image" else said.signals.text_logits)
        for said in (one, two)
    )
    return partial(weighted_mean, cosine_distance(a, b))


def _to_retrains(run: _Run, head: Head, retrains: list[_Run]) -> Iterator[Measure | Failed]:
    sample, said = run.sets["forget"].images, run.said[head, "forget"]
    others = [other.said[head, "forget"] for other in retrains]

    def jsf() -> Metric:
        _require(others)
        return partial(
            weighted_mean,
            np.mean([jensen_shannon(said.log, other.log) for other in others], axis=0),
        )

    def spearman() -> Metric:
        _require(others)
        losses = [other.loss for other in others]
        return lambda weights: np.mean(
            [weighted_spearman(said.loss, loss, weights) for loss in losses], axis=0
        )

    yield measure(
        "jsf", jsf, sample, better="lower", head=head, on="forget", note="nats, at most ln 2"
    )
    yield measure("loss_spearman", spearman, sample, better="higher", head=head, on="forget")


def _require(others: list[_Predictions]) -> None:
    if not others:
        raise EvaluationError(Fault("there is no other retrained model to compare with"))


def _references(retrains: list[dict[Key, Measure | Failed]]) -> dict[Key, float]:
    """Mean over the retrained models of every score that all of them have; of the gap it is the floor."""
    reference = {}
    for key in retrains[0] if retrains else ():
        values = [one.values[0] for found in retrains if isinstance(one := found.get(key), Measure)]
        if len(values) == len(retrains):
            reference[key] = float(np.mean(values))
    return reference


def _notes(sets: Mapping[str, _Set], retrains: list[str], resamples: int) -> tuple[str, ...]:
    patients = sets["forget"].images.patients
    notes = [
        f"Intervals are 95 % percentile intervals over {resamples} resamples of whole patients, the same for every "
        "model; retrained models and attacks are held fixed.",
        "The gap is a mean of absolute differences: it and its interval are biased upwards and never reach 0. Read it "
        "beside gap_floor, the retrained models' own gap.",
    ]
    if patients < 20:
        notes.append(
            f"Only {patients} forgotten patients have labels: intervals cover less than they state."
        )
    if len(retrains) < 2:
        notes.append(
            f"{len(retrains)} retrained models: without at least two no gap can be given, and nothing shows "
            "how much retraining itself varies."
        )
    return tuple(notes)
