"""What is computed once for all views of the same evidence is what each would compute by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.evaluation.attacks.toy import toy_knowledge
from forgetmi.evaluation.statistics import resample_patients


def test_views_of_the_same_evidence_say_what_fresh_evidence_says() -> None:
    knowledge = toy_knowledge()
    for channel in ("image", "both", "link"):
        for target in knowledge.signals:
            view = knowledge.with_channel(channel).with_target(target)
            fresh = replace(knowledge, channel=channel, target=target)
            for model in knowledge.signals.values():
                for side in ("forget", "holdout"):
                    assert (view.signal(model, side) == fresh.signal(model, side)).all()
                    assert (view.rows(side) == fresh.rows(side)).all()


def test_a_signal_is_computed_once_and_nobody_writes_to_it() -> None:
    knowledge = toy_knowledge()
    model = knowledge.signals["original"]
    signal = knowledge.with_target("retrain-0").signal(model, "forget")
    assert knowledge.with_target("retrain-1").signal(model, "forget") is signal
    assert knowledge.with_channel("text").signal(model, "forget") is not signal
    with pytest.raises(ValueError, match="read-only"):
        signal[0] = 0.0


def test_a_model_of_which_other_labels_are_known_has_rows_of_its_own() -> None:
    knowledge = toy_knowledge()
    label = knowledge.signals["retrain-0"].label.copy()
    row = knowledge.partition.forget[0]
    label[row] = -1
    other = replace(knowledge.signals["retrain-0"], label=label)
    mixed = replace(knowledge, signals={**knowledge.signals, "retrain-0": other})

    rows = mixed.rows("forget")
    of_other = mixed.with_target("retrain-0").rows("forget")
    assert row in rows
    assert row not in of_other


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937])
def test_patients_drawn_again_are_the_same_and_the_generator_goes_on_as_before(
    kind: type[np.random.BitGenerator],
) -> None:
    patient = np.arange(6)

    def drawn(seed: int) -> tuple[np.ndarray, float]:
        generator = np.random.Generator(kind(seed))
        sample = resample_patients(patient, resamples=50, generator=generator)
        return sample.multiplicity, generator.random()

    first, after_first = drawn(11)
    again, after_again = drawn(11)
    other, _ = drawn(12)

    expected = np.random.Generator(kind(11))
    slow = expected.multinomial(6, np.full(6, 1 / 6), size=50)
    assert (first[1:] == slow).all()
    assert (again == first).all()
    assert after_first == after_again == expected.random()
    assert not (other == first).all()
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 2.0
