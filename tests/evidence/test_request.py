"""What a record says of the requests that it answers; records and specifications from before read as they were."""

from __future__ import annotations

import dataclasses

import pytest

from forgetmi.core.errors import SpecError
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.request import RequestSpec, Withdrawal

BEFORE = {"id": "R0001", "ground": "consent withdrawn", "scope": "all_studies", "sign_off": "DPO"}
SEVERAL = RequestSpec(
    id="R0001, R0003",
    due="2026-02-28",
    in_service="2026-03-02",
    each=(
        Withdrawal("R0001", "2026-01-31", "2026-02-28", "GDPR Art. 17, erasure"),
        Withdrawal("R0003", "2026-02-07", "2026-03-07", "GDPR Art. 21, objection"),
    ),
)


def test_a_request_from_before_the_dates_is_read() -> None:
    read = from_plain(RequestSpec, BEFORE, where="record.json", complete=True)
    assert (read.id, read.due, read.in_service, read.each) == ("R0001", None, None, ())


def test_several_requests_are_read_back() -> None:
    plain = dataclasses.asdict(SEVERAL)
    assert from_plain(RequestSpec, plain, where="record.json", complete=True) == SEVERAL


def test_what_is_no_day_is_refused_without_being_quoted() -> None:
    with pytest.raises(SpecError) as refused:
        RequestSpec(due="28.02.2026", in_service="20260302")
    assert [fault.where for fault in refused.value.faults] == ["request.due", "request.in_service"]
    assert "2026" not in str(refused.value)

    with pytest.raises(SpecError, match=r"request\.received"):
        Withdrawal("R0001", received="yesterday")
