"""``forgetmi completion``: completion of words and options for a shell, made from the commands' own help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.command_texts import (
    actions_of,
    command_words,
    help_of,
    options_in,
    summaries,
)
from forgetmi.core.registry import cohorts, methods

_BASH = """\
# forgetmi: completion for {shell}. Add to your shell's start file:  source <(forgetmi completion {shell})
{before}_forgetmi() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} last=${{COMP_WORDS[COMP_CWORD-1]}}
    local key="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" words=""
    case $last in
        --method) words="{methods}" ;;
        --cohort) words="{cohorts}" ;;
    esac
    if [[ -z $words && $COMP_CWORD -eq 1 ]]; then
        words="{verbs}"
    elif [[ -z $words ]]; then
        [[ $COMP_CWORD -eq 2 || $key == *" -"* ]] && key=${{COMP_WORDS[1]}}
        case $key in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _forgetmi forgetmi
"""
LOG_OPTIONS = ("--log-level", "--log-file", "--log-format", "--quiet")  # every command takes them
_ZSH = "autoload -Uz bashcompinit && bashcompinit\n"


@dataclass(frozen=True)
class CompletionOptions:
    """Options of ``forgetmi completion``.

    Args:
        shell: Whose completion.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]


def completion(argv: Sequence[str]) -> None:
    """Print the completion of a shell."""
    options = command_line(
        CompletionOptions,
        argv,
        prog="forgetmi completion",
        description="Print what completes words and options of forgetmi in a shell: source <(forgetmi completion "
        "bash), or forgetmi completion fish > ~/.config/fish/completions/forgetmi.fish.",
    )
    print(fish() if options.shell == "fish" else bash(options.shell))


def bash(shell: str = "bash") -> str:
    """The completion of bash; zsh reads the same after one line more."""
    cases = []
    for words, listed in _choices().items():
        cases.append(f'            "{words}"|"{words} "*) words="{" ".join(listed)}" ;;')

    # Longer keys first: "requests add" before "requests"
    cases.sort(key=lambda case: -case.split('"')[1].count(" "))
    return _BASH.format(
        shell=shell,
        before=_ZSH if shell == "zsh" else "",
        methods=" ".join(methods.names()),
        cohorts=" ".join(cohorts.names()),
        verbs=" ".join(summaries()),
        cases="\n".join(cases),
    )


def fish() -> str:
    """The completion of fish."""
    lines = ["# forgetmi: completion for fish"]
    for verb, text in summaries().items():
        lines.append(
            f"complete -c forgetmi -n __fish_use_subcommand -f -a {verb} -d {_quoted(text)}"
        )

    for words, listed in _choices().items():
        seen = " and ".join(f"__fish_seen_subcommand_from {word}" for word in words.split())
        seen = seen.replace(" and ", "; and ")
        for word in listed:
            what = f"-l {word[2:]} -F" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c forgetmi -n '{seen}' {what}")

    # Names of methods and cohorts
    for option, names in (("method", methods.names()), ("cohort", cohorts.names())):
        lines.append(f"complete -c forgetmi -l {option} -x -a {_quoted(' '.join(names))}")
    return "\n".join(lines)


def _choices() -> dict[str, list[str]]:
    """A command's words to what may follow them: its subcommands, or its options."""
    choices: dict[str, list[str]] = {}
    for words in command_words():
        actions = actions_of(words[0]) if len(words) == 1 else {}
        choices[" ".join(words)] = list(actions) or [*options_in(help_of(*words)), *LOG_OPTIONS]
    return choices


def _quoted(text: str) -> str:
    """A word in quotes for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
