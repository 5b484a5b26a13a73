"""Commands that entry points add, of this package and of others.

The group ``forgetmi.commands`` names functions of the words after the verb. A name is of one of two forms:

- ``VERB``, e.g. ``checkpoint``: a command of its own, ``forgetmi checkpoint ...``. Where this package has a command of
  that name, the added one replaces it.
- ``VERB.OPTION``, e.g. ``run.authors-config``: takes the command over where the option is among the words, so that
  ``forgetmi run --authors-config FILE ...`` is not read by ``forgetmi run``, but by the added function, which gets all
  words after the verb. Only the option's name counts, as ``--OPTION`` or ``--OPTION=VALUE``, wherever it stands.

The help of ``forgetmi`` shows the first line of each function's docstring, for which its module is imported: keep that
module light.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forgetmi.core.registry import commands

Function = Callable[[Sequence[str]], int | None]


@dataclass(frozen=True)
class AddedCommand:
    """A command of an entry point.

    Args:
        name: Of the entry point.
        verb: The command it is, or takes over.
        option: The option by which it takes the verb over, without dashes; "" = the whole verb.
    """

    name: str
    verb: str
    option: str

    @property
    def title(self) -> str:
        """How it is typed."""
        return f"{self.verb} --{self.option}" if self.option else self.verb

    def summary(self) -> str:
        """What it does, for the list of commands."""
        first_line = (self.load().__doc__ or "").partition("\n")[0]
        return first_line[:1].lower() + first_line[1:].rstrip(".")

    def load(self) -> Function:
        """Its function."""
        return commands.get(self.name)


def added_commands() -> list[AddedCommand]:
    """All commands of entry points, by name; nothing is imported."""
    added = []
    for name in commands.names():
        verb, _, option = name.partition(".")
        added.append(AddedCommand(name, verb, option))
    return added


def load_added(verb: str, rest: Sequence[str]) -> Function | None:
    """The function that carries out a command line instead of this package's own; None = there is none.

    Args:
        verb: The command.
        rest: The words after it.
    """
    given = {word.partition("=")[0] for word in rest}

    for command in added_commands():
        takes_over = not command.option or f"--{command.option}" in given
        if command.verb == verb and takes_over:
            return command.load()
    return None
