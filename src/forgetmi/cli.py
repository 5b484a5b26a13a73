"""The command ``forgetmi``: one word a verb; heavy imports only when a command needs them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgetmi.core.errors import Fault

# Verb -> (module:function, one line of help). Entry points add more; see `forgetmi.core.registry.commands`.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "forgetmi.commands.run:demo",
        "the main job on the embedded cohort: train, forget, compare, report",
    ),
    "run": (
        "forgetmi.commands.run:run",
        "the same on any cohort: train, retrain, unlearn, evaluate, report",
    ),
    "cohort": ("forgetmi.commands.cohort.group:cohort", "make, check or show a cohort"),
    "train": (
        "forgetmi.commands.stages:train",
        "train the original, or a model without the forgotten",
    ),
    "predict": (
        "forgetmi.commands.stages:predict",
        "run any checkpoint over any cohort; signals to an .npz",
    ),
    "unlearn": ("forgetmi.commands.stages:unlearn", "make a model that forgets, from a checkpoint"),
    "evaluate": ("forgetmi.commands.stages:evaluate", "measure models from their stored signals"),
    "report": ("forgetmi.commands.run:report", "write the report of a finished run again"),
    "audit": (
        "forgetmi.commands.audit:audit",
        "audit finished runs again, several pooled; no model is run",
    ),
    "shadows": (
        "forgetmi.commands.shadows:shadows",
        "models on random halves of the patients, for audits",
    ),
    "record": ("forgetmi.commands.record:record", "make or sign the record of a finished run"),
    "requests": (
        "forgetmi.commands.requests.group:requests",
        "the ledger of withdrawals: add, list, due, process, close",
    ),
    "verify": (
        "forgetmi.commands.record:verify",
        "check a record, its chain and every file it names",
    ),
    "sweep": (
        "forgetmi.commands.sweep:sweep",
        "a Weights & Biases sweep file without a server, or one of its trials",
    ),
    "benchmark": (
        "forgetmi.commands.benchmark:benchmark",
        "the paper's tables: methods x percentages x seeds",
    ),
    "tune": (
        "forgetmi.commands.tune:tune",
        "choose each method's options, on the same budget for all",
    ),
    "methods": (
        "forgetmi.commands.methods:methods",
        "list the unlearning methods and what each reads",
    ),
}
WITH_WORKERS = ("demo", "run")
IN_STEP = ("train", "unlearn", "run")  # what several processes of a launcher do together


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; default: those of the process.

    Returns:
        0 = done, 2 = wrong input (each fault on its own line), 130 = interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"forgetmi {version('forgetmi')}")
        return 0
    from forgetmi.core.errors import ForgetMIError
    from forgetmi.core.launch import launched
    from forgetmi.jobs.pool import warm_up

    try:
        if launched() > 1:
            _in_step(words[0], words[1:])
        else:
            if words[0] in WITH_WORKERS and not {"-h", "--help", "--dry-run"} & set(words):
                warm_up()
            _function(words[0], words[1:])(words[1:])
    except ForgetMIError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output went away (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {_refused_by_system(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; give the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _refused_by_system(error: OSError) -> Fault:
    """What the system would not read or write, in words."""
    from forgetmi.core.errors import Fault

    return Fault(
        "the file or folder cannot be used",
        where=str(error.filename or ""),
        why=error.strerror or str(error),
        do="Check the path, its permissions and the space left; finished work is kept.",
    )


def _in_step(verb: str, rest: Sequence[str]) -> None:
    """Run a command in one of the processes of a launcher; the first one writes and speaks."""
    from forgetmi.core import distributed
    from forgetmi.core.errors import Fault, SpecError
    from forgetmi.core.process_output import private_output

    if verb not in IN_STEP:
        raise SpecError(
            Fault(
                f"forgetmi {verb} runs in one process",
                where="torchrun",
                do=f"Start it without a launcher; {', '.join(IN_STEP)} use several processes.",
            )
        )
    with distributed.process_group(), private_output(rest) as words:
        if distributed.sharded() and verb != "train":
            print(
                "note: trained models are sharded while they train; to unlearn, relearn and evaluate, every process "
                "holds the whole model",
                file=sys.stderr,
            )
        _function(verb, words)(words)


def _function(verb: str, rest: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """What does a command's work: its own function, or that of the part whose option is among the words."""
    from forgetmi.core.errors import Fault, SpecError
    from forgetmi.core.registry import commands

    added = commands.names()
    given = {word.partition("=")[0] for word in rest}
    for name in added:
        owner, _, option = name.partition(".")
        if owner == verb and (not option or f"--{option}" in given):
            return commands.get(name)
    if verb in COMMANDS:
        module, function = COMMANDS[verb][0].split(":")
        return getattr(importlib.import_module(module), function)
    from forgetmi.core.suggest import did_you_mean

    known = [*COMMANDS, *(name for name in added if "." not in name)]
    advice = did_you_mean(verb, known, then=f"Commands: {', '.join(known)}.")
    raise SpecError(Fault(f"there is no command {verb!r}", do=advice))


def _overview() -> str:
    from forgetmi.core.registry import commands

    listed = {name: text for name, (_, text) in COMMANDS.items()}
    for name in commands.names():
        text = (commands.get(name).__doc__ or "").partition("\n")[0]
        listed[name.replace(".", " --")] = text[:1].lower() + text[1:].rstrip(".")
    width = max(map(len, listed))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in listed.items())
    return (
        "usage: forgetmi COMMAND [OPTIONS]\n\n"
        "Forget whole patients from an image+report model, and measure it.\n\n"
        f"{lines}\n\nforgetmi COMMAND --help explains each option with its default and unit."
    )


if __name__ == "__main__":
    sys.exit(main())
