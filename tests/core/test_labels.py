"""Which labels are known, of each form a label has."""

from __future__ import annotations

import numpy as np

from forgetmi.core.labels import all_unknown, known, known_cells, strata


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


def test_strata_of_classes_are_the_labels_themselves():
    label = np.array([2, -1, 0])
    assert strata(label) is label


def test_strata_of_values_are_quarters_of_those_that_are_known():
    rng = np.random.default_rng(0)
    label = rng.permutation(40).astype(np.float32)
    label[::10] = np.nan
    found = strata(label)
    assert (found[::10] == -1).all()
    assert np.bincount(found[found >= 0]).tolist() == [9, 9, 9, 9]
    assert strata(np.full(3, np.nan)).tolist() == [-1, -1, -1]

    # The larger value is never in the smaller quarter
    order = np.argsort(label[found >= 0])
    assert (np.diff(found[found >= 0][order]) >= 0).all()


def test_strata_of_findings_are_how_many_there_are():
    label = np.array([[1, 1, 0], [np.nan, 1, np.nan], [np.nan] * 3, [0, 0, 0]], np.float32)
    assert strata(label).tolist() == [2, 1, -1, 0]


def test_hidden_labels_keep_their_form():
    for label in (np.array([2, 0]), np.array([0.5, 1]), np.ones((2, 3), np.float32)):
        hidden = all_unknown(label)
        assert not known(hidden).any()
        assert (hidden.dtype, hidden.shape) == (label.dtype, label.shape)
        assert known(label).all()
