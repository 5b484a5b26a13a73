"""How a model's encoders are run: one operation after another, compiled, or captured as graphs."""

from __future__ import annotations

from typing import Literal

Compile = Literal["off", "on", "graphs"]
