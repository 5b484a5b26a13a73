"""The paper's published results (Hardan et al., MICCAI 2025, arXiv 2506.23145), to be shown beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Per row and percentage: MIA, AUC forget, F1 forget, AUC test, F1 test (image head; one seed, no intervals).
Values = Mapping[float, tuple[float, float, float, float, float]]

TABLE_1: dict[str, Values] = {  # Table 1
    "original": {
        3: (1.000, 0.999, 0.965, 0.677, 0.388),
        6: (1.000, 0.999, 0.972, 0.677, 0.388),
        10: (1.000, 0.999, 0.970, 0.677, 0.388),
    },
    "retrain": {
        3: (0.000, 0.566, 0.310, 0.626, 0.362),
        6: (0.769, 0.675, 0.395, 0.702, 0.427),
        10: (0.190, 0.588, 0.342, 0.629, 0.382),
    },
    "neg_grad_plus": {
        3: (1.000, 1.000, 0.983, 0.678, 0.399),
        6: (1.000, 1.000, 0.987, 0.677, 0.388),
        10: (1.000, 1.000, 0.986, 0.677, 0.388),
    },
    "scrub": {
        3: (1.000, 1.000, 0.983, 0.679, 0.397),
        6: (1.000, 1.000, 0.987, 0.679, 0.394),
        10: (1.000, 1.000, 0.985, 0.679, 0.394),
    },
    "cf_k": {
        3: (1.000, 0.999, 0.976, 0.686, 0.416),
        6: (1.000, 0.999, 0.977, 0.676, 0.410),
        10: (1.000, 1.000, 0.990, 0.668, 0.410),
    },
    "eu_k": {
        3: (1.000, 0.996, 0.952, 0.669, 0.386),
        6: (1.000, 0.612, 0.328, 0.631, 0.339),
        10: (1.000, 0.629, 0.345, 0.631, 0.339),
    },
    "multi_delete": {
        3: (0.806, 0.858, 0.562, 0.622, 0.300),
        6: (0.846, 0.878, 0.604, 0.636, 0.289),
        10: (0.952, 0.972, 0.783, 0.656, 0.333),
    },
    # The best setting of each percentage, chosen on these same results.
    "forget_mi": {
        3: (0.571, 0.735, 0.393, 0.625, 0.250),
        6: (0.615, 0.654, 0.328, 0.599, 0.270),
        10: (0.810, 0.656, 0.313, 0.565, 0.252),
    },
}
TABLE_2: dict[str, Values] = {  # Table 2, settings of Forget-MI
    "forget_mi:setting=no_noise": {
        3: (1.000, 0.534, 0.116, 0.508, 0.154),
        6: (1.000, 0.511, 0.110, 0.521, 0.090),
        10: (1.000, 0.513, 0.104, 0.505, 0.085),
    },
    "forget_mi:setting=equal": {
        3: (0.571, 0.764, 0.385, 0.631, 0.253),
        6: (0.846, 0.802, 0.428, 0.637, 0.277),
        10: (0.952, 0.796, 0.369, 0.617, 0.240),
    },
    "forget_mi:setting=multimodal": {
        3: (0.714, 0.774, 0.384, 0.634, 0.247),
        6: (0.615, 0.654, 0.328, 0.599, 0.270),
        10: (0.905, 0.740, 0.344, 0.586, 0.231),
    },
    "forget_mi:setting=unimodal": {
        3: (0.571, 0.735, 0.393, 0.625, 0.250),
        6: (0.615, 0.687, 0.357, 0.610, 0.275),
        10: (0.905, 0.764, 0.363, 0.597, 0.236),
    },
    "forget_mi:setting=retention": {
        3: (0.714, 0.646, 0.306, 0.598, 0.245),
        6: (0.615, 0.672, 0.339, 0.594, 0.267),
        10: (0.810, 0.656, 0.313, 0.565, 0.252),
    },
}
# The paper's cohort (Chauhan et al. 2020): images, patients, and images of grade 0 to 3.
IMAGES, PATIENTS, GRADES = 6742, 1663, (2883, 1511, 1709, 639)


def is_papers(images: int, patients: int, grades: Sequence[int]) -> bool:
    """Whether a cohort is the paper's, as far as its counts tell.

    Args:
        images, patients: How many there are.
        grades: Images of each class, in order.
    """
    return (images, patients, tuple(grades)) == (IMAGES, PATIENTS, GRADES)
