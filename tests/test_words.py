"""The words of docs/glossary.md: terms that were given up do not come back, in names or in prose."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "src").rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

# A name that was given up, and the field's word for it.
NAMES = {
    "asked": "given, requested, or the name of what was asked for",
    "told": "the name of what was passed on",
    "tell": "progress",
    "said": "outputs, text",
    "say": "echo",
    "recall": "table_from_signals (recall is a score)",
    "wash": "augmentation",
    "settle": "fit, resolve",
    "sequel": "further_withdrawal",
    "torn": "conflicting",
    "seat": "slot",
    "seats": "slots",
    "manieth": "index",
    "looking_batch": "inference_batch_size",
    "price": "retraining_cost",
    "unseen": "validation or never_seen",
    "strangers": "unknown patients or files",
    "whom": "patients",
    "lost": "forget",
}

# Phrases of prose, as patterns, and what to write.
PHRASES = {
    r"\bmanieth\b": "n-th",
    r"\bway back\b": "backward pass",
    r"\bsequel\b": "further withdrawal",
    r"\bwater(s|ed|ing)? (nothing )?down\b": "dilute",
    r"\bwash(ed|es|ing)?\b": "average over augmentations",
    r"\bseats?\b": "worker slot",
    r"\b(original|model|teacher|student) (says|said)\b": "outputs",
    r"\b(original|model|teacher|student) (is|was|are|were) asked\b": "is run",
    r"\bshares of a batch\b": "micro-batches",
}


# Names of facts in stored traces, which stay readable; they are no prose.
STORED = ('"shares of a batch"', '"what the original says"')


# Names that stay: a key of stored files, and a method of another library.
STAY = {
    "data/dicom_file.py": {"tell"},
    "run/shadow_plan.py": {"asked"},
    "run/shadows.py": {"asked"},
    "search/study.py": {"tell"},
    "search/sweep.py": {"tell"},
}


def names_in(text: str) -> set[str]:
    """Every identifier of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def phrases_in(text: str) -> list[str]:
    """Every phrase of a text that was given up, with what to write."""
    flat = re.sub(r"\s+", " ", text)
    for name in STORED:
        flat = flat.replace(name, "")
    return [
        f"{match.group()!r}: write {better}"
        for pattern, better in PHRASES.items()
        for match in re.finditer(pattern, flat, flags=re.IGNORECASE)
    ]


def test_names_are_the_fields_words() -> None:
    given_up = {}
    for path in FILES:
        stay = STAY.get(str(path.relative_to(ROOT / "src" / "forgetmi")), set())
        for name in names_in(path.read_text(encoding="utf-8")) & set(NAMES) - stay:
            given_up[path, name] = NAMES[name]
    assert not given_up


def test_prose_is_the_fields() -> None:
    given_up = {path: phrases_in(path.read_text(encoding="utf-8")) for path in FILES + PAGES}
    assert not {path: phrases for path, phrases in given_up.items() if phrases}


def test_the_checks_can_fail() -> None:
    assert names_in("def f(asked):\n    return asked\n") & set(NAMES) == {"asked"}
    assert phrases_in("What the original\nsays of x.") == ["'original says': write outputs"]
    assert not phrases_in("What the original outputs for x.")
