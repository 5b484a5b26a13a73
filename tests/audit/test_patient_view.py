"""One patient seen closely: a remembered one is familiar, and the image that is remembered comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.patient_view import PatientView, _image_views, patient_view
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.toy import toy_knowledge


def toy_run(memory: float) -> AuditedRun:
    toy = toy_knowledge(memory)
    return AuditedRun("toy", toy.partition, toy.signals)


def first_patient(run: AuditedRun) -> str:
    rows = run.partition.forget[:1]
    return str(run.signals["original"].select(rows).patient[0])


def view(memory: float) -> PatientView:
    run = toy_run(memory)
    return patient_view(run, first_patient(run), task="classes")


def test_who_is_remembered_is_familiar_and_who_is_not_is_among_strangers() -> None:
    channels = {
        memory: {one.channel: one for one in view(memory).channels} for memory in (0.0, 1.0)
    }
    assert channels[1.0]["image"].familiar["unlearned"] > 0.9
    assert channels[1.0]["image"].familiar["original"] > 0.9
    assert (
        channels[0.0]["image"].familiar["unlearned"] < channels[1.0]["image"].familiar["unlearned"]
    )
    assert channels[1.0]["image"].never_seen == 20
    assert set(channels[1.0]["image"].familiar) == {
        "original",
        "unlearned",
        "retrain-0",
        "retrain-1",
    }


def test_the_image_that_the_model_still_knows_comes_first() -> None:
    run = toy_run(0.0)
    rows = run.partition.forget[:2]

    # The unlearned model is certain of the second image's label alone
    unlearned = run.signals["unlearned"]
    logits = {head: values.copy() for head, values in unlearned.logits.items()}
    place = int(np.flatnonzero(unlearned.row == rows[1])[0])
    logits["image"][place] = -30.0
    logits["image"][place, unlearned.label[place]] = 30.0
    known = replace(unlearned, logits=logits)

    changed = replace(run, signals={**run.signals, "unlearned": known})
    remembered = patient_view(changed, first_patient(run), task="classes").remembered
    assert remembered[0].row == rows[1]
    assert remembered[0].channel in ("image", "both")
    assert remembered[0].excess > remembered[-1].excess


def test_a_model_that_is_surer_of_everybody_remembers_nobody_the_more() -> None:
    run = toy_run(0.3)
    unlearned = run.signals["unlearned"]
    logits = {head: values.copy() for head, values in unlearned.logits.items()}
    logits["image"][np.arange(len(unlearned)), unlearned.label] += 5.0
    surer = replace(run, signals={**run.signals, "unlearned": replace(unlearned, logits=logits)})

    def of_image(audited: AuditedRun) -> list[float]:
        through = replace(
            audited.knowledge(audited.partition, seed=0, task="classes"), channel="image"
        )
        rows = audited.partition.forget[:2]
        own = audited.signals["original"].select(rows)
        return [one.excess for one in _image_views(through, own)]

    np.testing.assert_allclose(of_image(surer), of_image(run), rtol=1e-4)


def test_agreement_with_retrained_models_is_counted() -> None:
    run = toy_run(1.0)
    same = {
        **run.signals,
        "unlearned": run.signals["retrain-0"],
        "retrain-1": run.signals["retrain-0"],
    }
    found = patient_view(replace(run, signals=same), first_patient(run), task="classes")
    assert all(after == images for _, after, images in found.predicted.values())
    assert set(found.predicted) == {"image", "text", "both"}


def test_without_retrained_models_images_are_not_ranked() -> None:
    run = toy_run(1.0)
    alone = {name: run.signals[name] for name in ("original", "unlearned")}
    found = patient_view(replace(run, signals=alone), first_patient(run), task="classes")
    assert found.remembered == ()
    assert found.predicted == {}
    assert found.channels


def test_a_channel_without_embeddings_is_left_out() -> None:
    run = toy_run(1.0)

    def without(signals: Signals) -> Signals:
        return replace(signals, embedding={})

    bare = replace(run, signals={name: without(one) for name, one in run.signals.items()})
    found = patient_view(bare, first_patient(run), task="classes")
    assert [one.channel for one in found.channels] == ["image", "text", "both"]
    with pytest.raises(IndexError):
        patient_view(run, "nobody", task="classes")
