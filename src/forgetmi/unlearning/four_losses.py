"""The four losses of Forget-MI: their names, their equations and their order; importing it loads no tensor library."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class FourLosses(NamedTuple, Generic[T]):
    """One value for each loss of Forget-MI: the loss itself, its weight, its mean over an epoch.

    Below, f_o is the original and f_u the model being unlearned. C(f, x) is the image embedding and the text embedding
    of sample x under f, concatenated; J(f, x) is its joint embedding. D_f is the forget set, D_r the retain set, and
    x + noise the noisy copy of x. ``||.||`` is the Euclidean length.

    Args:
        UU: Unimodal unlearning, equation 1: mean over x in D_f of ``||C(f_u, x) - C(f_o, x + noise)||``.
        MU: Multimodal unlearning, equation 2: mean over x in D_f of ``||J(f_u, x) - J(f_o, x + noise)||``.
        UR: Unimodal retention, equation 3: mean over x in D_r of ``||C(f_u, x) - C(f_o, x)||``.
        MR: Multimodal retention, equation 4: mean over x in D_r of ``||J(f_u, x) - J(f_o, x)||``.

    The total, equation 5, is ``w_UU UU + w_MU MU + w_UR UR + w_MR MR`` with weights that sum to 1.

    Source: Hardan et al. 2025 (arXiv 2506.23145), equations 1 to 5.

    Examples:
        >>> FourLosses(UU=1, MU=2, UR=1, MR=2).MU
        2
        >>> FourLosses._fields
        ('UU', 'MU', 'UR', 'MR')
    """

    UU: T
    MU: T
    UR: T
    MR: T
