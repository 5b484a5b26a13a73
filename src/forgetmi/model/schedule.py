"""How the learning rate changes, and how training images are shifted: pure functions of what was before."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from forgetmi.core.batch import Batch
from forgetmi.core.seeding import numpy_generator

PLATEAU_FACTOR = 0.1
PLATEAU_THRESHOLD = 1e-6


def plateau_factor(losses: Sequence[float], patience: int) -> float:
    """Learning rate after some epochs as a share of the first one's, divided by ten wherever the loss stopped falling.

    Args:
        losses: Training loss of each epoch so far.
        patience: Epochs without a lower loss (by a relative 1e-6) that are accepted; 0 = the rate never changes.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau with the threshold of the Forget-MI trainer.
    """
    if patience <= 0:
        return 1.0

    factor = 1.0
    best = float("inf")
    waited = 0
    for loss in losses:
        # A loss that is hardly lower counts as none.
        if loss < best * (1 - PLATEAU_THRESHOLD):
            best = loss
            waited = 0
        else:
            waited += 1

        if waited > patience:
            factor *= PLATEAU_FACTOR
            waited = 0
    return factor


def shifted(batch: Batch, *, std: float, seed: int, epoch: int) -> Batch:
    """The batch with every image moved by whole pixels, zeros coming in.

    Args:
        batch: Images of h x w pixels.
        std: Standard deviation of the draw along each side, pixels; a draw beyond twice as much counts as 0. The image
            moves by half the draw: by ceil(d / 2) pixels for +d, back by floor(d / 2) for -d.
        seed, epoch: With a sample's row they decide its shift.

    Source: joint_chestxray's RandomTranslateCrop (standard deviation 200, draws beyond 400 are 0), which pads one side
    by the draw and then cuts out the centre, so that the film moves by half of it. Deviation: it moves the film before
    it is cut to the model's input, so that further film comes in where it is larger.
    """
    shifted_images = torch.zeros_like(batch.image)
    height, width = batch.image.shape[2:]

    for number, row in enumerate(batch.plain_rows()):
        # The draw depends on the sample's row alone, not on its place in the batch.
        generator = numpy_generator(seed, "train", "shift", epoch, row)
        drawn_down, drawn_across = generator.normal(0.0, std, 2)
        down = _moved(drawn_down, std)
        across = _moved(drawn_across, std)

        # Nothing of the image is left where it is shifted by more than its side.
        if abs(down) >= height or abs(across) >= width:
            continue

        target_rows, source_rows = _overlap(down, height)
        target_columns, source_columns = _overlap(across, width)
        source = batch.image[number, :, source_rows, source_columns]
        shifted_images[number, :, target_rows, target_columns] = source

    return batch.with_inputs(image=shifted_images)


def _moved(drawn: float, std: float) -> int:
    """How far a draw moves the image, pixels: +d by ceil(d / 2), -d back by floor(d / 2)."""
    whole = int(drawn) if abs(drawn) <= 2 * std else 0
    return (whole + 1) // 2


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """The pixels along one side that a shifted image covers, and those of the image that go there."""
    target = slice(max(0, shift), side + min(0, shift))
    source = slice(max(0, -shift), side + min(0, -shift))
    return target, source
