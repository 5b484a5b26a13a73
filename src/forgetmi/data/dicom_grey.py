"""From the stored values of a DICOM film to grey: modality, window, presentation; padding takes no part.

Every step is a function of the stored value alone. So it is computed once for each value that occurs, and the pixels
are looked up in the table that comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import ImageFault, joined
from forgetmi.data.dicom_header import CORRECT, wrong
from forgetmi.data.grey import SHIFTED
from forgetmi.data.grey_range import CUT_OFF, coarse, remark

Values = npt.NDArray[Any]

PADDED = "padding (PixelPaddingValue) shown black, outside the grey range"
OUTLIERS = "a few pixels far outside the film do not count for its grey range"
SEVERAL_WINDOWS = "several windows or VOI tables: the first was used"
NO_SUCH_WINDOW = "it has no window of that number: the first was used"

# Of the pixels that take part, at most this share at either end can be outliers ...
ASIDE = 0.001
# ... which lie further outside the range of the others than this part of it.
_FAR = 0.5

# A window that shows fewer of the pixels as grey than this hides the film.
_FEWEST_INSIDE = 0.02

_DEEP, _EIGHT = 16, 8


@dataclass(frozen=True, eq=False)
class Grey:
    """Grey values of stored values.

    Args:
        values: float32[m] in [0, 1].
        notice: What was chosen or found odd, in words.
        inverted: Whether a negative was turned into a positive.
    """

    values: npt.NDArray[np.float32]
    notice: str
    inverted: bool


def grey_values(
    image: Any, stored: Values, counts: Values, padded: Values, *, window: str, invert: bool
) -> Grey:
    """Grey values of a film's stored values.

    Args:
        image: The data set.
        stored: int64[m], the stored values that occur.
        counts: int64[m], in how many pixels each occurs.
        padded: bool[m], which of them are padding.
        window: "first", "none" or the number of a window, from 1.
        invert: Whether a negative becomes a positive.

    Returns:
        Their grey values; padding is 0.

    Raises:
        ImageFault: A table or window of the file cannot be applied.

    Source: DICOM PS3.3, C.11.1 (modality), C.11.2 (window), C.11.6 and C.8.11.3 (presentation), C.7.5.1.1.2 (padding);
    the functions of pydicom.pixels.processing.
    """
    grey = np.zeros(len(stored), np.float32)
    part = ~padded
    padding = PADDED if padded.any() else ""
    if not part.any():
        return Grey(grey, joined(padding, remark(grey, counts)), inverted=False)

    values, rescaled = _modality(image, stored[part])
    shown, chosen = _shown(image, values, counts[part], window)
    shown, inverted, polarity = _presented(image, shown, invert=invert)

    grey[part] = shown
    odd = _hidden(image, shown, counts[part], window) or remark(shown, counts[part])
    odd = joined(odd, coarse(stored[part].min(), stored[part].max(), image.BitsStored))
    return Grey(grey, joined(padding, rescaled, chosen, polarity, odd), inverted)


def _modality(image: Any, values: Values) -> tuple[Values, str]:
    """The modality table, or slope and intercept."""
    from pydicom.pixels.processing import apply_modality_lut

    if image.get("ModalityLUTSequence"):
        try:
            _as_deep_table(image, "ModalityLUTSequence", values)
            return apply_modality_lut(values, image).astype(np.int64), ""
        except Exception as error:  # noqa: BLE001 - a damaged table can raise anything
            raise wrong("ModalityLUTSequence", type(error).__name__) from None

    slope, intercept = _number(image, "RescaleSlope"), _number(image, "RescaleIntercept")
    if slope is None and intercept is None:
        return values, ""
    if slope == 0:
        raise wrong("RescaleSlope", "it is 0, which makes all pixels equal")

    # One of the two alone.
    notice = ""
    if slope is None or intercept is None:
        absent = "RescaleSlope, taken as 1" if slope is None else "RescaleIntercept, taken as 0"
        notice = f"the DICOM image lacks {absent}"
        slope = 1.0 if slope is None else slope
        intercept = 0.0 if intercept is None else intercept
    image.RescaleSlope, image.RescaleIntercept = slope, intercept
    return apply_modality_lut(values, image), notice


def _shown(image: Any, values: Values, counts: Values, window: str) -> tuple[Values, str]:
    """Values as grey by the file's window or table, or by the film's own range; float64 in [0, 1]."""
    tables = len(image.get("VOILUTSequence") or ())
    windows = _windows(image)
    choices = tables or windows
    if window == "none" or not choices:
        return _by_range(values, counts)

    number = 0 if window == "first" else int(window) - 1
    notice = SEVERAL_WINDOWS if window == "first" and choices > 1 else ""
    if number >= choices:
        number, notice = 0, NO_SUCH_WINDOW

    try:
        shown = _by_table(image, values, number) if tables else _by_window(image, values, number)
    except Exception as error:  # noqa: BLE001 - a damaged table or window can raise anything
        elements = "VOILUTSequence" if tables else "WindowCenter, WindowWidth or VOILUTFunction"
        raise ImageFault(
            f"{elements} of the DICOM image cannot be applied",
            type(error).__name__,
            f"Choose `--images.window none`, which takes the film's own range. {CORRECT}",
        ) from None
    return shown, notice


def _by_range(values: Values, counts: Values) -> tuple[Values, str]:
    """The film's own range: from 0, or its darkest pixel where that lies below, to its brightest pixel.

    Where the brightest or darkest thousandth of the pixels lies far from all others, the range ends at the others, so
    that no defect darkens the whole film.
    """
    values = values.astype(np.float64)
    order = np.argsort(values, kind="stable")
    ordered, running = values[order], np.cumsum(counts[order])
    darkest, brightest = ordered[0], ordered[-1]

    # The range of all pixels but a thousandth at either end; of fewer than a thousand all count.
    aside = math.floor(ASIDE * (running[-1] - 1))
    low = ordered[np.searchsorted(running, aside, side="right")]
    high = ordered[np.searchsorted(running, running[-1] - 1 - aside, side="right")]

    far = _FAR * (high - min(0.0, low))
    outliers = brightest > high + far or darkest < min(0.0, low) - far
    white = high if brightest > high + far else brightest
    black = min(0.0, low if darkest < min(0.0, low) - far else darkest)

    # A film that is 0 everywhere stays so.
    span = (white - black) or 1.0
    notice = joined(SHIFTED if black < 0 else "", OUTLIERS if outliers else "")
    return np.clip((values - black) / span, 0.0, 1.0), notice


def _by_window(image: Any, values: Values, number: int) -> Values:
    """A window; its ends, which lie as far out as one likes, are black and white."""
    from pydicom.pixels.processing import apply_windowing

    ends = np.array([-1e30, 1e30])
    with np.errstate(over="ignore"):
        *shown, black, white = apply_windowing(np.concatenate([values, ends]), image, number)
    if not (math.isfinite(black) and math.isfinite(white) and black != white):
        raise ValueError("the window has no ends")
    return np.abs(np.clip((np.array(shown) - black) / (white - black), 0.0, 1.0))


def _by_table(image: Any, values: Values, number: int) -> Values:
    """A table of grey values, whose largest entry is white."""
    from pydicom.pixels.processing import apply_voi

    whole = np.rint(values).astype(np.int64)
    _as_deep_table(image, "VOILUTSequence", whole)
    shown = apply_voi(whole, image, number).astype(np.float64)
    entries = image.VOILUTSequence[number].LUTData
    largest = (
        np.frombuffer(entries, np.uint16).max() if isinstance(entries, bytes) else max(entries)
    )
    return shown / float(largest)


def _presented(image: Any, shown: Values, *, invert: bool) -> tuple[Values, bool, str]:
    """Turn a negative into a positive: MONOCHROME1 and an inverse presentation both say that it is one."""
    from pydicom.pixels.processing import apply_presentation_lut

    shape = str(image.get("PresentationLUTShape") or "").strip().upper()
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise wrong("PresentationLUTShape", "it is neither IDENTITY nor INVERSE")

    # Stating it twice is the rule; stating it once is a contradiction where the other one is given.
    first = image.PhotometricInterpretation == "MONOCHROME1"
    negative = first or shape == "INVERSE"
    notice = ""
    if shape and first != (shape == "INVERSE"):
        notice = "PhotometricInterpretation and PresentationLUTShape contradict: read as a negative"
    if not (negative and invert):
        return shown, False, notice

    # White is 1, whether or not it occurs.
    image.PresentationLUTShape = "INVERSE"
    return apply_presentation_lut(np.append(shown, 1.0), image)[:-1], True, notice


def _hidden(image: Any, shown: Values, counts: Values, window: str) -> str:
    """Whether the window leaves next to nothing of the film between black and white."""
    if window == "none" or not _windows(image) or len(shown) < 2:
        return ""
    inside = counts[(shown > 0) & (shown < 1)].sum()
    return CUT_OFF if inside < _FEWEST_INSIDE * counts.sum() else ""


def _windows(image: Any) -> int:
    """How many windows the file has; one without both of its numbers is none."""
    center, width = image.get("WindowCenter"), image.get("WindowWidth")
    if center in (None, "") or width in (None, ""):
        return 0
    return max(1, min(image["WindowCenter"].VM, image["WindowWidth"].VM))


def _as_deep_table(image: Any, element: str, values: Values) -> None:
    """State 16 bits an entry: pydicom takes the bits for the type of the table's index, too, which may be too short.

    The first value that a table is for is stored without its sign where the header's implicit types or its writer had
    none. It is taken with it where the table is for none of the values otherwise.
    """
    for item in image[element].value:
        length, first, bits = item.LUTDescriptor
        entries = length or 2**16
        with_sign = first - 2**16
        if first >= 2**15 and values.max() < first and with_sign + entries > values.min():
            first = with_sign
        if bits == _EIGHT and isinstance(item.LUTData, bytes) and len(item.LUTData) < 2 * entries:
            item.add_new("LUTData", "US", list(item.LUTData))
        item.LUTDescriptor = [length, first, _DEEP]


def _number(image: Any, element: str) -> float | None:
    """A number of the header; None where it is not given."""
    value = image.get(element)
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise wrong(element, "it is not one number") from None
    if not math.isfinite(number):
        raise wrong(element, "it is no finite number")
    return number
