"""With which code a command ends that gives a verdict; wrong input is 2, an interruption 130."""

from __future__ import annotations

from collections.abc import Mapping

ACCEPTABLE = 0  # FORGOTTEN, or accepted by a written policy
CODES: Mapping[str, int] = {
    "FORGOTTEN": ACCEPTABLE,
    "NOT RESOLVABLE": 10,
    "NOT AUDITED": 10,
    "NOT FORGOTTEN": 11,
    "OVER-FORGOTTEN": 12,
}
IN_WORDS = (
    "Ends with 0 where the verdict is FORGOTTEN (or accepted by --policy, or nobody was trained on), "
    "10 NOT RESOLVABLE, 11 NOT FORGOTTEN, 12 OVER-FORGOTTEN, 2 wrong input, 130 interrupted."
)
