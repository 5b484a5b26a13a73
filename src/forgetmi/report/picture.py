"""Panels side by side as one SVG, for notebooks and for files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from forgetmi.core.files import write_text

_VIEW = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_ACROSS = 3  # panels in one row


@dataclass(frozen=True, repr=False)
class SvgPicture:
    """A figure that a notebook shows by itself; it loads nothing.

    Args:
        panels: SVG elements as `forgetmi.report.svg.to_svg` makes them, from left to right.
        caption: How to read it, and what it shows.
    """

    panels: tuple[str, ...]
    caption: str

    def __repr__(self) -> str:
        return f"SvgPicture({len(self.panels)} panels: {self.caption})"

    @property
    def svg(self) -> str:
        """All panels as one SVG file, on white."""
        sizes = [_size(panel) for panel in self.panels]
        placed, width, top = [], 0.0, 0.0

        # Three panels a row; a row is as high as its highest panel
        for first in range(0, len(sizes), _ACROSS):
            row = sizes[first : first + _ACROSS]
            left = 0.0
            for panel, (wide, high) in zip(self.panels[first:], row, strict=False):
                place = f'<svg x="{left:g}" y="{top:g}" width="{wide:g}" height="{high:g}"'
                placed.append(panel.replace("<svg", place, 1))
                left += wide
            width = max(width, left)
            top += max(high for _, high in row)

        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {top:g}" width="{width:g}" '
            f'height="{top:g}"><rect width="100%" height="100%" fill="white"/>{"".join(placed)}</svg>\n'
        )

    def _repr_html_(self) -> str:
        return f"<figure>{self.svg}<figcaption>{escape(self.caption)}</figcaption></figure>"

    def save(self, path: Path | str) -> Path:
        """Write it as an SVG file, atomically.

        Args:
            path: The file; its folder exists.
        """
        write_text(Path(path), self.svg)
        return Path(path)


def side_by_side(panels: Sequence[str], caption: str) -> SvgPicture:
    """A picture of some panels."""
    return SvgPicture(tuple(map(str, panels)), caption)


def _size(panel: str) -> tuple[float, float]:
    """Width and height of a panel, in its own units."""
    found = _VIEW.search(panel)
    if found is None:
        raise ValueError("a panel without a viewBox is no panel of a figure")
    return float(found[1]), float(found[2])
