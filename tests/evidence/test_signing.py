"""Signing keys are read from files of their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forgetmi.core.errors import EvidenceError
from forgetmi.evidence.signing import load_private, load_public
from tests.runs import new_key


@pytest.mark.skipif(os.name != "posix", reason="there are no such rights")
def test_a_private_key_that_others_can_open_is_refused(tmp_path: Path) -> None:
    key = new_key(tmp_path / "some.key")
    load_private(key)
    for mode in (0o644, 0o640, 0o620):
        key.chmod(mode)
        with pytest.raises(EvidenceError, match=r"some\.key: .*open to others.*chmod 600"):
            load_private(key)

    # The public half is for everybody
    public = Path(f"{key}.pub")
    public.chmod(0o644)
    load_public(public)
