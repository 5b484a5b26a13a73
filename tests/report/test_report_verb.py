"""The verb `forgetmi.report`: pages of what was done from Python, which say that no record vouches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgetmi.core.errors import SpecError
from forgetmi.report.front_door import NO_SPECIFICATION, report
from tests.run.test_doctests import TRACE


def given(small: Any) -> dict[str, Any]:
    """What the verb takes, of made-up outputs of one model for all."""
    from forgetmi.evaluation.suite import evaluate
    from forgetmi.model.initialise import build
    from forgetmi.run.workflow import predict

    signals = predict(prepared=small.prepared, model=build(small.prepared.spec, seed=0))
    models = {"original": signals, "unlearned": signals, "retrain-0": signals}
    scores = evaluate(models, small.partition, task=small.cohort.task, seed=0, resamples=0)
    return {
        "cohort": small.cohort,
        "partition": small.partition,
        "trace": TRACE,
        "original": signals,
        "unlearned": signals,
        "retrained": [signals],
        "evaluation": scores,
    }


def test_pages_are_whole_and_say_where_they_come_from(small: Any, tmp_path: Path) -> None:
    pages = report(tmp_path / "new" / "pages", **given(small))
    text = pages[1].read_text(encoding="utf-8")
    assert [page.name for page in pages] == ["report.html", "engineer.html", "letter.html"]
    assert NO_SPECIFICATION in text
    assert "called from Python" in pages[0].read_text(encoding="utf-8")

    # Nobody is named but by digest, and a run's own folder is left alone
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.yaml").write_text("seed: 0\n")
    with pytest.raises(SpecError, match="directory of a run"):
        report(tmp_path / "run", **given(small))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["spec.yaml"]


def test_a_method_that_nobody_registered_must_be_passed(small: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from forgetmi.methods.fine_tune import FineTune

    values = given(small)
    values["trace"] = replace(TRACE, method="Mine")
    with pytest.raises(SpecError, match="not registered"):
        report(tmp_path / "pages", **values)
    assert not (tmp_path / "pages").exists()
    assert report(tmp_path / "pages", **values, method=FineTune())
