"""Advice for misspelt words."""

from __future__ import annotations

from forgetmi.core.suggest import did_you_mean


def test_the_nearest_word_comes_first() -> None:
    known = ("alpha", "beta")
    assert did_you_mean("alpah", known) == "Did you mean 'alpha'?"
    assert did_you_mean("alpah", known, then="Known: a.") == "Did you mean 'alpha'? Known: a."
    assert did_you_mean("zzz", known, then="Known: a.") == "Known: a."
    assert did_you_mean("zzz", known) == ""
