"""The data that a specification means: its cohort, its partition, and the cohort made ready for its models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from forgetmi.cohort.canaries import check_kept_out, keep_out, read_canaries
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.named_people import names_somebody
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.partition import Partition
from forgetmi.data.film_portions import Spread
from forgetmi.run import workflow
from forgetmi.run.given_patients import check_retrained, divide_for_given
from forgetmi.run.prepared import (
    Prepared,
    Progress,
    open_checkpoint,
    trained_rows,
    without_download,
)
from forgetmi.run.spec import RunSpec

# Partitions of one cohort that stay in memory: a benchmark goes back and forth between them
PARTITIONS = 64


def load_data(spec: RunSpec) -> tuple[Cohort, Partition]:
    """The cohort and its partition, a pure function of the specification and the files.

    Raises:
        SpecError: The words that the specification holds for the report or the record name a patient of the cohort.
    """
    cohort = spec.cohort.load()
    refuse_identifiers(spec, cohort)
    return cohort, divide(spec, cohort)


def refuse_identifiers(spec: RunSpec, cohort: Cohort) -> None:
    """Refuse identifiers in words that are printed or signed."""
    words = {
        "--partition.reason": spec.partition.reason,
        "--partition.date": spec.partition.date,
        "--request.id": spec.request.id,
        "--request.ground": spec.request.ground,
        "--request.sign-off": spec.request.sign_off,
    }
    for place, one in enumerate(spec.request.each):
        words[f"request.each[{place}]"] = f"{one.number} {one.ground}"
    given = {option: text for option, text in words.items() if text}
    if not given:
        return

    pseudonyms = Pseudonyms(load_key(getattr(spec.cohort, "key_file", None)))
    faults = []
    for option, text in given.items():
        if names_somebody(text, cohort.spelling.alike.get("patient", ()), "patient", pseudonyms):
            faults.append(
                Fault(
                    "the words hold the identifier of a patient of the cohort",
                    where=option,
                    why="they stand in the report and the record",
                    do="Name the request by its number, and nobody in words.",
                )
            )
    if faults:
        raise SpecError(faults)


def divide(spec: RunSpec, cohort: Cohort) -> Partition:
    """The partition a specification means, of its cohort."""
    options = spec.partition

    # Who is forgotten: a percentage, listed patients, or planted canaries.
    forget: Any = options.percent
    if options.forget_list is not None:
        key = load_key(getattr(spec.cohort, "key_file", None))
        forget = read_forget_list(options.forget_list, cohort=cohort, key=key)
    canaries = None
    if options.canaries is not None:
        canaries = read_canaries(options.canaries, cohort)
        forget = canaries.request()

    # The checkpoint of a given model names the patients it has seen
    if spec.given.original is not None:
        divided = divide_for_given(spec, cohort, forget)
        on_trust = check_retrained(spec.given.retrained, cohort, divided)
        divided = replace(divided, notes=(*divided.notes, *on_trust))
        if canaries is not None:
            check_kept_out(canaries, divided, cohort)
        return divided

    # A further withdrawal keeps the sets of the run before.
    if options.after is not None:
        before = read_partition(options.after, cohort)
        return further_withdrawal(before, forget, cohort=cohort)

    # A first withdrawal draws the sets
    divided = make_partition(
        cohort,
        forget=forget,
        holdout=options.holdout,
        validation=options.validation,
        validation_from=options.validation_from,
        seed=split_seed(spec),
        draw=options.draw,
    )
    # Canaries that are to be held out are in no training set
    if canaries is not None:
        divided = keep_out(canaries, divided, cohort)
    return divided


def split_seed(spec: RunSpec) -> int:
    """Seed of the draw of patients: its own, or the root seed."""
    return spec.seed if spec.split_seed is None else spec.split_seed


def prepare(
    spec: RunSpec,
    cohort: Cohort,
    partition: Partition,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Prepared:
    """The cohort made ready for the specification's models, as the given original was where there is one."""
    if spec.given.original is not None:
        prepared, _ = open_checkpoint(
            spec.given.original,
            cohort=cohort,
            progress=progress,
            factory=spec.model.factory,
            spread=spread,
        )
        return prepared.on_hardware(spec)

    # The vocabulary is made from the training patients
    check_vocabulary(spec, cohort, partition)
    prepared = workflow.prepare(
        cohort=cohort,
        partition=partition,
        images=spec.images,
        architecture=spec.model,
        vocabulary=spec.text.vocabulary,
        min_patients=spec.text.min_patients,
        max_length=spec.text.max_length,
        progress=progress,
        spread=spread,
    )
    return prepared.on_hardware(spec)


