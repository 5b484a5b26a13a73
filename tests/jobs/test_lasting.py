"""What a worker sets once."""

from __future__ import annotations

import gc

import pytest

from forgetmi.jobs import lasting


def test_what_was_imported_is_never_collected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the C library's options, which cannot be taken back
    monkeypatch.setattr(lasting.sys, "platform", "elsewhere")
    before = gc.get_freeze_count()
    try:
        lasting.work_long()
        assert gc.get_freeze_count() > before
        assert gc.isenabled()
    finally:
        gc.unfreeze()
