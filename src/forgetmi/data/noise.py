"""Noise for images and reports; that of a sample depends only on (seed, draw, row), never on its batch or process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import Number, Seed
from forgetmi.core.seeding import derive, device_generator, numpy_generator
from forgetmi.data.text_noise import change_characters, change_words, rearrange

# For annotations alone: methods' options name noise and must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

Images = npt.NDArray[np.float32]
Columns = npt.NDArray[np.float32]

# Default noise of a method that moves forgotten samples towards noisy copies of themselves: mean and standard
# deviation of the pixel noise in grey values of [0, 1], and probability that a word of a report is changed.
DEFAULT_IMAGE_MEAN = 0.0
DEFAULT_IMAGE_STD = 0.1
DEFAULT_TEXT_LEVEL = 0.5

# Default probability that a mild augmentation changes a word.
AUGMENTATION_TEXT_LEVEL = 0.1

# Levels that a calibration tries, from weak to strong, and those it falls back to where it cannot choose.
IMAGE_STD_GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8)
TEXT_LEVEL_GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FALLBACK_NOISE = (0.2, 0.5)  # of images, of reports


class Perturber(Protocol):
    """Changes samples before they become a batch."""

    def images(self, images: Images, rows: Ints) -> Images: ...

    def films(self, films: Tensor, rows: Ints) -> Tensor:
        """The same of films on an accelerator, whose own generator draws: other noise of the same strength."""
        ...

    def texts(self, texts: Sequence[str], rows: Ints) -> list[str]: ...

    def table(self, values: Columns, deviation: Columns, rows: Ints) -> Columns: ...


@final
@dataclass(frozen=True)
class Perturbation:
    """Which noise a sample gets; with every field at 0 the samples stay bit-identical.

    Image: affine change, then Gaussian noise on every pixel, clipped to [0, 1]. Report: order of sentences, then either
    character or word noise, chosen at random per report. Table: Gaussian noise on numbers, none on categories.

    Args:
        image_mean: Mean of the pixel noise, in grey values of [0, 1].
        image_std: Standard deviation of the pixel noise, in grey values, >= 0; of a table's numbers, in standard
            deviations of their column.
        text_level: Probability that a word is changed, 0..1.
        rotation: Standard deviation of the rotation, radians, >= 0.
        scale: Standard deviation of the relative change of size, >= 0.
        shift: Largest shift per axis as a share of the side, 0..1.
        shuffle: Whether sentences change places; the first one (the header) goes first or last.
        drop: Probability that the last of more than two sentences is dropped, 0..1.
        seed: Root seed.
        draw: Number of the draw; another number gives independent noise.
    """

    image_mean: float = 0.0
    image_std: float = 0.0
    text_level: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    shuffle: bool = False
    drop: float = 0.0
    seed: Seed = 0
    draw: Number = 0

    def __post_init__(self) -> None:
        faults = []

        for name in ("image_std", "rotation", "scale"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                faults.append(Fault(f"{name} is {value}", do="Choose a finite number, 0 or more."))

        for name in ("text_level", "shift", "drop"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                faults.append(Fault(f"{name} is {value}", do="Choose a number from 0 to 1."))

        if not math.isfinite(self.image_mean):
            faults.append(Fault(f"image_mean is {self.image_mean}", do="Choose a finite number."))

        if faults:
            raise SpecError(faults)

    def images(self, images: Images, rows: Ints) -> Images:
        """Perturb b images.

        Args:
            images: float32[b, 1, h, w] in [0, 1]; not changed.
            rows: Row of each image in the cohort.

        Returns:
            float32[b, 1, h, w] in [0, 1].
        """
        if self.rotation or self.scale or self.shift:
            placements = [self._placement(row) for row in rows]
            images = _affine(images, np.array(placements, np.float32).reshape(-1, 4))

        if self.image_mean or self.image_std:
            images = self._with_pixel_noise(images, rows)

        return images

    def films(self, films: Tensor, rows: Ints) -> Tensor:
        """Perturb b images on an accelerator.

        A row's noise depends on the same seed, draw and row as in `images`, and is drawn there by the device's own
        generator: its values are others than the processor's, and no film crosses for them.

        Args:
            films: Float32[b, 1, h, w] in [0, 1]; not changed.
            rows: Row of each film in the cohort.
        """
        import torch

        if self.rotation or self.scale or self.shift:
            placements = [self._placement(row) for row in rows]
            placement = torch.tensor(placements, dtype=torch.float32).reshape(-1, 4)
            films = _moved(films, placement.to(films.device, non_blocking=True))

        if self.image_mean or self.image_std:
            noise = torch.empty_like(films)
            for film_noise, row in zip(noise, rows, strict=True):
                seed = derive(self.seed, "perturb", "pixels", self.draw, int(row))
                film_noise.normal_(generator=device_generator(films.device, seed))
            films = (films + self.image_std * noise + self.image_mean).clamp(0.0, 1.0)

        return films

    def texts(self, texts: Sequence[str], rows: Ints) -> list[str]:
        """Perturb b reports.

        Args:
            texts: The reports.
            rows: Row of each report in the cohort; two images of one study get different noise.

        Returns:
            The changed reports; a report that was not changed is the same string.
        """
        if not (self.text_level or self.shuffle or self.drop):
            return list(texts)
        return [self._text(text, int(row)) for text, row in zip(texts, rows, strict=True)]

    def table(self, values: Columns, deviation: Columns, rows: Ints) -> Columns:
        """Perturb b rows of a table.

        Args:
            values: float32[b, c], NaN = missing, which stays so; not changed.
            deviation: float32[c], standard deviation of each column; 0 = it is left alone (categories).
            rows: Row of each in the cohort.
        """
        if not self.image_std:
            return values
        noisy = values.copy()
        for row_values, row in zip(noisy, rows, strict=True):
            rng = numpy_generator(self.seed, "perturb", "table", self.draw, int(row))
            noise = rng.standard_normal(len(deviation), dtype=np.float32)
            row_values += np.float32(self.image_std) * deviation * noise
        return noisy

    def _with_pixel_noise(self, images: Images, rows: Ints) -> Images:
        noise = np.empty_like(images)
        for image_noise, row in zip(noise, rows, strict=True):
            rng = numpy_generator(self.seed, "perturb", "pixels", self.draw, int(row))
            rng.standard_normal(dtype=np.float32, out=image_noise)

        # In place: large images are not held twice.
        noise *= np.float32(self.image_std)
        noise += np.float32(self.image_mean)
        noise += images
        return np.clip(noise, 0.0, 1.0, out=noise)

    def _placement(self, row: int) -> tuple[float, float, float, float]:
        """Cosine and sine of the rotation over the scale, and the shift per axis in half sides."""
        rng = numpy_generator(self.seed, "perturb", "placement", self.draw, int(row))
        angle, relative = rng.standard_normal(2) * (self.rotation, self.scale)
        across, down = rng.uniform(-1.0, 1.0, 2) * 2.0 * self.shift

        # A draw this far out would turn the image inside out.
        size = max(1.0 + relative, 0.1)

        return math.cos(angle) / size, math.sin(angle) / size, across, down

    def _text(self, text: str, row: int) -> str:
        rng = numpy_generator(self.seed, "perturb", "text", self.draw, row)

        if self.shuffle or self.drop:
            text = rearrange(text, rng, shuffle=self.shuffle, drop=self.drop)

        # A coin decides between the two kinds of noise.
        if self.text_level:
            if rng.random() < 0.5:
                text = change_characters(text, self.text_level, rng)
            else:
                text = change_words(text, self.text_level, rng)

        return text


def augmentation(
    *,
    text_level: float = AUGMENTATION_TEXT_LEVEL,
    sentences: bool = False,
    seed: int = 0,
    draw: int = 0,
) -> Perturbation:
    """The mild changes under which a trained model no longer shows what it memorised of a sample.

    Args:
        text_level: Probability that a word is changed, 0..1.
        sentences: Whether sentences change places, too, and one is dropped with probability 0.3.
        seed: Root seed.
        draw: Number of the draw.

    Returns:
        Rotation of 0.08 rad, size of 6 %, shift of 3 pixels in 64, character or word noise.
    """
    return Perturbation(
        rotation=0.08,
        scale=0.06,
        shift=3 / 64,
        shuffle=sentences,
        drop=0.3 if sentences else 0.0,
        text_level=text_level,
        seed=seed,
        draw=draw,
    )


def column_deviations(cohort: Cohort) -> Columns | None:
    """The unit of each measured column's noise: its standard deviation over all rows.

    Returns:
        Float32[c], 0 for categories and where nothing is known; None = nothing was measured.
    """
    if cohort.table is None:
        return None
    deviation = np.zeros(len(cohort.table_columns), np.float32)
    for place, name in enumerate(cohort.table_columns):
        values = cohort.table[:, place]
        values = values[~np.isnan(values)].astype(np.float64)
        if name not in cohort.categorical and len(values):
            deviation[place] = values.std()
    return deviation


def _affine(images: Images, placement: npt.NDArray[np.float32]) -> Images:
    """Rotate, scale and shift about the centre with bilinear interpolation; the border's values go on outside.

    The grid is written out (not `affine_grid`, a matrix product whose rounding may depend on the batch).
    """
    # Imported here: methods' options name noise and must load without torch.
    import torch

    return _moved(torch.from_numpy(images), torch.from_numpy(placement)).numpy()


def _moved(images: Tensor, placement: Tensor) -> Tensor:
    """The same of tensors on one device."""
    import torch
    from torch.nn.functional import grid_sample

    # Centres of the pixels, from -1 to 1.
    height, width = images.shape[2:]
    device = images.device
    y = torch.linspace(-1, 1, height + 1, device=device)[:-1, None] + 1 / height
    x = torch.linspace(-1, 1, width + 1, device=device)[None, :-1] + 1 / width

    # Where each pixel of the result is read from.
    cos, sin, across, down = placement.T[:, :, None, None]
    x = x - across
    y = y - down
    aspect = height / width
    source_x = cos * x + sin * y * aspect
    source_y = cos * y - sin * x / aspect
    grid = torch.stack([source_x, source_y], dim=-1)

    return grid_sample(images, grid, padding_mode="border", align_corners=False)