def check_vocabulary(spec: RunSpec, cohort: Cohort, partition: Partition) -> None:
    """Refuse a vocabulary that no piece of a word could enter.

    Raises:
        SpecError: A piece would need more patients than there are training patients.
    """
    patients = len(np.unique(cohort.patient[trained_rows(partition)].astype(str)))
    if spec.model.pretrained or spec.model.towers or spec.text.min_patients <= patients:
        return

    raise SpecError(
        Fault(
            f"no word piece can come from {spec.text.min_patients} patients",
            where="text.min_patients",
            why=f"{patients} patients are trained on",
            do="Choose a smaller number, e.g. 5.",
        )
    )


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """The data of a run, ready for its models.

    Args:
        cohort: The cohort.
        partition: Who is in which set.
        prepared: Images and tokens, and the kind of model that reads them. Its architecture does not allow a download:
            what had to be fetched is here, and whether it had to be is no part of a model.
    """

    cohort: Cohort
    partition: Partition
    prepared: Prepared


def open_run(spec: RunSpec) -> OpenedRun:
    """The data of a run; those of the last cohort stay in memory for further runs in this process.

    Use it where many runs of one cohort follow each other: trials, the models of a benchmark. Forget sets, draws,
    methods and training seeds may differ between them.

    Args:
        spec: The run.

    Raises:
        ForgetMIError: The cohort cannot be read, divided or prepared as specified.
    """
    # What runs share is loaded once
    options = _data_options(spec)
    cohort = _load(spec.cohort)
    partition = _divide(options)

    # Runs with the same training side share images, vocabulary and tokens.
    sides = replace(options.partition, percent=RunSpec().partition.percent, draw=0)
    preparation = _Preparation(
        replace(options, partition=sides),
        trained_rows(partition).tobytes(),
        cohort,
        partition,
    )
    return OpenedRun(cohort, partition, _prepare(preparation))


def open_cohort(spec: RunSpec) -> Cohort:
    """The cohort of a run, which `open_run` then finds in memory."""
    return _load(spec.cohort)


def close_runs() -> None:
    """Forget the data that `open_run` holds in memory: files may have changed, or the memory is needed."""
    for cached in (_load, _divide, _prepare):
        cached.cache_clear()


def _data_options(spec: RunSpec) -> RunSpec:
    """A specification reduced to what its data depend on."""
    return RunSpec(
        cohort=spec.cohort,
        images=spec.images,
        text=spec.text,
        model=spec.model,
        given=replace(spec.given, retrained=()),
        split_seed=split_seed(spec),
        partition=spec.partition,
    )


@lru_cache(maxsize=1)
def _load(reader: Any) -> Cohort:
    return reader.load()


@lru_cache(maxsize=PARTITIONS)
def _divide(options: RunSpec) -> Partition:
    return divide(options, _load(options.cohort))


@dataclass(frozen=True)
class _Preparation:
    """What prepared data depend on: options, and the rows that the vocabulary is made from.

    The cohort and one partition with these rows are passed along; they are no part of the key.
    """

    options: RunSpec
    trained_rows: bytes
    cohort: Cohort = field(compare=False)
    partition: Partition = field(compare=False)


@lru_cache(maxsize=1)
def _prepare(preparation: _Preparation) -> Prepared:
    prepared = prepare(preparation.options, preparation.cohort, preparation.partition)
    return replace(prepared, spec=without_download(prepared.spec))
