"""Whatever stands in a folder of adapters: a model with them, or clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.carrier import Carrier
from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.run import workflow
from forgetmi.unlearning.adapter_files import FACTORS, FACTS, WHOLE, adapters_of, with_adapters
from forgetmi.unlearning.carrier import carry, moving
from tests.fuzzing import damaged, fuzz, replaced

pytestmark = pytest.mark.slow

FILES = (FACTS, FACTORS, WHOLE)


@pytest.mark.parametrize("name", FILES)
def test_fuzz_files_of_adapters(name: str, small: Any, tmp_path: Path) -> None:
    model = workflow.build(small.prepared.spec, seed=0)
    carrier = Carrier("lora", rank=1)
    carried = carry(model, carrier, seed=0)
    folder = tmp_path / "adapters"
    adapters_of(carried, carrier, whole=moving(model, carrier)).save(folder)
    with_adapters(model, folder)
    content = (folder / name).read_bytes()

    @given(st.data())
    def files_fit_or_are_refused(data: Any) -> None:
        if name == FILES[0] and data.draw(st.booleans()):
            changed = json.dumps(replaced(data.draw, json.loads(content))).encode()
        else:
            changed = data.draw(damaged(content))
        (folder / name).write_bytes(changed)

        faults: tuple[Fault, ...] = ()
        try:
            whole = with_adapters(model, folder)
            assert all(bool(value.isfinite().all()) for value in whole.state_dict().values())
        except CheckpointError as error:
            faults = error.faults
        assert all("\n" not in str(fault) for fault in faults)

    fuzz(files_fit_or_are_refused)
