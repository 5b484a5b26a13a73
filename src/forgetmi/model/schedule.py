"""How the learning rate changes, and how training images are shifted: pure functions of what was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from forgetmi.core.batch import Batch
from forgetmi.core.seeding import numpy_generator

PLATEAU_FACTOR, PLATEAU_THRESHOLD = 0.1, 1e-6


def plateau_factor(losses: Sequence[float], patience: int) -> float:
    """Learning rate after some epochs as a share of the first one's, divided by ten wherever the loss stopped falling.

    Args:
        losses: Training loss of each epoch so far.
        patience: Epochs without a lower loss (by a relative 1e-6) that are accepted; 0 = the rate never changes.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau with the threshold of the Forget-MI trainer.
    """
    factor, best, waited = 1.0, float("inf"), 0
    for loss in losses if patience > 0 else ():
        if loss < best * (1 - PLATEAU_THRESHOLD):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            factor, waited = factor * PLATEAU_FACTOR, 0
    return factor


def shifted(batch: Batch, *, std: float, seed: int, epoch: int) -> Batch:
    """The batch with every image moved by whole pixels, zeros coming in.

    Args:
        batch: Images of h x w pixels.
        std: Standard deviation of the shift along each side, pixels; a draw beyond twice as much is no shift.
        seed, epoch: With a sample's row they decide its shift.

    Source: joint_chestxray's RandomTranslateCrop (standard deviation 200, draws beyond 400 are 0). Deviation: it moves
    the film before the centre is cut out, so that further film comes in where it is larger than the model's input.
    """
    image = torch.zeros_like(batch.image)
    height, width = image.shape[2:]
    for number, row in enumerate(batch.row.tolist()):
        drawn = numpy_generator(seed, "train", "shift", epoch, row).normal(0.0, std, 2)
        down, across = (int(pixels) if abs(pixels) <= 2 * std else 0 for pixels in drawn)
        if abs(down) < height and abs(across) < width:
            image[
                number,
                :,
                max(0, down) : height + min(0, down),
                max(0, across) : width + min(0, across),
            ] = batch.image[
                number,
                :,
                max(0, -down) : height + min(0, -down),
                max(0, -across) : width + min(0, -across),
            ]
    return replace(batch, image=image)
