"""Named parts (cohorts, methods, attacks), found through entry points so that other packages can add theirs."""

from __future__ import annotations

import sys
import tomllib
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.suggest import did_you_mean

# The project file of a checkout; an installed package has none.
_PROJECT = Path(__file__).parents[3] / "pyproject.toml"


class Registry:
    """The parts of one kind, by name.

    Built-in parts and those of other packages are read from the same entry-point group; nothing is imported before
    `get` names it.

    Args:
        kind: What the parts are, for messages, e.g. ``"method"``.
        group: Entry-point group, e.g. ``"forgetmi.methods"``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._added: dict[str, Any] = {}

    def add(self, name: str, part: Any) -> None:
        """Add a part for this process only (a notebook, a test); installed packages use an entry point.

        Raises:
            SpecError: The name is taken.
        """
        if name in self._added or name in self._entries():
            raise SpecError(
                Fault(f"a {self.kind} named {name!r} exists already", do="Choose another name.")
            )
        self._added[name] = part

    def remove(self, name: str) -> None:
        """Take back a part that was added with `add`."""
        del self._added[name]

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted({*self._entries(), *self._added}))

    def target(self, name: str) -> str:
        """Where a part is defined, as ``module:name``, without importing it."""
        if name in self._added:
            part = self._added[name]
            return f"{part.__module__}:{part.__qualname__}"
        return self._entries()[name].value

    def get(self, name: str) -> Any:
        """The part of that name.

        Raises:
            SpecError: The name is unknown; the message lists the names and the nearest one.
        """
        if name in self._added:
            return self._added[name]

        entries = self._entries()
        if name not in entries:
            raise SpecError(self._unknown(name))
        return entries[name].load()

    def _entries(self) -> dict[str, EntryPoint]:
        """The installed parts, by name."""
        entries: dict[str, EntryPoint] = {}
        # Two packages may declare the same part, but not two parts of one name.
        for entry in _installed(self.group, tuple(sys.path)):
            twin = entries.get(entry.name)
            if twin is not None and twin.value != entry.value:
                raise SpecError(
                    Fault(
                        f"two installed packages both name a {self.kind} {entry.name!r}",
                        why=f"{twin.value} and {entry.value}",
                        do="Uninstall or rename one of them.",
                    )
                )
            entries[entry.name] = entry
        return entries

    def _unknown(self, name: str) -> Fault:
        # Entry points are read from the installed package, which a changed project file does not change.
        if name in _declared(self.group):
            return Fault(
                f"the {self.kind} {name!r} is not installed",
                why="it is in pyproject.toml, but was not when the package was installed",
                do="Reinstall the checkout: pip install -e .",
            )

        known = self.names()
        return Fault(
            f"there is no {self.kind} named {quoted(name)}",
            do=did_you_mean(name, known, then=f"Known: {', '.join(known)}."),
        )


@lru_cache(maxsize=16)
def _installed(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group; looking through every installed package takes long, so once for a search path."""
    return tuple(entry_points(group=group))


def _declared(group: str) -> dict[str, str]:
    """The entry points of a group in the checkout's project file; none where the package is no checkout."""
    try:
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return project.get("project", {}).get("entry-points", {}).get(group, {})


attacks = Registry("attack", "forgetmi.attacks")
cohorts = Registry("cohort", "forgetmi.cohorts")
methods = Registry("method", "forgetmi.methods")

# The two halves of a task, under one name; see `forgetmi.core.task`.
tasks = Registry("task", "forgetmi.tasks")
task_measures = Registry("task's measures", "forgetmi.task_measures")

# Specifications of towers; see `forgetmi.model.tower_specs.protocol.TowerSpec`
towers = Registry("tower", "forgetmi.towers")

# Functions of the words after the verb; see `forgetmi.commands.entry_points`.
commands = Registry("command", "forgetmi.commands")
