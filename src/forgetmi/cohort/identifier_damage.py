"""What spreadsheets, tables of floating-point numbers and lossy conversions did to an identifier."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SCIENTIFIC = re.compile(r"[+-]?(\d+([.,]\d+)?e[+-]\d+|\d+[.,]\d+e\d+)", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?(\d+)[.,]0+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([.,]000)+")
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DATE = re.compile(rf"\d{{1,2}}-{_MONTH}(-\d{{2,4}})?|{_MONTH}-\d{{2}}", re.IGNORECASE)
_LOST = "\ufffd"
_DIGITS_KEPT = 15  # digits of a whole number that a spreadsheet keeps
_EXACT = 2**53  # whole numbers that a floating-point number keeps


def damage(text: str, *, decimals: bool = False) -> str:
    """What a spreadsheet or a table of floating-point numbers did to an identifier, in words; "" = nothing.

    Args:
        text: A canonical identifier.
        decimals: Whether a .0 at the end is no damage, since the user said so.
    """
    if _SCIENTIFIC.fullmatch(text):
        return "it is written as a power of ten, and its last digits are lost"
    if _DATE.fullmatch(text):
        return "it is a date, as a spreadsheet makes one of 1-2 or 3/4"
    if _LOST in text:
        return "it holds a character that was lost in an earlier conversion (U+FFFD)"
    if _THOUSANDS.fullmatch(text):
        return "it may be thousands with a mark between, or a whole number that was read as a decimal one"

    # Whole numbers beyond 2^53 were rounded
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None:
        return ""
    if len(decimal[1]) > _DIGITS_KEPT + 1 or int(decimal[1]) > _EXACT:
        return "it is a decimal number beyond 2^53, whose last digits are lost"
    return (
        "" if decimals else "it ends in .0, as a whole number does that was read as a decimal one"
    )


def rounded(texts: Iterable[str]) -> list[str]:
    """Whole numbers of more than 15 digits, where every one has zeros alone after the 15th: a spreadsheet does that.

    One such number may be right; of three further digits in all, one table in a thousand would look so by chance.

    Args:
        texts: Distinct canonical identifiers of one column.

    Returns:
        Those numbers; none where one of them has other digits there.
    """
    long = [
        text for text in texts if text.isascii() and text.isdigit() and len(text) > _DIGITS_KEPT
    ]
    if any(text[_DIGITS_KEPT:].strip("0") for text in long):
        return []
    return long if sum(len(text) - _DIGITS_KEPT for text in long) >= 3 else []
