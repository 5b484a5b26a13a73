"""A run can be described without loading torch: the modules of its specification import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

LIGHT = (
    "forgetmi.core.arrays",
    "forgetmi.core.batch",
    "forgetmi.core.cohort",
    "forgetmi.core.cost",
    "forgetmi.core.errors",
    "forgetmi.core.files",
    "forgetmi.core.launch",
    "forgetmi.core.model_names",
    "forgetmi.core.partition",
    "forgetmi.core.registry",
    "forgetmi.core.scores",
    "forgetmi.core.seeding",
    "forgetmi.core.serialization",
    "forgetmi.core.signals",
    "forgetmi.data.preprocessing",
    "forgetmi.model.architecture",
    "forgetmi.model.recipe",
    "forgetmi.model.spec",
)
HEAVY = ("torch", "transformers", "tokenizers", "scipy", "sklearn", "pandas", "matplotlib", "PIL")


def test_specifications_load_without_heavy_libraries() -> None:
    script = (
        f"import sys, {', '.join(LIGHT)}; print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
