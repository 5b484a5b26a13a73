"""How well a model predicts: AUC, F1, accuracy and, for grades, pairwise and ordinal AUC and the error of severity.

Every metric takes probabilities Float[n, k], labels Int[n] (0..k-1; images without a label are left out before) and
weights Float[b, n] (None = each image once), and returns Float[b], NaN where it is undefined under these weights.
Definitions follow the evaluation of the Forget-MI release (arXiv 2506.23145, its folder evaluation/), with two
deviations: nothing is rounded, and a macro AUC runs over the classes that are present instead of being undefined when
one is absent.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.statistics import mean_defined, once, ratio, weighted_auc, weighted_mean


def auc_per_class(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """One-vs-rest AUC of each class from its probability, ties counted as half.

    Returns:
        Float[b, k], NaN for a class that is absent or alone.

    Examples:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> auc_per_class(probabilities, np.array([0, 1, 1]))
        array([[1., 1.]])
    """
    # Each class against all others
    weights = _weights(label, weights)
    aucs = []
    for number in range(probabilities.shape[1]):
        aucs.append(weighted_auc(probabilities[:, number], label == number, weights))
    return np.stack(aucs, axis=1)


def _weights(label: Ints, weights: Floats | None) -> Floats:
    """Each image once, where no weights are given."""
    return once(len(label)) if weights is None else weights


def macro_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `auc_per_class` over the classes present.

    Raises:
        EvaluationError: Fewer than two classes are present.

    Examples:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> macro_auc(probabilities, np.array([0, 1, 1]))
        array([1.])
    """
    if len(np.unique(label)) < 2:
        raise EvaluationError(Fault("fewer than two classes are among the labelled images"))
    return mean_defined(auc_per_class(probabilities, label, weights))


def _counts(
    probabilities: Floats, label: Ints, weights: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Per class: weight predicted right, weight labelled so, weight predicted so; Float[b, k] each."""
    weights = _weights(label, weights)

    # One-hot: the true and the most probable class
    one_hot = np.eye(probabilities.shape[1])
    truth, guess = one_hot[label], one_hot[probabilities.argmax(1)]
    return weights @ (truth * guess), weights @ truth, weights @ guess


def macro_f1(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean F1 of the most probable class, over the classes present among labels or predictions.

    A class that is predicted but never true counts with 0 (scikit-learn's default, as in the release).

    Examples:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> macro_f1(probabilities, np.array([0, 0, 1])).round(3)
        array([0.667])
    """
    # F1 = 2 x right / (true + predicted), class by class
    right, truth, guess = _counts(probabilities, label, weights)
    return mean_defined(ratio(2 * right, truth + guess))


def accuracy(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Share of images whose most probable class is the true one.

    Examples:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> accuracy(probabilities, np.array([0, 0]))
        array([0.5])
    """
    right, truth, _ = _counts(probabilities, label, weights)
    return ratio(right.sum(1), truth.sum(1))


def pairwise_auc(
    probabilities: Floats, label: Ints, weights: Floats | None = None
) -> dict[tuple[int, int], Floats]:
    """AUC of class j against class i on the images of these two, scored by p_j / (p_i + p_j), for each i < j.

    Returns:
        Pair to Float[b], NaN where one of the two is absent.

    Examples:
        >>> probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
        >>> pairwise_auc(probabilities, np.array([0, 1, 2]))[0, 2]
        array([1.])
    """
    weights = _weights(label, weights)

    aucs = {}
    for i, j in combinations(range(probabilities.shape[1]), 2):
        images = np.flatnonzero((label == i) | (label == j))
        p_i, p_j = probabilities[images, i], probabilities[images, j]

        # Where both probabilities underflow, there is no preference.
        score = np.nan_to_num(ratio(p_j, p_i + p_j), nan=0.5)
        aucs[i, j] = weighted_auc(score, label[images] == j, weights[:, images])
    return aucs


def ordinal_auc(
    probabilities: Floats, label: Ints, weights: Floats | None = None
) -> dict[int, Floats]:
    """AUC of "grade above k", scored by the sum of the probabilities above k, for k = 0 .. classes - 2.

    Returns:
        Threshold to Float[b], NaN where no image is above or none is below.

    Examples:
        >>> probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
        >>> ordinal_auc(probabilities, np.array([0, 1, 2]))
        {0: array([1.]), 1: array([1.])}
    """
    weights = _weights(label, weights)

    aucs = {}
    for threshold in range(probabilities.shape[1] - 1):
        above = probabilities[:, threshold + 1 :].sum(1)
        aucs[threshold] = weighted_auc(above, label > threshold, weights)
    return aucs


def mean_pairwise_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `pairwise_auc` over the pairs present.

    Examples:
        >>> mean_pairwise_auc(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
        array([1.])
    """
    aucs = pairwise_auc(probabilities, label, weights)
    return mean_defined(np.stack(list(aucs.values()), axis=1))


def mean_ordinal_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `ordinal_auc` over the thresholds that split the images.

    Examples:
        >>> mean_ordinal_auc(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
        array([1.])
    """
    aucs = ordinal_auc(probabilities, label, weights)
    return mean_defined(np.stack(list(aucs.values()), axis=1))


def severity_mse(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean squared difference between the expected grade (sum of k p_k) and the label.

    Examples:
        >>> severity_mse(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1]))
        array([0.125])
    """
    # The expected grade of each image
    expected = probabilities @ np.arange(probabilities.shape[1])
    return weighted_mean((expected - label) ** 2, _weights(label, weights))
