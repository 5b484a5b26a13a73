"""Every text of a program parsed once a process: several checks read all files."""

from __future__ import annotations

import ast
from functools import cache


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a program's text, which nobody changes."""
    return ast.parse(text)
