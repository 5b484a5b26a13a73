"""What a run does not prove, in the sentences that a report and a model card have in common."""

from __future__ import annotations

from forgetmi.report.number_text import many


def not_proven(*, withdrawn: int, retrained: int, audited: bool) -> list[str]:
    """Sentences on what a run does not show.

    Args:
        withdrawn: Withdrawn patients.
        retrained: Retrained models.
        audited: Whether there is a verdict.
    """
    models = " and of retrained models" if audited else ""
    uncertain = (
        f"Numbers over {many(withdrawn, 'withdrawn patient')} are uncertain, as the intervals say. They cover the "
        f"choice of patients{models}, not another training seed of this model"
    )
    if retrained:
        verb = "is" if retrained == 1 else "are"
        uncertain += f"; for that there {verb} only {many(retrained, 'retrained model')}"

    single = (
        "An average can look right while a single patient stays known to the model; no value here is about one "
        "person."
    )
    if audited:
        single = (
            "The verdict is about the withdrawn patients together. A single patient who does not stand out is not "
            "shown to be gone."
        )
    return [
        "It is no proof of erasure. It compares how models behave; it does not show that no trace of a person is left "
        "in the weights.",
        "It speaks of one model file. Source data, backups, earlier versions and whatever was made from them are not "
        "examined.",
        f"{uncertain}.",
        single,
        "Only the attacks listed were tried. A stronger one, or one with access to both the old and the new model, may "
        "find more.",
        "“Not resolvable” is not “equal”, and a small distance is not “none”.",
    ]
