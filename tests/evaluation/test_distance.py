"""Distances: closed forms, symmetry, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, rel_entr

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.distance import cosine_distance, jensen_shannon, symmetric_kl

LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-400, 400))


@given(LOGITS, LOGITS)
def test_jensen_shannon(a: np.ndarray, b: np.ndarray) -> None:
    p, q = log_softmax(a, axis=1), log_softmax(b, axis=1)
    found = jensen_shannon(p, q)
    assert (found >= 0).all()
    assert (found <= np.log(2)).all()
    np.testing.assert_allclose(found, jensen_shannon(q, p), atol=1e-12)
    x, y = np.exp(p), np.exp(q)
    slow = (rel_entr(x, (x + y) / 2) + rel_entr(y, (x + y) / 2)).sum(axis=1) / 2
    np.testing.assert_allclose(found, slow, atol=1e-9)
    assert (jensen_shannon(p, p) == 0).all()
    assert (symmetric_kl(p, p) == 0).all()
    assert (symmetric_kl(p, q) >= 0).all()


def test_closed_forms() -> None:
    p, q = np.log([[0.75, 0.25]]), np.log([[0.25, 0.75]])
    assert symmetric_kl(p, q)[0] == pytest.approx(np.log(3))
    far = log_softmax(np.array([[900.0, 0.0]]), axis=1)
    assert jensen_shannon(far, far[:, ::-1])[0] == pytest.approx(np.log(2))
    a = np.array([[1.0, 0.0], [2.0, 2.0], [1.0, 0.0]])
    b = np.array([[0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(cosine_distance(a, b), [1, 0, 2], atol=1e-12)
    with pytest.raises(EvaluationError, match="all zero"):
        cosine_distance(a * 0, b)
