"""Parses XML of strangers: no entities, no depth without end; text within markup is kept."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

# Nesting of a report is 8 deep.
MOST_DEPTH = 64

# Markup within a word or a line; any other element stands between words.
_INLINE = frozenset({"b", "i", "u", "em", "strong", "sub", "sup", "span", "font", "a", "small"})


class XmlError(Exception):
    """Why a text is no XML that is read, in words that quote none of it."""


def parse_xml(content: bytes) -> Element:
    """The root of an XML text.

    Use it in place of ElementTree's parser, which expands entities.

    Args:
        content: The text, in the encoding it declares.

    Returns:
        Its root element.

    Raises:
        XmlError: It is not well-formed, declares entities, or is nested more than `MOST_DEPTH` deep.
    """
    if not content.strip():
        raise XmlError("the file is empty")

    # Expat feeds the standard library's builder of trees.
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise XmlError(f"its elements are nested more than {MOST_DEPTH} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def entity(*_: Any) -> None:
        raise XmlError("it declares entities, which are not expanded")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = entity
    # One that another file would declare: its text would be lost without a word.
    parser.SkippedEntityHandler = entity

    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError):
        raise XmlError("it is not well-formed XML") from None


def text_of(element: Element | None) -> str:
    """The text of an element with that of all markup in it, with single blanks; "" for none."""
    if element is None:
        return ""
    return " ".join("".join(_pieces(element)).split())


def _pieces(element: Element) -> list[str]:
    """The text in and after each element, in order; a blank around elements that are not within a line."""
    pieces = [element.text or ""]
    for child in element:
        around = "" if child.tag.rsplit("}", 1)[-1].lower() in _INLINE else " "
        pieces += [around, *_pieces(child), around, child.tail or ""]
    return pieces
