"""Which labels are known, of each form a label has."""

from __future__ import annotations

import numpy as np

from forgetmi.core.labels import known, known_cells


def test_a_class_is_unknown_where_it_is_minus_one():
    label = np.array([0, 3, -1])
    assert known(label).tolist() == [True, True, False]
    assert known(label).dtype == bool


def test_a_value_is_unknown_where_it_is_no_number():
    assert known(np.array([-1.5, np.nan], np.float32)).tolist() == [True, False]


def test_findings_are_known_where_any_is():
    label = np.array([[0, np.nan], [np.nan, np.nan], [1, 0]], np.float32)
    assert known(label).tolist() == [True, False, True]
    assert known_cells(label).tolist() == [[True, False], [False, False], [True, True]]


def test_no_rows_and_no_findings():
    assert known(np.zeros(0, np.int64)).shape == (0,)
    assert known(np.zeros((3, 0), np.float32)).tolist() == [False, False, False]
