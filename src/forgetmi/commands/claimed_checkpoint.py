"""Taking a checkpoint's name for the options of one command: the same ones go on or are done, others are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from forgetmi.commands.checkpoint_files import OPTIONS, named_after, state_file
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.output import check_output
from forgetmi.core.partial_files import recover
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.yaml_text import MOST_BYTES
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.claim import SHOWN, differing_keys
from forgetmi.run.spec import RunSpec, to_plain


@dataclasses.dataclass(frozen=True)
class CheckpointClaim:
    """The name of a checkpoint, and what it is to be made with.

    Args:
        out: The checkpoint's directory; what belongs to it lies next to it and bears its name.
        text: All options that it depends on, as stored.
    """

    out: Path
    text: str

    def check(self) -> None:
        """Refuse a name under which something else lies; nothing is written.

        Raises:
            SpecError: A checkpoint of other options, or of unknown ones, is there.
        """
        check_output(self.out, folder=True)
        recover(self.out)
        path = named_after(self.out, OPTIONS)
        if not path.exists():
            if self.out.exists():
                raise SpecError(_of_unknown_options(self.out))
            return

        source = Source(
            path.name, "the stored options", "Restore the file, or choose another --out."
        )
        self._check_content()
        stored = read_text(path, source, limit=MOST_BYTES)
        if stored != self.text:
            differ = ", ".join(differing_keys(stored, self.text)[:SHOWN])
            raise SpecError(
                Fault(
                    "a checkpoint of other options has this name",
                    where=self.out.name,
                    why=f"these differ: {differ}",
                    do="Choose another --out.",
                )
            )

    def _check_content(self) -> None:
        """Refuse a directory that holds anything but a checkpoint."""
        from forgetmi.model.checkpoint import foreign_files

        faults = foreign_files(self.out)
        if faults:
            raise SpecError(faults)

    def take(self) -> None:
        """Take the name, or go on with the same options.

        Raises:
            SpecError: See `check`.
        """
        self.check()
        path = named_after(self.out, OPTIONS)
        if not path.exists():
            write_text(path, self.text)

    def is_finished(self) -> bool:
        """Whether the command has ended: its checkpoint and trace are there, and no progress to resume from."""
        made = (named_after(self.out, OPTIONS), self.out, named_after(self.out, "trace.json"))
        return all(path.exists() for path in made) and not state_file(self.out).exists()


def claim_checkpoint(spec: RunSpec, used: Sequence[str], own: Any) -> CheckpointClaim:
    """The claim of a command.

    Args:
        spec: Its specification.
        used: Fields of the specification that the command reads.
        own: The command's own options, of which ``out`` is the checkpoint.
    """
    # An option that came later counts where it is used, as in a stored specification
    later = {f.name: f.default for f in dataclasses.fields(spec) if f.metadata.get("later")}
    plain = {}
    for name in used:
        value = getattr(spec, name)
        if name not in later or value != later[name]:
            plain[name] = to_plain(value)

    plain |= to_plain(absolute(own))
    out = Path(plain.pop("out"))
    plain.pop("track", None)  # changes no bit
    return CheckpointClaim(out, yaml.safe_dump(plain, sort_keys=True, allow_unicode=True))


def finished_line(out: Path, digest: str) -> str:
    """What is printed of a checkpoint that is finished already.

    Args:
        out: Its directory.
        digest: Of its weights, which were read and compared.
    """
    return f"The checkpoint is finished already. Nothing was done.\nCheckpoint: {out} (weights {digest[:12]})"


def _of_unknown_options(out: Path) -> Fault:
    return Fault(
        "something is there already",
        where=out.name,
        why=f"no {named_after(out, OPTIONS).name} lies next to it, so what it was made with is not known",
        do="Choose another --out.",
    )
