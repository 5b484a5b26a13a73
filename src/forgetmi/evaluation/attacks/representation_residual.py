"""What is left in embeddings of the forgotten: how much of the way from the original to retraining is still to go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import RESAMPLES
from forgetmi.evaluation.attacks.embeddings import patient_embeddings, require_own_embedding
from forgetmi.evaluation.statistics import draws, interval, ratio, resample_patients

LEAST = 4  # patients, for an unbiased comparison of two embeddings
ROUNDING = 1e-12  # of the original's energy; a shift below it is none
ENERGY = 0.5  # of (retrained - original) that the leading directions hold


def debiased_cka(first: Floats, second: Floats) -> float:
    """Linear centred kernel alignment of two embeddings of the same patients, from unbiased estimates.

    1 = the same up to rotation and scale, 0 on average = unrelated (Kornblith et al., ICML 2019; unbiased HSIC of Song
    et al., JMLR 2012: the plain estimate is near 1 for any two embeddings with more dimensions than patients).

    Args:
        first, second: Float[p, d] and Float[p, e], p >= 4.

    Raises:
        EvaluationError: One of them hardly varies, or there are too few patients to say.

    Examples:
        >>> embedding = np.random.default_rng(0).normal(size=(20, 3))
        >>> round(debiased_cka(embedding, 2 * embedding[:, ::-1]), 6)
        1.0
    """
    k, l = first @ first.T, second @ second.T  # noqa: E741 - the letters of the papers
    own = hsic(k, k) * hsic(l, l)
    if own <= 0:
        raise EvaluationError(Fault("an embedding hardly varies over these few patients"))
    return hsic(k, l) / float(np.sqrt(own))


def hsic(k: Floats, l: Floats) -> float:  # noqa: E741
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices Float[p, p] (Song et al. 2012)."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    pairs = (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float((pairs - 2 / (n - 2) * k.sum(0) @ l.sum(0)) / (n * (n - 3)))


def rotation(source: Floats, target: Floats) -> Floats:
    """Float[d, d], the rotation or reflection that takes centred rows nearest to others (orthogonal Procrustes).

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(9, 2))
        >>> turned = rows @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        >>> rotation(rows, turned).round(6) + 0.0
        array([[ 0.,  1.],
               [-1.,  0.]])
    """
    left, _, right = np.linalg.svd((source - source.mean(0)).T @ (target - target.mean(0)))
    return left @ right


def leading_directions(shift: Floats) -> Floats:
    """Float[d, k]: the fewest right singular vectors of a shift Float[p, d] that hold half of its energy."""
    _, sizes, directions = np.linalg.svd(shift, full_matrices=False)
    energy = np.cumsum(sizes**2) / (sizes**2).sum()
    return directions[: int(np.searchsorted(energy, ENERGY)) + 1].T


def to_go_and_way(
    audited: Floats, original: Floats, retrained: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """What is still to go and the whole way, patient by patient, without the noise that single trainings have.

    With R the mean of all trainings: (audited - R) . (original - R) and (original - R) . (original - R). Each factor
    takes another retrained model, over all pairs, so that no model's noise meets itself: both are unbiased where two
    or more are given and the audited one owes nothing to them. Of a single one both are too large by its variance.

    Args:
        audited, original: Float[p, d], in the same coordinates.
        retrained: The same, one at least.

    Returns:
        Float[p] twice; the sums over patients are the numerator and denominator of the residual.

    Examples:
        >>> original, retrained = np.zeros((1, 1)), [np.full((1, 1), 1.0), np.full((1, 1), 3.0)]
        >>> [values.tolist() for values in to_go_and_way(original + 1, original, retrained)]
        [[1.0], [3.0]]
    """
    models = np.stack(retrained)
    count = len(models)
    still, whole = audited - models, original - models
    if count == 1:
        return (still * whole).sum(2)[0], (whole**2).sum(2)[0]

    # All products less those of a model with itself
    pairs = count * (count - 1)
    to_go = (still.sum(0) * whole.sum(0) - (still * whole).sum(0)).sum(1) / pairs
    way = (whole.sum(0) ** 2 - (whole**2).sum(0)).sum(1) / pairs
    return to_go, way


@dataclass(frozen=True)
class RepresentationResidual:
    """How much of the way from the original's embeddings of the forgotten to retrained ones is still to go.

    With E an embedding of the forgotten patients and R its mean over retrained models, the value is
    <E(audited) - R, E(original) - R> / |E(original) - R|^2: 1 for the original, 0 for a model at retraining's
    place, below 0 beyond it. Use it where outputs look right: a new last layer leaves embeddings as they were.

    Retrained models differ by chance. With two and more of them each product is of differences to two different models
    (`to_go_and_way`), so that chance does not lift the value; their mean in both factors would lift it by 1 / r of the
    variance of single trainings, as a share of the denominator. With a single one it is lifted, which a note says. A
    retrained model is judged against the others, one fewer: three are needed for all to be measured alike. The interval
    resamples patients alone: what a training does to all patients alike is not in it (docs/attacks.md has its false
    alarms), so read it beside the values of the retrained models.

    The details hold the paper's two measures: the debiased CKA to retrained embeddings, of the forgotten and of
    retained patients, and the share of the residual that lies along the leading directions of the shift. That share
    scatters too widely among retrained models (.2 to .8 on a generated cohort) to tell a model from them.

    Source: Yong et al., arXiv 2606.25001. Deviations: the value, which is signed and has a scale, from pairs of
    retrained models; embeddings of another initialisation are first rotated onto the original's, as retained patients
    say (orthogonal Procrustes), since directions of two trainings are not comparable; details by the mean over
    retrained models; patients' means instead of images.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> [RepresentationResidual().apply(toy_knowledge(m)).value > 0.5 for m in (0.0, 1.0)]
        [False, True]
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="representation_residual",
        title="Representation residual",
        source="Yong et al., 2026, arXiv 2606.25001",
        measures="share of the way from the original's embeddings to retrained ones that is still to go",
        direction="higher",
        reference="retrained",
        forgotten=0.0,
        needs=frozenset({"original", "retrained", "retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        require_own_embedding(knowledge)
        if len(knowledge.patients("forget")) < LEAST:
            raise EvaluationError(Fault(f"fewer than {LEAST} forgotten patients"))

        # The patients under the original, the audited and the retrained models
        models = (knowledge.signals[ORIGINAL], knowledge.audited, *knowledge.retrained)
        forgotten = patient_embeddings(knowledge, "forget", models)
        retained = patient_embeddings(knowledge, "retain", models)

        # All in the original's coordinates
        original, audited, *retrained = (
            _rotated(rows, source, retained[0])
            for rows, source in zip(forgotten, retained, strict=True)
        )
        target = np.mean(retrained, axis=0)
        shift, residual = target - original, audited - target

        # The way still to go, patient by patient: their sums are its numerator and denominator
        to_go, way = to_go_and_way(audited, original, retrained)
        if way.sum() <= ROUNDING * (original**2).sum():
            raise EvaluationError(
                Fault("retrained embeddings are the original's, as far as chance lets one tell")
            )
        sample = resample_patients(
            np.arange(len(way)),
            resamples=RESAMPLES,
            generator=numpy_generator(knowledge.seed, "attacks", "representation residual"),
        )
        values = draws(sample, lambda weights: ratio(weights @ to_go, weights @ way))
        bounds, why = interval(values, patients=len(way))

        counts = {"forgotten": len(way), "retrained models": len(retrained)}
        details = {}
        for name, embeddings in (("cka", forgotten), ("cka_retained", retained)):
            with suppress(EvaluationError):
                details[name] = _cka(embeddings)
        leading = leading_directions(shift)
        size = (residual**2).sum()
        if size > 0:
            details["along_leading_directions"] = float(((residual @ leading) ** 2).sum() / size)
        details["leading_directions"] = float(leading.shape[1])
        notes = [why] if why else []
        if len(retrained) == 1:
            notes.append("too high: the chance of the only other retrained model is in it")
        return AttackOutput(
            float(values[0]), counts, interval=bounds, details=details, note="; ".join(notes)
        )


def _rotated(forgotten: Floats, source: Floats, target: Floats) -> Floats:
    """The forgotten in the coordinates in which a model's retained patients lie nearest to the original's."""
    if source is target:
        return forgotten
    turn = rotation(source, target)
    return (forgotten - source.mean(0)) @ turn + target.mean(0)


def _cka(models: Sequence[Floats]) -> float:
    """Of the audited model (the second) to the retrained ones (the third and on), mean over these."""
    _, own, *others = models
    return float(np.mean([debiased_cka(own, other) for other in others]))
