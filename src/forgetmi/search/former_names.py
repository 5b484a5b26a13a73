"""Former names of the rules: options and files of the version before are still read in this one."""

from __future__ import annotations

from pathlib import Path

from forgetmi.core.errors import SpecError
from forgetmi.core.files import write_text
from forgetmi.core.json_text import MOST_BYTES, parse_json
from forgetmi.core.plain_text import Source, read_text

# Former name to present name
FORMER_NAMES = {"own": "validation", "shipped": "retraining"}


def current_name(name: str) -> str:
    """The name of a rule in this version; any other text as it is.

    Examples:
        >>> current_name("own"), current_name("validation"), current_name("gap:image")
        ('validation', 'validation', 'gap:image')
    """
    return FORMER_NAMES.get(name, name)


def renamed(name: str) -> str:
    """A message where a name is a rule's former one; empty otherwise.

    Examples:
        >>> renamed("own")
        "the rule 'own' is called 'validation' now; the former name works in this version only"
    """
    if name not in FORMER_NAMES:
        return ""
    now = FORMER_NAMES[name]
    return f"the rule {name!r} is called {now!r} now; the former name works in this version only"


def update_stored_name(path: Path, key: str) -> None:
    """Put the present name of a rule into a JSON file that an earlier version wrote, so that its work goes on.

    Args:
        path: The file; nothing is done where it is missing or no mapping.
        key: Under which the rule is named.
    """
    if not path.exists():
        return

    # A damaged file is left to whoever reads it
    source = Source(path.name, "the file", "")
    try:
        text = read_text(path, source, limit=MOST_BYTES)
        stored = parse_json(text, where=path.name, what=source.what, do="")
    except SpecError:
        return

    # The rest of the file stays as it is, byte for byte
    name = stored.get(key) if isinstance(stored, dict) else None
    if isinstance(name, str) and name in FORMER_NAMES:
        line, present = f'"{key}": "{name}"', f'"{key}": "{current_name(name)}"'
        write_text(path, text.replace(line, present, 1))
