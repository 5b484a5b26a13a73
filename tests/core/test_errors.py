"""Errors carry their faults."""

from __future__ import annotations

import pickle

from forgetmi.core.errors import Fault, MethodError


def test_errors_carry_all_faults_across_processes() -> None:
    error = MethodError(Fault("one", where="here", why="because", do="Do that."), Fault("two"))
    again = pickle.loads(pickle.dumps(error))
    assert again.faults == error.faults
    assert str(error) == "here: one (because). Do that.\ntwo."
