"""A convolution that pads as TensorFlow does."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME" does: what is odd goes to the right and below."""

    def forward(self, input: Tensor) -> Tensor:
        """Float[b, c, h, w] to Float[b, d, h / stride, w / stride], rounded up."""
        sides = []
        for size in (input.shape[3], input.shape[2]):
            steps = -(-size // self.stride[0])
            missing = max(0, (steps - 1) * self.stride[0] + self.kernel_size[0] - size)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(pad(input, sides))
