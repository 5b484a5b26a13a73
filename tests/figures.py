"""Blank figures in place of drawn ones: making and drawing them takes a third of a small run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest

from forgetmi.report import figures, svg

BLANK = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1" version="1.1"/>'

# What of Matplotlib makes and draws a figure, before anything replaces it
_DRAWN = (
    (svg, "Figure", svg.Figure),
    (svg, "FigureCanvasSVG", svg.FigureCanvasSVG),
    (svg, "blended_transform_factory", svg.blended_transform_factory),
    (figures, "blended_transform_factory", figures.blended_transform_factory),
    (svg, "_drawn", svg._drawn),
)


@contextmanager
def blank_figures() -> Iterator[None]:
    """In the block every figure is blank; its makers run against stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, _ in _DRAWN:
            patch.setattr(module, name, MagicMock())
        patch.setattr(svg, "_drawn", lambda figure, name: BLANK)
        yield


@contextmanager
def drawn_figures() -> Iterator[None]:
    """In the block every figure is drawn, within one of blank figures, too."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, drawn in _DRAWN:
            patch.setattr(module, name, drawn)
        yield
