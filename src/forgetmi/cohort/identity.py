"""The one place that decides what an identifier is: which cells are blank, and which name the same."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from forgetmi.core.arrays import Strings, codes
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.printable import quoted
from forgetmi.core.suggest import did_you_mean

# In what two spellings may differ and still name the same; "never" = in nothing.
Same = Literal["never", "leading-zeros", "decimals", "case", "punctuation", "blanks", "unicode"]
RULES: tuple[str, ...] = tuple(rule for rule in get_args(Same) if rule != "never")

# The rules in words
IN_WORDS = {
    "leading-zeros": "leading zeros",
    "decimals": "a .0 at the end",
    "case": "upper and lower case",
    "punctuation": "punctuation",
    "blanks": "blanks",
    "unicode": "the Unicode form",
}

# Words that programs write for a missing value, in lower case
_MISSING = frozenset(
    re.findall(
        r"\S+",
        """
        nan -nan none na n/a n.a. <na> null nil nat - -- – — . ? \\n (null) [null] undefined
        missing unknown inf -inf infinity -infinity 1.#qnan -1.#qnan 1.#ind -1.#ind
        #n/a #na #null! #ref! #value! #name? #div/0! #num!
        """,
    )
) | {"#n/a n/a"}

# Those of them that no person writes for a whole report; "None." may be one
_NO_TEXT = frozenset(
    {"nan", "-nan", "<na>", "null", "nat", "n/a", "#n/a", "#null!"}
    | {"\\n", "(null)", "[null]", "undefined", "#n/a n/a"}
)

# Marks that cannot be seen, beside the format characters (Unicode: default ignorable code points)
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180b\u180c\u180d\u180f")

_SMALL = re.compile(r"[a-z0-9]+")
_ASCII_MARKS = dict.fromkeys(map(ord, string.punctuation))
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
# Not that of 1,234,000 or of a DICOM identifier, 1.2.840.0
_POINT_ZERO = re.compile(r"(?<![0-9.,])([0-9]+)[.,]0+$")


def canonical(cell: str) -> str:
    """An identifier as it is compared and digested everywhere: "" where the cell is blank or a word for missing.

    Invisible marks (zero width, direction, variation) are gone, characters are composed (Unicode NFC), and there are no
    blanks around it.

    Args:
        cell: The cell as it is written.

    Examples:
        >>> canonical(" p7\u200b "), canonical("NaN")
        ('p7', '')
    """
    text = visible(cell)
    return "" if text.lower() in _MISSING else text


def visible(cell: str) -> str:
    """A cell without blanks around it and invisible marks, in Unicode NFC."""
    # Letters and digits of ASCII alone, as most identifiers are
    text = cell.strip()
    if text.isascii() and text.isprintable():
        return text

    text = "".join(character for character in text if not _is_invisible(character))
    return unicodedata.normalize("NFC", text).strip()


def is_missing_text(cell: str) -> bool:
    """Whether a text has no letter and no digit, or is a word that only a program writes for a missing one (nan)."""
    return cell.strip().lower() in _NO_TEXT or not any(map(str.isalnum, cell))


def folded(text: str, rules: Iterable[str]) -> str:
    """A canonical identifier without that in which spellings may differ.

    Args:
        text: The identifier.
        rules: Some of `RULES`; their order does not matter.

    Returns:
        The identifier after every rule; as it is where nothing would be left of it.
    """
    chosen = set(rules)
    kept = text

    # Compatible characters, and the digits of other scripts
    if "unicode" in chosen and not kept.isascii():
        kept = unicodedata.normalize("NFKC", kept)
        kept = "".join(_digit(character) for character in kept)

    # 7.0 and 007 are 7; zeros begin any number within an identifier
    if "decimals" in chosen:
        kept = _POINT_ZERO.sub(r"\1", kept)
    if "leading-zeros" in chosen:
        kept = _LEADING_ZEROS.sub("", kept)

    if "case" in chosen:
        kept = unicodedata.normalize("NFC", kept.casefold())
    if "punctuation" in chosen:
        kept = kept.translate(_ASCII_MARKS)
        if not kept.isascii():
            kept = "".join(mark for mark in kept if unicodedata.category(mark)[0] not in "PS")
    if "blanks" in chosen:
        kept = "".join(kept.split())
    return kept.strip() or text


def likeness(text: str) -> tuple[str, ...]:
    """What all spellings of one identifier have in common; two identifiers are alike where they share one of these."""
    if _is_plain(text):
        return (text,)

    # Zeros count before punctuation is gone (12-05, 12-5) and after it (12-05, 1205)
    without_zeros = folded(text, RULES)
    if text.isascii() and "0" not in text:
        return (without_zeros,)
    others = [rule for rule in RULES if rule != "leading-zeros"]
    zeros_last = folded(folded(text, others), ("leading-zeros",))
    return tuple(dict.fromkeys((without_zeros, zeros_last)))


def differences(one: str, other: str) -> tuple[str, ...]:
    """The fewest rules under which two identifiers are the same, all of `RULES` where no fewer suffice."""
    for number in range(1, len(RULES)):
        for rules in combinations(RULES, number):
            if folded(one, rules) == folded(other, rules):
                return rules
    return RULES


def changing(text: str) -> tuple[str, ...]:
    """The rules that would change an identifier."""
    if _is_plain(text):
        return ()

    # Each rule by itself, without a call where ASCII shows that it changes nothing
    if text.isascii() and "0" not in text:
        idle = {"unicode", "decimals", "leading-zeros"}
        return tuple(rule for rule in RULES if rule not in idle and folded(text, (rule,)) != text)
    return tuple(rule for rule in RULES if folded(text, (rule,)) != text)


def in_words(rules: Iterable[str]) -> str:
    """Rules as a message names them."""
    return ", ".join(IN_WORDS[rule] for rule in rules)


@dataclass(frozen=True)
class Identity:
    """Which spellings name the same, as the user said.

    Args:
        same: Rules; "never" = spellings that differ otherwise are different persons.
        written: Canonical spelling to the identifier it stands for, from a mapping file.
    """

    same: tuple[Same, ...] = ()
    written: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        # A rule that is misspelt would leave its spellings apart
        for rule in self.same:
            if rule not in get_args(Same):
                known = f"One of: {', '.join(get_args(Same))}."
                raise CohortError(
                    Fault(
                        f"there is no rule {quoted(rule)} for identifiers",
                        where="option same_identifiers",
                        do=did_you_mean(str(rule), get_args(Same), then=known),
                    )
                )

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules by which spellings are the same."""
        return tuple(rule for rule in RULES if rule in self.same)

    @property
    def settled(self) -> bool:
        """Whether the user has said that all other spellings are different persons."""
        return "never" in self.same

    def identifier(self, text: str) -> str:
        """The identifier that a canonical spelling stands for."""
        listed = self.written.get(text, text)
        return folded(listed, self.rules) if self.rules else listed

    def identifiers(self, texts: Strings) -> Strings:
        """The same of n canonical spellings."""
        if not self.rules and not self.written:
            return texts
        code, distinct = codes(texts)
        return np.array([self.identifier(text) for text in distinct], dtype=object)[code]


def canonical_cells(cells: Iterable[str]) -> Strings:
    """n cells as canonical identifiers, each distinct one computed once."""
    known = cells if isinstance(cells, np.ndarray) else np.array(list(cells), dtype=object)
    code, distinct = codes(known)
    return np.array([canonical(cell) for cell in distinct], dtype=object)[code]


def folded_cells(texts: Strings, rules: Iterable[str]) -> Strings:
    """n canonical identifiers without that in which spellings may differ."""
    chosen = tuple(rules)
    if not chosen:
        return texts
    code, distinct = codes(texts)
    return np.array([folded(text, chosen) for text in distinct], dtype=object)[code]


def _is_plain(text: str) -> bool:
    """Whether no rule would change an identifier: small letters and numbers without zeros in front, as most are."""
    return _SMALL.fullmatch(text) is not None and _LEADING_ZEROS.search(text) is None


def _is_invisible(character: str) -> bool:
    """Whether a character has no width and no meaning of its own, as control characters have none."""
    if character < " " or character == "\x7f":
        return not character.isspace()
    if unicodedata.category(character) == "Cf" or character in _INVISIBLE:
        return True
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _digit(character: str) -> str:
    """A decimal digit of any script as its ASCII one; anything else as it is."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
