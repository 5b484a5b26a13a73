"""``forgetmi checkpoint convert``: convert a checkpoint of the authors into ours, or back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetmi.authors_code.text_features import LENGTH
from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.run.console import echo


@dataclass(frozen=True)
class ConvertOptions:
    """Options of ``forgetmi checkpoint convert``.

    Args:
        source: Checkpoint to read: of the authors (a directory or a weight file), or one of ours.
        out: Directory to write.
        to: native (ours) or authors (config.json and pytorch_model.bin).
        vocabulary: The vocab.txt of the text encoder; needed for native.
        model_config: A config.json where none lies next to the authors' weights.
        max_length: Longest report in tokens that the native model will read.
    """

    source: Path
    out: Path
    to: Literal["native", "authors"] = "native"
    vocabulary: Path | None = None
    model_config: Path | None = None
    max_length: int = LENGTH


def convert(argv: Sequence[str]) -> None:
    """Convert a checkpoint."""
    options = command_line(
        ConvertOptions,
        argv,
        prog="forgetmi checkpoint convert",
        description="Convert a checkpoint of the authors into ours, or back, without loss.",
    )

    with full_disk_explained(options.out.name):
        if options.to == "authors":
            _to_authors(options)
        else:
            _to_native(options)


def _to_authors(options: ConvertOptions) -> None:
    # What reads weights is imported after the help was printed.
    from forgetmi.authors_code.convert import to_authors

    to_authors(options.source, options.out)
    echo(
        f"Checkpoint for the authors' code: {options.out} (without the gate, of which they draw new ones)"
    )


def _to_native(options: ConvertOptions) -> None:
    # What reads weights is imported after the help was printed.
    from forgetmi.authors_code.convert import from_authors

    if options.vocabulary is None:
        raise SpecError(
            Fault(
                "--vocabulary is missing",
                why="the authors' checkpoint does not hold it",
                do="Name the vocab.txt of the text encoder they started from.",
            )
        )

    options.out.parent.mkdir(parents=True, exist_ok=True)
    digest = from_authors(
        options.source,
        options.out,
        vocabulary=options.vocabulary,
        max_seq_length=options.max_length,
        config=options.model_config,
    )
    echo(
        f"Checkpoint: {options.out} (weights {digest[:12]}; its gate will be fitted when it is used)\n"
        f"Next: forgetmi unlearn --checkpoint {options.out} --cohort mimic_cxr --partition.validation-from holdout "
        "--partition.validation 0.5 --out DIRECTORY"
    )
