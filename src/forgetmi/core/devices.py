"""What an accelerator is asked for otherwise than a processor: whatever is read from it waits for all its work."""

from __future__ import annotations

from typing import Any

# Steps between two readings of an accelerator. A loss that is not finite is told so many steps later at most.
STEPS_BETWEEN_READS = 32


def is_accelerator(device: Any) -> bool:
    """Whether a device is not the processor itself.

    Args:
        device: A name such as "cuda:1", or a `torch.device`.

    Examples:
        >>> is_accelerator("cuda:1"), is_accelerator("cpu")
        (True, False)
    """
    return str(device).partition(":")[0] != "cpu"


def steps_between_reads(device: Any) -> int:
    """After how many steps values that steps left on a device are read: at once where that costs nothing.

    Examples:
        >>> steps_between_reads("cpu")
        1
    """
    return STEPS_BETWEEN_READS if is_accelerator(device) else 1
