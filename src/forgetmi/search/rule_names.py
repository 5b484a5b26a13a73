"""Names of the rules by which a tuning selects options; light, because the options of a command name them."""

from __future__ import annotations

from typing import Literal

Rule = Literal["validation", "retraining"]
VALIDATION: Rule = "validation"
RETRAINING: Rule = "retraining"
