"""A dataclass of options from the words of a command line; light, for commands that need no run specification."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.logs import LogOptions
from forgetmi.core.ranges import range_faults

LOG_HELP = "Every command takes --log-level, --log-file, --log-format and --quiet, too: see forgetmi --help."
_LOG_OPTIONS = {"log-level": "level", "log-file": "file", "log-format": "form"}
_QUIET = ("-q", "--quiet")


def take_log_options(words: Sequence[str]) -> tuple[list[str], LogOptions]:
    """Split off the options of the log, which are the same for every command.

    Args:
        words: Arguments after the program's name.

    Returns:
        The other words, and where the log goes.

    Raises:
        SpecError: An option has no value, or one that it does not know.
    """
    rest, values = take_options([word for word in words if word not in _QUIET], _LOG_OPTIONS)
    given: dict[str, Any] = {_LOG_OPTIONS[name]: value for name, value in values.items()}
    if "file" in given:
        given["file"] = Path(given["file"])
    return rest, LogOptions(**given, quiet=any(word in _QUIET for word in words))


def command_line(options: type, argv: Sequence[str], *, prog: str, description: str) -> Any:
    """A dataclass of options from words; wrong ones end the process with code 2.

    Args:
        options: Dataclass whose fields are the options and whose docstring explains them.
        argv: Arguments after the command's name.
        prog: The command as typed, for the help.
        description: What it does.

    Returns:
        An instance of the dataclass.

    Raises:
        SpecError: A number is out of its range; all faults at once.
    """
    read = read_words(options, argv, prog=prog, description=description)
    faults = option_faults(read)
    if faults:
        raise SpecError(faults)
    return read


def option_faults(options: Any) -> list[Fault]:
    """Numbers of options that are out of their declared ranges."""
    return [Fault(fault, where="command line") for fault in range_faults(options)]


def read_words(options: type, argv: Sequence[str], *, prog: str, description: str) -> Any:
    """The same as `command_line`, without a look at the numbers: for options whose class looks at them itself."""
    import tyro

    return tyro.cli(
        options,
        args=list(argv),
        prog=prog,
        description=f"{description}\n\n{LOG_HELP}",
        config=(tyro.conf.HelptextFromCommentsOff,),
    )


def take_options(argv: Sequence[str], names: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Split off options that decide which other options there are, as ``--name value`` or ``--name=value``.

    Args:
        argv: Arguments after the command's name.
        names: Of the options to take, without dashes.

    Returns:
        The other words, and the value of each option that was given.

    Raises:
        SpecError: An option has no value.
    """
    rest: list[str] = []
    values: dict[str, str] = {}

    words = iter(argv)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in names:
            rest.append(word)
            continue

        # Without "=", the value is the next word.
        if not equals:
            value = next(words, "")
        if not value or value.startswith("--"):
            raise SpecError(Fault(f"--{name} needs a value", where="command line"))
        values[name] = value

    return rest, values


def rename_options(argv: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Options under their new names; a note on stderr names each old one that was given.

    Args:
        argv: Arguments after the command's name.
        renamed: Old to new name, without dashes.
    """
    words = []
    for word in argv:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in renamed:
            new = f"--{renamed[name]}"
            print(
                f"note: --{name} is now {new}; the old name is accepted for one version more",
                file=sys.stderr,
            )
            word = f"{new}{equals}{value}"
        words.append(word)
    return words
