"""The default method is part of every command's help, which must not wait for the tensor libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = (
    "forgetmi.methods.forget_mi",
    "forgetmi.unlearning.four_losses",
    "forgetmi.unlearning.info",
)
HEAVY = {"torch", "transformers", "scipy"}


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(run.stdout.split())
