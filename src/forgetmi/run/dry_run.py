"""What a run refuses before its first model is made, found out without writing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.partition import Partition
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.own_spec import OwnSpec
from forgetmi.model.tasks.by_name import outputs_of
from forgetmi.run.applicable import check_model
from forgetmi.run.beside import check_second
from forgetmi.run.composing import composed_spec, tokenizer_for, towers_digest
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_targets import check_targets
from forgetmi.run.prepared import trained_rows
from forgetmi.run.run_data import check_vocabulary, load_data
from forgetmi.run.spec import RunSpec
from forgetmi.run.stored_spec import spec_text

# Generated patients that a dry run generates: 1000 take about 15 seconds, once.
MOST_GENERATED = 1000


def check_run(spec: RunSpec, out: Path) -> list[str]:
    """Refuse what the run itself would refuse before its first model is made.

    The specification is read strictly in any case. Here its files are looked at, too: the output directory, the cohort
    row by row (no image is decoded), the sets, models that are given, the vocabulary's patients and the architecture.

    Args:
        spec: The run.
        out: Its directory; nothing is written there.

    Returns:
        What was not looked at, in words.

    Raises:
        ForgetMIError: Everything that would be refused, at once.
    """
    checks = [_check_device, _check_given]

    # A large generated cohort can be read by construction
    left_out = []
    cohort = spec.cohort
    if (
        isinstance(cohort, SyntheticCohort)
        and cohort.patients + cohort.reference_patients > MOST_GENERATED
    ):
        left_out.append(f"the sets of a generated cohort of more than {MOST_GENERATED} patients")
    else:
        checks.append(_check_data)

    # Every look, so that all faults are reported at once
    faults = _faults_of(
        lambda _: RunDirectory(out).check_claim(spec_text(spec, RunDirectory(out))), spec
    )
    for check in checks:
        faults += _faults_of(check, spec)
    if faults:
        raise SpecError(faults)
    return left_out


def _faults_of(check: Callable[[RunSpec], None], spec: RunSpec) -> list[Fault]:
    """What one look finds."""
    try:
        check(spec)
    except ForgetMIError as error:
        return list(error.faults)
    return []


def _check_data(spec: RunSpec) -> None:
    """The cohort, its sets, and what the models' sizes follow from."""
    cohort, partition = load_data(spec)
    check_targets(spec, cohort, partition)
    if spec.given.original is not None:
        return

    check_vocabulary(spec, cohort, partition)
    _check_architecture(spec, cohort, partition)
    check_model(spec, cohort)
    check_second(spec, cohort)


def _check_architecture(spec: RunSpec, cohort: Cohort, partition: Partition) -> None:
    """The sizes fit together; a pretrained text encoder must be on this machine, whole, and fit its tokenizer."""
    if spec.model.towers:
        composed = composed_spec(
            spec.model,
            cohort,
            trained_rows(partition),
            classes=outputs_of(cohort.task, cohort.classes),
            download=False,
        )
        tokenizer_for(composed, max_length=spec.text.max_length)
        towers_digest(composed)
        return

    architecture = replace(spec.model, download=False).resolve(
        size=spec.images.size,
        classes=outputs_of(cohort.task, cohort.classes),
        vocabulary=spec.text.vocabulary,
        longest=spec.text.max_length,
        columns=cohort.table_columns,
    )
    if isinstance(architecture, OwnSpec) or not spec.model.pretrained:
        return

    # What reads weights is imported where an encoder is named.
    from forgetmi.data.tokenizer import Tokenizer
    from forgetmi.model.pretrained import pretrained_directory
    from forgetmi.run.pretrained import check_encoder

    folder = pretrained_directory(spec.model.pretrained)
    tokenizer = Tokenizer.from_pretrained_directory(folder, max_length=spec.text.max_length)
    check_encoder(architecture.text, tokenizer)


def _check_device(spec: RunSpec) -> None:
    """A GPU that is asked for is there."""
    if spec.device == "cuda":
        from forgetmi.run.device import device_of

        device_of(spec)


def _check_given(spec: RunSpec) -> None:
    """Models that are given are there, and their facts are as they were written."""
    given = [*filter(None, [spec.given.original]), *spec.given.retrained]
    faults: list[Fault] = []
    for directory in given:
        try:
            read_facts(directory / "model.json")
        except ForgetMIError as error:
            faults.extend(error.faults)
    if faults:
        raise SpecError(faults)
