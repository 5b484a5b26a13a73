"""The reference of the command line: every command's own help, on one page.

python studies/command_line.py > docs/command_line.md
"""

from __future__ import annotations

import os

from forgetmi.commands.command_texts import actions_of, command_words, help_of, summaries

INTRODUCTION = """\
# The command line

This page lists every command with its options, as `forgetmi COMMAND --help` prints them. The options of a method or
of a cohort reader depend on `--method NAME` and `--cohort NAME`. Here they are those of Forget-MI and of the generated
cohort. The page on [exit codes](exit_codes.md) explains how a command ends.

`python studies/command_line.py > docs/command_line.md` makes this page.
"""
WIDTH = 110


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = str(WIDTH)
    texts = summaries()
    parts = [INTRODUCTION]
    for words in command_words():
        title = " ".join(("forgetmi", *words))
        level = "##" if len(words) == 1 else "###"
        parts.append(f"{level} {title}\n")
        if len(words) == 1:
            parts.append(f"{texts[words[0]][:1].upper()}{texts[words[0]][1:]}.\n")
        if not actions_of(words[0]) or len(words) > 1:
            parts.append(f"```text\n{plain(help_of(*words))}\n```\n")
    return "\n".join(parts)


def plain(text: str) -> str:
    """A help text without the frame that the terminal draws around its options."""
    lines = []
    for line in text.splitlines():
        if set(line.strip()) <= set("╭╮╰╯─ ") and line.strip():
            continue
        if line.startswith("╭─"):
            line = line.strip("╭╮─ ") + ":"
        lines.append(line.removeprefix("│").removesuffix("│").rstrip())
    return "\n".join(lines).strip()


if __name__ == "__main__":
    print(page(), end="")
