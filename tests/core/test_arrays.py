"""Numbering values."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import codes


def test_codes_follow_first_appearance() -> None:
    code, unique = codes(np.array(["zz", "aa", "zz", "bb"], dtype=object))
    assert code.tolist() == [0, 1, 0, 2]
    assert unique.tolist() == ["zz", "aa", "bb"]
