"""Noise for images and reports; that of a sample depends only on (seed, draw, row), never on its batch or process."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import numpy_generator

Images = npt.NDArray[np.float32]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Perturber(Protocol):
    """Changes samples before they become a batch."""

    def images(self, images: Images, rows: Ints) -> Images: ...

    def texts(self, texts: Sequence[str], rows: Ints) -> list[str]: ...


@final
@dataclass(frozen=True)
class Perturbation:
    """Which noise a sample gets; with every field at 0 the samples stay bit-identical.

    Image: affine change, then Gaussian noise on every pixel, clipped to [0, 1]. Report: order of sentences, then either
    character or word noise, chosen at random per report.

    Args:
        image_mean: Mean of the pixel noise, in grey values of [0, 1].
        image_std: Standard deviation of the pixel noise, in grey values, >= 0.
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
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        faults = [
            Fault(f"{name} is {getattr(self, name)}", do="Choose a finite number, 0 or more.")
            for name in ("image_std", "rotation", "scale")
            if not 0 <= getattr(self, name) < math.inf
        ]
        faults += [
            Fault(f"{name} is {getattr(self, name)}", do="Choose a number from 0 to 1.")
            for name in ("text_level", "shift", "drop")
            if not 0 <= getattr(self, name) <= 1
        ]
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
            images = _affine(
                images, np.array([self._placement(row) for row in rows], np.float32).reshape(-1, 4)
            )
        if self.image_mean or self.image_std:
            noise = np.empty_like(images)
            for place, row in zip(noise, rows, strict=True):
                numpy_generator(
                    self.seed, "perturb", "pixels", self.draw, int(row)
                ).standard_normal(dtype=np.float32, out=place)
            noise *= np.float32(self.image_std)
            noise += np.float32(self.image_mean)
            noise += images
            images = np.clip(noise, 0.0, 1.0, out=noise)
        return images

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

    def _placement(self, row: int) -> tuple[float, float, float, float]:
        """Cosine and sine of the rotation over the scale, and the shift per axis in half sides."""
        rng = numpy_generator(self.seed, "perturb", "placement", self.draw, int(row))
        angle, relative = rng.standard_normal(2) * (self.rotation, self.scale)
        across, down = rng.uniform(-1.0, 1.0, 2) * 2.0 * self.shift
        size = max(1.0 + relative, 0.1)  # a draw this far out would turn the image inside out
        return math.cos(angle) / size, math.sin(angle) / size, across, down

    def _text(self, text: str, row: int) -> str:
        rng = numpy_generator(self.seed, "perturb", "text", self.draw, row)
        if self.shuffle or self.drop:
            text = _rearrange(text, rng, shuffle=self.shuffle, drop=self.drop)
        if self.text_level:
            text = (_noise_characters if rng.random() < 0.5 else _noise_words)(
                text, self.text_level, rng
            )
        return text


def augmentation(
    *, text_level: float = 0.1, sentences: bool = False, seed: int = 0, draw: int = 0
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


def _affine(images: Images, placement: npt.NDArray[np.float32]) -> Images:
    """Rotate, scale and shift about the centre with bilinear interpolation; the border's values go on outside.

    The grid is written out (not `affine_grid`, a matrix product whose rounding may depend on the batch).
    """
    import torch
    from torch.nn.functional import grid_sample

    height, width = images.shape[2:]
    y = torch.linspace(-1, 1, height + 1)[:-1, None] + 1 / height
    x = torch.linspace(-1, 1, width + 1)[None, :-1] + 1 / width
    cos, sin, across, down = torch.from_numpy(placement).T[:, :, None, None]
    x, y = x - across, y - down
    aspect = height / width
    grid = torch.stack([cos * x + sin * y * aspect, cos * y - sin * x / aspect], dim=-1)
    return grid_sample(
        torch.from_numpy(images), grid, padding_mode="border", align_corners=False
    ).numpy()


def _rearrange(text: str, rng: np.random.Generator, *, shuffle: bool, drop: float) -> str:
    sentences = _SENTENCE_END.split(text.strip())
    if shuffle:
        header, body = sentences[0], [sentences[1 + i] for i in rng.permutation(len(sentences) - 1)]
        sentences = [header, *body] if rng.random() < 0.5 else [*body, header]
    if len(sentences) > 2 and rng.random() < drop:
        sentences.pop()
    return " ".join(sentences)


def _noise_characters(text: str, level: float, rng: np.random.Generator) -> str:
    """Each word with probability `level`: insert, delete or substitute a letter, or swap two neighbours."""
    words = text.split()
    for at, (chance, kind, place, letter) in enumerate(rng.random((len(words), 4)).tolist()):
        if chance < level:
            words[at] = _change_word(words[at], int(kind * 4), place, _LETTERS[int(letter * 26)])
    return " ".join(words)


def _change_word(word: str, kind: int, place: float, letter: str) -> str:
    n = len(word)
    if kind == 0:
        at = int(place * (n + 1))
        return word[:at] + letter + word[at:]
    if kind == 1:
        at = int(place * n)
        return word[:at] + letter + word[at + 1 :]
    if n == 1:
        return word  # one-letter words are spared by delete and swap
    if kind == 2:
        at = int(place * n)
        return word[:at] + word[at + 1 :]
    at = int(place * (n - 1))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _noise_words(text: str, level: float, rng: np.random.Generator) -> str:
    """Each word with probability `level`: delete it, repeat it, or swap it with another position."""
    words = text.split()
    n = len(words)
    order, times = list(range(n)), [1] * n
    for at, (chance, kind, place) in enumerate(rng.random((n, 3)).tolist()):
        if chance >= level:
            continue
        if kind < 1 / 3:
            times[at] = 0
        elif kind < 2 / 3:
            times[at] = 2
        elif n > 1:
            other = int(place * (n - 1))
            other += other >= at
            order[at], order[other] = order[other], order[at]
    return " ".join(words[at] for at in order for _ in range(times[at]))
