"""Commands that give a method no pool refuse one that learns from it, before they read or make anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgetmi.cli import main
from forgetmi.core.errors import MethodError
from forgetmi.methods import calibrated_consensus
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.initialise import build
from forgetmi.run import workflow
from forgetmi.run.pool_use import learns_from_pool, no_pool_faults

POOL = ["--method", "calibrated_consensus", "--method.target", "pool"]
SWEEP = "method: grid\nparameters:\n  method.draws:\n    values: [1, 2]\n"


def test_only_what_asks_for_a_pool_learns_from_one() -> None:
    assert learns_from_pool(CalibratedConsensus(target="both"))
    assert not learns_from_pool(CalibratedConsensus())
    assert not no_pool_faults(ForgetMI())


@pytest.mark.parametrize(
    "command",
    [
        ["unlearn", "--checkpoint", "absent", *POOL],
        ["tune", "--rule", "validation", *POOL],
        ["sweep", *POOL],
        ["sweep", "--file", "sweep.yaml", *POOL],
        ["benchmark", "--methods", "calibrated_consensus:target=pool", "--cohort.patients", "40"],
    ],
)
def test_commands_without_pools_refuse_it_first(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)
    assert main([*command, "--out", "out"]) == 2
    assert "gives a method none" in capsys.readouterr().err
    made = [path for path in Path("out").rglob("*") if path.suffix in (".safetensors", ".npz")]
    assert not made


def test_the_method_asks_for_its_pool_before_it_computes(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*arguments: Any, **options: Any) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr(calibrated_consensus, "outputs_of", computed)
    with pytest.raises(MethodError, match="the run was given none"):
        workflow.unlearn(
            prepared=small.prepared,
            partition=small.partition,
            model=build(small.prepared.spec, seed=0),
            method=CalibratedConsensus(target="pool", epochs=1),
        )
