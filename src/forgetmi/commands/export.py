"""``forgetmi export``: a model's prediction for another runtime, or the model for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.core.output import check_output, output_lock
from forgetmi.core.partial_files import remove_partials_of
from forgetmi.run.console import echo

# For annotations alone: torch takes seconds to import
if TYPE_CHECKING:
    from forgetmi.service.trained_model import TrainedModel


@dataclass(frozen=True)
class ExportOptions:
    """Options of ``forgetmi export``.

    Args:
        checkpoint: Folder of a model, or of a finished run, whose unlearned model is meant.
        to: onnx (extra ``export``) or torch-export: prediction from plain tensors, as a file; hub: the whole model with
            a card in the layout of the Hugging Face Hub, as a folder. Nothing is uploaded.
        out: The file or folder to write.
        model_from: ``package.module:function``, the factory of a model of your own, which is run.
        record: With hub: the record of the run that made the model, for the card; empty = the one in its run.
        license: With hub: short name of a license, for the card.
        patients: With hub: also name the patients that the model has seen, by keyed digests.
    """

    checkpoint: tyro.conf.Positional[Path]
    to: Literal["onnx", "torch-export", "hub"]
    out: Path
    model_from: str = ""
    record: Path | None = None
    license: str = ""
    patients: bool = False


def export(argv: Sequence[str]) -> None:
    """Write a model's prediction for another runtime, or the model for the Hugging Face Hub."""
    options = command_line(
        ExportOptions,
        argv,
        prog="forgetmi export",
        description="Write a model's prediction as ONNX or torch.export, compared with the model before the file "
        "appears; or the model itself with a card that names nobody, in the layout of the Hugging Face Hub.",
    )
    hub = options.to == "hub"
    _check_options(options)
    check_output(options.out, folder=hub)

    # What runs models is imported after the help was printed
    from forgetmi.service.trained_model import load

    with output_lock(options.out, folder=hub), full_disk_explained(options.out.name):
        remove_partials_of(options.out)
        model = load(options.checkpoint, factory=options.model_from)
        echo(_hub(model, options) if hub else _file(model, options))


def _check_options(options: ExportOptions) -> None:
    """Refuse options that the form of the output does not use."""
    given = {
        "--record": options.record is not None,
        "--license": bool(options.license),
        "--patients": options.patients,
    }
    unused = [Fault("it goes with --to hub alone", where=name) for name in given if given[name]]
    if unused and options.to != "hub":
        raise SpecError(unused)


def _hub(model: TrainedModel, options: ExportOptions) -> str:
    from forgetmi.service.hub import save_pretrained

    save_pretrained(
        model,
        options.out,
        patients=options.patients,
        record=options.record,
        license=options.license,
    )
    names = "patients are named by keyed digests" if options.patients else "no patient is named"
    return f"Folder: {options.out} (weights {model.loaded.digest[:12]}; {names})\nNothing was uploaded."


def _file(model: TrainedModel, options: ExportOptions) -> str:
    from forgetmi.service.export import TOLERANCE
    from forgetmi.service.export import export as write

    assert options.to != "hub"
    exported = write(model, options.to, options.out)
    if exported.checked:
        fewest, most = exported.samples
        texts = ""
        if exported.tokens is not None:
            texts = f", texts of {exported.tokens[0]} to {exported.tokens[1]} tokens"
        check = (
            f"Checked: {exported.checked} batches of {fewest} to {most} samples{texts}: largest difference to the "
            f"model {exported.difference:.0e} (at most {TOLERANCE:.0e} is taken)"
        )
    else:
        check = "NOT CHECKED: onnxruntime is not installed (pip install 'forgetmi[export]')"

    return "\n".join(
        [
            f"File: {options.out} (weights {model.loaded.digest[:12]})",
            f"Inputs: {', '.join(exported.inputs)}",
            f"Outputs: {', '.join(exported.outputs)}",
            check,
        ]
    )
