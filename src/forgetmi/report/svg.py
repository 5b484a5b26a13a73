"""The common ground of all figures: colours, shapes, and an SVG that stands on a page without anything from outside.

The same numbers give the same bytes. Text stays text, so that it prints sharply and takes the page's own font.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

# Colours: Okabe and Ito, "Color Universal Design" (2008): vermillion and blue differ in lightness too.
ORIGINAL, UNLEARNED, RETRAIN = "#c4500a", "#0a5f96", "#2b3440"
BAND, INK, MUTED, RULE = "#d3d9df", "#1d2833", "#5a6773", "#dde2e7"
SHADOW = "#8b96a1"  # outlines of distributions
ROOM = 1.08  # an axis around 0 is longer than the outermost value by this factor
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"

# Settings of every figure
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "hatch.linewidth": 0.6,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}

# Shape of each kind of model and patient
SHAPES: Mapping[str, dict[str, Any]] = {
    "original": {
        "marker": "s",
        "markersize": 7,
        "markerfacecolor": "white",
        "markeredgecolor": ORIGINAL,
        "markeredgewidth": 1.7,
    },
    "unlearned": {
        "marker": "o",
        "markersize": 8,
        "markerfacecolor": UNLEARNED,
        "markeredgecolor": UNLEARNED,
        "markeredgewidth": 1,
    },
    "retrain": {
        "marker": "D",
        "markersize": 4.2,
        "markerfacecolor": RETRAIN,
        "markeredgecolor": RETRAIN,
        "markeredgewidth": 0.6,
    },
    "target": {
        "marker": "^",
        "markersize": 6,
        "markerfacecolor": "white",
        "markeredgecolor": RETRAIN,
        "markeredgewidth": 1.2,
    },
    "remembered": {
        "marker": ">",
        "markersize": 8,
        "markerfacecolor": ORIGINAL,
        "markeredgecolor": INK,
    },
    "over": {
        "marker": "<",
        "markersize": 8,
        "markerfacecolor": "white",
        "markeredgecolor": INK,
        "markeredgewidth": 1.5,
    },
}

# Line of each kind of model
LINES: Mapping[str, dict[str, Any]] = {
    "original": {"color": ORIGINAL, "linewidth": 1.6, "linestyle": (0, (5, 2))},
    "unlearned": {"color": UNLEARNED, "linewidth": 2.4},
    "retrain": {"color": RETRAIN, "linewidth": 1.1, "linestyle": (0, (1.2, 1.2))},
    "chance": {"color": MUTED, "linewidth": 0.7},
}


ORDER = ("chance", "retrain", "original", "unlearned")  # of lines, from back to front


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One transparent pair of axes; sizes in inches. Draw within `mpl.rc_context(STYLE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)

    # The page's own background shows through
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.tick_params(length=3)
    return figure, axes


def margin_text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text at the height of a row, its place across as a share of the axes' width."""
    row_height = blended_transform_factory(axes.transAxes, axes.transData)
    axes.text(x, y, text, transform=row_height, va="center", **style)


def to_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as an SVG element without outside references, dates or sizes of its own; named for screen readers.

    Args:
        figure: Drawn within `mpl.rc_context(STYLE)`.
        name: Prefix of the identifiers, distinct on a page.
        title, description: For screen readers, which skip a figure without a title.
    """
    root = ET.fromstring(_drawn(figure, name))
    _inherit_style(root)
    _simplify(root)
    for key in ("width", "height", "version"):
        del root.attrib[key]

    if title:
        _describe(root, name, title, description)
    else:
        root.set("aria-hidden", "true")
    return ET.tostring(root, encoding="unicode")


def _drawn(figure: Figure, name: str) -> bytes:
    """The SVG file that Matplotlib writes."""
    # Identifiers that are stable, and differ between figures of a page
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _inherit_style(root: ET.Element) -> None:
    """Attributes that shapes inherit, in place of a style sheet that would hold for the whole page."""
    for child in list(root):
        is_metadata = child.tag == f"{_SVG}metadata"
        if is_metadata or child.find(f"{_SVG}style") is not None:
            root.remove(child)

    root.attrib.update({"stroke-linejoin": "round", "stroke-linecap": "butt"})


def _simplify(root: ET.Element) -> None:
    """Plain tag names, plain references, and only the identifiers that are referred to."""
    # What references and clip paths, "url(#NAME)", refer to
    used = set()
    for element in root.iter():
        used.add(element.get("clip-path", "")[5:-1])
        if f"{_XLINK}href" in element.attrib:
            used.add(element.attrib[f"{_XLINK}href"][1:])

    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)

        for key in list(element.keys()):
            if key == "id" and element.get("id") not in used:
                del element.attrib["id"]
            elif key == f"{_XLINK}href":
                element.set("href", element.attrib.pop(key))


def _describe(root: ET.Element, name: str, title: str, description: str) -> None:
    """Title and description as the first children, and a role."""
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")

    title_element = ET.Element("title", {"id": f"{name}-title"})
    title_element.text = title
    root.insert(0, title_element)

    description_element = ET.Element("desc", {"id": f"{name}-description"})
    description_element.text = description
    root.insert(1, description_element)
