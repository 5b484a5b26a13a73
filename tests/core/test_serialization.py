"""Dataclasses from plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from forgetmi.core.errors import SpecError
from forgetmi.core.serialization import from_plain


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    path: Path | None = None


def test_plain_values_are_read_strictly() -> None:
    built = from_plain(
        Outer, {"name": "x", "inner": {"rate": "1e-4"}, "sizes": [1, 2], "path": "p"}, where="f"
    )
    assert built == Outer("x", Inner(1e-4), "a", (1, 2), Path("p"))
    with pytest.raises(SpecError) as caught:
        from_plain(
            Outer,
            {"nmae": "x", "inner": {"rate": "fast"}, "kind": "c", "sizes": [1, "2"]},
            where="f",
        )
    text = str(caught.value)
    for word in (
        "Did you mean 'name'",
        "inner.rate",
        "one of 'a', 'b'",
        "sizes[1]",
        "'name' is missing",
    ):
        assert word in text
    with pytest.raises(SpecError, match="'kind' is missing"):
        from_plain(Outer, {"name": "x"}, where="f", complete=True)
