"""A specification as its run stores it."""

from __future__ import annotations

from forgetmi.core.errors import ForgetMIError
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.yaml_text import MOST_BYTES
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec, read_yaml, write_yaml


def spec_text(spec: RunSpec, directory: RunDirectory) -> str:
    """A specification as its run stores it.

    Earlier versions stored relative paths as they were typed: such a run goes on with the text that it has.

    Args:
        spec: The run, its paths absolute.
        directory: Its directory; it may not exist yet.
    """
    text = write_yaml(spec)
    if not directory.spec.exists():
        return text

    # Another specification, or one that cannot be read, is refused where the directory is taken
    source = Source(directory.spec.name, "the stored run", "Choose another --out.")
    try:
        stored = read_text(directory.spec, source, limit=MOST_BYTES)
        same = write_yaml(absolute(read_yaml(directory.spec))) == text
    except ForgetMIError:
        return text
    return stored if same else text
