"""The release's noisy copies of forgotten samples, as a perturbation of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from forgetmi.authors_code.image import PixelNoise
from forgetmi.authors_code.text_noise import noisy_text
from forgetmi.core.arrays import Ints
from forgetmi.core.seeding import numpy_generator
from forgetmi.data.noise import Columns, Images


@final
@dataclass(frozen=True)
class ReleaseNoise:
    """Pixel noise and report noise of the release.

    A report's noise depends on its text alone: the release disturbs each report once, so that all images of a study
    share the noisy text. Deviation: equal texts of two studies get the same noise, too.

    Zeros that reach from an edge of the image over whole rows or columns are taken for padding and stay 0, because the
    release adds noise before it pads. Deviation: so does a black edge of the radiograph itself.

    Args:
        pixels: Noise of the image.
        text_level: Probability that a word is disturbed, 0 to 1.
        synonyms: From `forgetmi.authors_code.text_noise.read_synonyms`; empty = no word is replaced.
        seed: Root seed.
        draw: Number of the draw of the image noise; report noise is drawn once for ever.
    """

    pixels: PixelNoise
    text_level: float
    synonyms: Mapping[str, str] = field(repr=False)
    seed: int
    draw: int = 0

    def table(self, values: Columns, deviation: Columns, rows: Ints) -> Columns:
        """The values as they are: the release has no table."""
        return values

    def images(self, images: Images, rows: Ints) -> Images:
        """Noisy copies of float32[b, 1, h, w] images of the given cohort rows."""
        noisy = np.zeros_like(images)

        for target, image, row in zip(noisy, images, rows, strict=True):
            # A stream for each image and draw, whatever batch it is in.
            rng = numpy_generator(self.seed, "release", "pixels", self.draw, int(row))

            # Only the content is disturbed: padding stays 0.
            window = (0, *_content(image[0]))
            target[window] = self.pixels.apply(image[window], rng)
        return noisy

    def films(self, films: Tensor, rows: Ints) -> Tensor:
        """The same of films on an accelerator: they are disturbed on the processor, as the release does."""
        noisy = self.images(films.cpu().numpy(), rows)
        return torch.from_numpy(noisy).to(films.device)

    def texts(self, texts: Sequence[str], rows: Ints) -> list[str]:
        """Noisy copies of b reports."""
        noisy = []
        for text in texts:
            # The text itself decides the stream, so that images of one study share the noisy text.
            rng = numpy_generator(self.seed, "release", "text", text)
            noisy.append(noisy_text(text, level=self.text_level, synonyms=self.synonyms, rng=rng))
        return noisy


def _content(image: Images) -> tuple[slice, slice]:
    """The smallest window outside which the image is 0."""
    rows, columns = np.nonzero(image)
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns.min(), columns.max() + 1)
