"""The image-report link: does a model still know which report belongs to which radiograph?

Training pulls an image and its own report together, so a remembered pair is closer than the image is to other
patients' reports, and its report is found again among many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import pair_cosine

_BLOCK = 4_000_000  # similarities held at once


def contrast(queries: Signals, gallery: Signals) -> Floats:
    """Cosine of each image with its own report minus its mean cosine with other patients' reports.

    The second term removes how close an image is to reports in general.

    Args:
        queries: n images with their reports.
        gallery: Signals of the same model whose reports are compared; the patient's own are left out. Use the same
            gallery for everything that is compared.

    Returns:
        Float[n], -2 to 2; larger = more like a member.

    Raises:
        EvaluationError: The model has no embeddings, or the gallery has no other patient's report.
    """
    own = pair_cosine(queries)
    mean = [
        np.where(other, cosine, 0).sum(1) / other.sum(1)
        for cosine, other in _blocks(queries, gallery)
    ]
    return own - np.concatenate(mean)


def retrieval_rank(queries: Signals, gallery: Signals, *, among: int | None = None) -> Floats:
    """Rank of an image's own report among `among` reports, by cosine; 1 = the model finds it first.

    Args:
        queries: n images with their reports.
        gallery: As in `contrast`; each study's report counts once.
        among: Own report included, >= 2; None = all. With fewer than all it is the expected rank among that many
            drawn at random, which needs no drawing. Chance: (among + 1) / 2.

    Returns:
        Float[n]; equal cosines count half.

    Raises:
        EvaluationError: As `contrast`, or the gallery has fewer than `among` - 1 other reports.
    """
    own, ranks, at = pair_cosine(queries)[:, None], [], 0
    for cosine, other in _blocks(queries, gallery):
        mine = own[at : at + len(cosine)]
        at += len(cosine)
        same = np.abs(cosine - mine) <= 1e-12
        ahead = (other * (np.where(same, 0.5, cosine > mine))).sum(1)
        count = other.sum(1)
        if among is not None and count.min() < among - 1:
            raise EvaluationError(
                Fault(
                    f"a rank among {among} needs {among - 1} other reports, there are "
                    f"{count.min()}",
                    do="Rank among fewer.",
                )
            )
        ranks.append(1 + ahead * (1 if among is None else (among - 1) / count))
    return np.concatenate(ranks)


def _blocks(queries: Signals, gallery: Signals) -> Iterator[tuple[Floats, np.ndarray]]:
    """For some images at a time: cosine with each distinct report, and whether it is another patient's."""
    pair_cosine(gallery)  # refuses zero or missing embeddings
    _, first = np.unique(gallery.study, return_index=True)
    text, image = (
        np.asarray(part, np.float64) for part in (gallery.text_embedding, queries.image_embedding)
    )
    text = text[first] / np.linalg.norm(text[first], axis=1, keepdims=True)
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    owner = gallery.patient[first]
    step = max(1, _BLOCK // len(first))
    for at in range(0, len(image), step):
        other = queries.patient[at : at + step, None] != owner
        if not other.any(1).all():
            raise EvaluationError(Fault("there is no other patient's report to compare with"))
        yield image[at : at + step] @ text.T, other
