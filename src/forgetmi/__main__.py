"""``python -m forgetmi``, and what ``torchrun -m forgetmi`` starts."""

from __future__ import annotations

import sys

from forgetmi.cli import main

sys.exit(main())
