"""A command of several subcommands, e.g. ``forgetmi requests list``; only the one that is run is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from forgetmi.core.errors import Fault, SpecError


def run_action(
    group: str, argv: Sequence[str], *, actions: Mapping[str, str], help_text: str
) -> int | None:
    """Run one subcommand of a group, or print the group's help; returns the subcommand's own exit code.

    Args:
        group: The command that has subcommands, e.g. ``"requests"``.
        argv: Words after it; the first one names the subcommand.
        actions: Name of each subcommand to its function, as ``module:function``.
        help_text: What ``--help`` prints.

    Raises:
        SpecError: There is no such subcommand.
    """
    action, *rest = argv or [""]

    if action in ("-h", "--help"):
        print(help_text)
        return None
    if action not in actions:
        raise SpecError(Fault(f"{group} needs an action", do=f"One of: {', '.join(actions)}."))

    return load_function(actions[action])(rest)


def load_function(target: str) -> Callable[[Sequence[str]], int | None]:
    """The function that ``module:function`` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
