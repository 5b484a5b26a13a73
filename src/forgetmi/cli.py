"""The command ``forgetmi``: one word a verb.

Only the command that is run is imported, and modules that take long to import (torch, pandas ...) are imported in the
functions that need them: help, lists and the ledger of requests answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from io import TextIOWrapper

from forgetmi.commands import json_output
from forgetmi.commands.command_line import take_log_options
from forgetmi.commands.entry_points import added_commands, load_added
from forgetmi.commands.groups import load_function
from forgetmi.commands.verbs import COMMANDS
from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.launch import check_launch, forget_leftovers, launched
from forgetmi.core.logs import LogOptions, logging_to
from forgetmi.core.printable import MOST_VALUE, quoted
from forgetmi.core.suggest import did_you_mean

# By name: started as a program, this module is called otherwise
logger = logging.getLogger("forgetmi.cli")

WITH_WORKERS = ("demo", "run", "withdraw")
# Most faults that are printed one by one
MOST_FAULTS = 1000

IN_STEP = ("train", "unlearn", "run")  # what several processes of a launcher do together
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; default: those of the process.

    Returns:
        0 = done, 1 = nobody reads the output any more, 2 = wrong input (each fault on its own line), 130 = interrupted;
        of commands that give a verdict see `forgetmi.commands.exit_codes`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = json_output.OPTION in words

    # Two processes of one thread do more than one of two; idle threads must not spin. torch reads this when it is
    # imported, and worker processes inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    # A terminal that knows ASCII alone gets the other characters as escapes.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    try:
        code = _perform_logged(words)
        sys.stdout.flush()
    except ForgetMIError as error:
        _print_faults(error.faults, as_json=as_json)
        return 2
    except SystemExit as error:
        # The parser has printed which option is wrong
        if as_json and error.code not in (None, 0):
            json_output.print_error([_WRONG_OPTIONS])
        raise
    except BrokenPipeError:  # the reader of our output went away (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _print_faults([_refused_by_system(error)], as_json=as_json)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        _print_faults([_NO_MEMORY], as_json=as_json)
        return 2
    except KeyboardInterrupt:
        print("interrupted; give the same command again to go on", file=sys.stderr)
        if as_json:
            json_output.print_error([_INTERRUPTED])
        return 130
    return code or 0


def _perform_logged(words: Sequence[str]) -> int | None:
    """What one command line asks for, with its log where it is asked for; see `_perform`."""
    _check_words(words)
    words, options = take_log_options(words)

    # Of several processes of a launcher the first one alone speaks
    if os.environ.get("RANK", "0").strip() not in ("", "0"):
        options = LogOptions(quiet=options.quiet)

    with logging_to(options):
        verb = words[0] if words and words[0] in COMMANDS else ""
        started = time.monotonic()
        logger.info("command begun: %s", verb)
        try:
            code = _perform(words)
        except BaseException as error:
            faults = len(error.faults) if isinstance(error, ForgetMIError) else 0
            seconds = time.monotonic() - started
            kind = type(error).__name__
            logger.error("command ended by %s after %.1f s, %d faults", kind, seconds, faults)
            raise
        logger.info("command finished after %.1f s: %s", time.monotonic() - started, verb)
        return code


def _perform(words: Sequence[str]) -> int | None:
    """What one command line asks for; returns the command's own exit code, None = done."""
    if not words or words[0] in HELP:
        print(_overview())
    elif words[0] in ("-V", "--version"):
        print(f"forgetmi {version('forgetmi')}")
    else:
        return _run(words[0], words[1:])
    return None


def _check_words(words: Sequence[str]) -> None:
    """Refuse words that are no text in UTF-8, or hold a zero byte: no file and no record can take them.

    Raises:
        SpecError: Some are.
    """
    faults = []
    for number, word in enumerate(words, start=1):
        if "\0" in word or not _in_utf8(word):
            faults.append(
                Fault(
                    "an argument is no text",
                    where=f"command line, word {number}",
                    why="it holds a zero byte, or is not UTF-8",
                    do="Give names and paths in UTF-8.",
                )
            )
    if faults:
        raise SpecError(faults)


def _in_utf8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _print_faults(faults: Sequence[Fault], *, as_json: bool) -> None:
    """Each fault on a line; of very many the first, and how many there are. With ``--json`` also one object."""
    if as_json:
        json_output.print_error(faults[:MOST_FAULTS])
    for fault in faults[:MOST_FAULTS]:
        print(f"error: {fault}", file=sys.stderr)
    if len(faults) > MOST_FAULTS:
        print(f"error: {len(faults) - MOST_FAULTS} more of the same kind.", file=sys.stderr)


