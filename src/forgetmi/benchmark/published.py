"""The paper's published results (Hardan et al., MICCAI 2025, arXiv 2506.23145), to be shown beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Per row and percentage: MIA, AUC forget, F1 forget, AUC test, F1 test (image head; one seed, no intervals).
Values = Mapping[float, tuple[float, float, float, float, float]]

TABLE_1: dict[str, Values] = {  # Table 1
    "original": {3: (1.000, .999, .965, .677, .388), 6: (1.000, .999, .972, .677, .388),
                 10: (1.000, .999, .970, .677, .388)},
    "retrain": {3: (.000, .566, .310, .626, .362), 6: (.769, .675, .395, .702, .427),
                10: (.190, .588, .342, .629, .382)},
    "neg_grad_plus": {3: (1.000, 1.000, .983, .678, .399), 6: (1.000, 1.000, .987, .677, .388),
                      10: (1.000, 1.000, .986, .677, .388)},
    "scrub": {3: (1.000, 1.000, .983, .679, .397), 6: (1.000, 1.000, .987, .679, .394),
              10: (1.000, 1.000, .985, .679, .394)},
    "cf_k": {3: (1.000, .999, .976, .686, .416), 6: (1.000, .999, .977, .676, .410),
             10: (1.000, 1.000, .990, .668, .410)},
    "eu_k": {3: (1.000, .996, .952, .669, .386), 6: (1.000, .612, .328, .631, .339),
             10: (1.000, .629, .345, .631, .339)},
    "multi_delete": {3: (.806, .858, .562, .622, .300), 6: (.846, .878, .604, .636, .289),
                     10: (.952, .972, .783, .656, .333)},
    # The best setting of each percentage, chosen on these same results.
    "forget_mi": {3: (.571, .735, .393, .625, .250), 6: (.615, .654, .328, .599, .270),
                  10: (.810, .656, .313, .565, .252)},
}
TABLE_2: dict[str, Values] = {  # Table 2, settings of Forget-MI
    "forget_mi:setting=no_noise": {3: (1.000, .534, .116, .508, .154), 6: (1.000, .511, .110, .521, .090),
                                   10: (1.000, .513, .104, .505, .085)},
    "forget_mi:setting=equal": {3: (.571, .764, .385, .631, .253), 6: (.846, .802, .428, .637, .277),
                                10: (.952, .796, .369, .617, .240)},
    "forget_mi:setting=multimodal": {3: (.714, .774, .384, .634, .247), 6: (.615, .654, .328, .599, .270),
                                     10: (.905, .740, .344, .586, .231)},
    "forget_mi:setting=unimodal": {3: (.571, .735, .393, .625, .250), 6: (.615, .687, .357, .610, .275),
                                   10: (.905, .764, .363, .597, .236)},
    "forget_mi:setting=retention": {3: (.714, .646, .306, .598, .245), 6: (.615, .672, .339, .594, .267),
                                    10: (.810, .656, .313, .565, .252)},
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
