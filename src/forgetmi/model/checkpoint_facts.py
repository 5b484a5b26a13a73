"""The facts of a checkpoint: everything but weights and vocabulary, as JSON under a digest of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.json_text import read_json
from forgetmi.core.printable import quoted

# Raised when older versions could misread what is written; a file of another format is refused.
FORMAT = 1
FIELDS = {
    "format",
    "version",
    "spec",
    "classes",
    "preprocessing",
    "extra",
    "weights",
    "vocabulary",
}

# How many models an ensemble has; absent for a single model.
MEMBERS = "members"
MOST_MEMBERS = 1000

# Digests of the files of a user's own model, by name; absent for the package's own architecture.
OWN = "own"

# Types of the other fields
_KINDS: dict[str, type] = {
    "version": str,
    "spec": dict,
    "classes": list,
    "preprocessing": dict,
    "extra": dict,
    "weights": str,
    "vocabulary": str,
}


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint, if they are as they were written."""
    where = f"{path.parent.name}/{path.name}"
    do = "Use the original files."
    facts = read_json(path, what="the model's facts", do=do, error=CheckpointError, where=where)
    if not isinstance(facts, dict):
        raise CheckpointError(Fault("it is not a mapping of fields", where=where))

    # The digest is of all other fields.
    digest = facts.pop("digest", None)
    faults = []
    for name in sorted(FIELDS - set(facts)):
        faults.append(Fault(f"field {name!r} is missing", where=where))
    for name in sorted(set(facts) - FIELDS - {MEMBERS, OWN}):
        faults.append(Fault(f"unknown field {quoted(name)}", where=where))

    # A changed field, the digest of the weights included.
    if digest != facts_digest(facts):
        faults.append(altered(where))

    for name, kind in _KINDS.items():
        if name in facts and not isinstance(facts[name], kind):
            faults.append(Fault(f"field {name!r} is of another type", where=where))

    classes = facts.get("classes")
    if isinstance(classes, list) and not all(isinstance(name, str) for name in classes):
        faults.append(Fault("field 'classes' is no list of names", where=where))

    members = facts.get(MEMBERS, 1)
    if type(members) is not int or not 1 <= members <= MOST_MEMBERS:
        faults.append(Fault(f"field {MEMBERS!r} is not a number of models", where=where))

    own = facts.get(OWN, {})
    if not isinstance(own, dict) or not all(isinstance(digest, str) for digest in own.values()):
        faults.append(Fault(f"field {OWN!r} is no list of digests", where=where))

    # A file without the field is faulted above.
    if facts.get("format", FORMAT) != FORMAT:
        faults.append(
            Fault(
                f"its format is {quoted(facts['format'])}",
                where=where,
                why=f"this version reads {FORMAT}",
            )
        )

    if faults:
        raise CheckpointError(faults)
    return facts


def facts_digest(facts: Mapping[str, Any]) -> str:
    """SHA-256 of all facts but this digest itself, in hex."""
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def altered(where: str) -> Fault:
    """The fault of a file whose digest is another than the stored one."""
    return Fault(
        "it was altered after it was written",
        where=where,
        why="its digest differs",
        do="Use the original files.",
    )


def differences(spec: Mapping[str, Any], expect: Mapping[str, Any]) -> str:
    """The fields in which two architectures differ, in words."""
    values = _flat(spec)
    expected = _flat(expect)

    # A field that one of them has alone is another kind's.
    apart = []
    for name in dict.fromkeys((*values, *expected)):
        value, wanted = values.get(name), expected.get(name)
        if value != wanted:
            apart.append(f"{name} is {value!r}, not {wanted!r}")
    return "; ".join(apart)


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[f"{path}{name}"] = value
    return flat
