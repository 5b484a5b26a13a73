"""A room that is also a verb of the front door: `forgetmi.audit` is a package, and `forgetmi.audit(...)` audits."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package that can be called; what answers is imported at the first call."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        module, _, name = self.__dict__["_verb"].partition(":")
        return getattr(import_module(module), name)(*arguments, **options)


def make_callable(package: str, verb: str) -> None:
    """Let a package be called like one of its functions.

    Args:
        package: Its name (``__name__`` in its ``__init__``).
        verb: What answers, as ``module:function``.
    """
    module = sys.modules[package]
    module.__dict__["_verb"] = verb
    module.__class__ = CallablePackage