_WRONG_OPTIONS = Fault(
    "the options are wrong", where="command line", do="See what is printed on stderr, or --help."
)
_INTERRUPTED = Fault("interrupted", do="Give the same command again to go on.")
_NO_MEMORY = Fault(
    "there is not enough memory",
    why="the system gave no more",
    do="Use smaller models, images or batches, fewer --workers, or a larger machine.",
)


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy or torch could not get the memory they asked for."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in words or "out of memory" in words


def _run(verb: str, rest: Sequence[str]) -> int | None:
    """Run a command in this process, alone or as one of a launcher's; returns its own exit code."""
    if verb in IN_STEP and not {*HELP} & set(rest):
        check_launch()
    forget_leftovers()
    if launched() > 1:
        _run_in_step(verb, rest)
        return None

    # Workers begin their imports while this process still reads its options.
    only_prints = {*HELP, "--dry-run"} & set(rest)
    if verb in WITH_WORKERS and not only_prints:
        from forgetmi.jobs.pool import warm_up

        warm_up("forgetmi.run.pipeline")

    return _function(verb, rest)(rest)


def _run_in_step(verb: str, rest: Sequence[str]) -> None:
    """Run a command in one of the processes of a launcher; the first one writes and prints."""
    from forgetmi.core import distributed
    from forgetmi.core.process_output import private_output

    if verb not in IN_STEP:
        raise SpecError(
            Fault(
                f"forgetmi {verb} runs in one process",
                where="torchrun",
                do="Start it without a launcher, and unset WORLD_SIZE if it was left over; "
                f"{', '.join(IN_STEP)} use several processes.",
            )
        )

    with distributed.process_group(), private_output(rest) as words:
        if distributed.sharded() and verb == "unlearn":
            raise SpecError(
                Fault(
                    "unlearning cannot be sharded",
                    where="FSDP",
                    why="methods copy the model, change single weights and differentiate single batches, which parts "
                    "of weights do not allow",
                    do="Launch without FSDP: every process then holds the whole model; --training.recompute and "
                    "--training.bf16 save memory.",
                )
            )
        if distributed.sharded() and verb != "train":
            print(
                "note: trained models are sharded while they train; to unlearn, relearn and evaluate, every process "
                "holds the whole model",
                file=sys.stderr,
            )
        _function(verb, words)(words)


def _function(verb: str, rest: Sequence[str]) -> Callable[[Sequence[str]], int | None]:
    """What does a command's work.

    Raises:
        SpecError: There is no such command; the nearest one is named.
    """
    # Commands of entry points come first: they may take a command over.
    added = load_added(verb, rest)
    if added is not None:
        return added
    if verb in COMMANDS:
        target, _ = COMMANDS[verb]
        return load_function(target)

    verbs = [*COMMANDS, *(command.verb for command in added_commands() if not command.option)]
    advice = did_you_mean(verb[:MOST_VALUE], verbs, then=f"Commands: {', '.join(verbs)}.")
    raise SpecError(Fault(f"there is no command {quoted(verb)}", do=advice))


def _refused_by_system(error: OSError) -> Fault:
    """What the system would not read or write, in words."""
    return Fault(
        "the file or folder cannot be used",
        where=str(error.filename or ""),
        why=error.strerror or str(error),
        do="Check the path, its permissions and the space left; finished work is kept.",
    )


def _overview() -> str:
    """The help of all commands."""
    listed = {verb: text for verb, (_, text) in COMMANDS.items()}
    for command in added_commands():
        listed[command.title] = command.summary()

    width = max(map(len, listed))
    lines = [f"  {title:<{width}}  {text}" for title, text in listed.items()]
    return "\n".join(
        [
            "usage: forgetmi COMMAND [OPTIONS]",
            "",
            "Forget whole patients from an image+report model, and measure it.",
            "",
            *lines,
            "",
            "forgetmi COMMAND --help explains each option with its default and unit. Every command takes, too:",
            "",
            "  --log-level LEVEL  log to standard error: step, debug (epochs), info (stages), warning, error",
            "  --log-file FILE    append the log to a file instead (info, unless a level is given)",
            "  --log-format FORM  text, or json: one object a line",
            "  -q, --quiet        no progress on standard error; errors stay, results go to standard output",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
