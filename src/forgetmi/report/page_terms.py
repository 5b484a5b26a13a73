"""The words of the pages, in one sentence each; docs/glossary.md has all of the package's."""

from __future__ import annotations

from collections.abc import Mapping

PAGE_TERMS: Mapping[str, str] = {
    "original": "The model in service before, which was trained on the withdrawn patients, too.",
    "unlearned model": "What the method made of the original; it is to take its place.",
    "retrained model": "A model trained from the start without the withdrawn patients: the target of every comparison.",
    "forget set": "The images and reports of the patients who withdrew.",
    "retain set": "The training patients who stay.",
    "validation patients": "Patients never trained on, whom a method may use to adjust itself; not reported on.",
    "holdout patients": "Patients never trained on and never read by a method; results are reported on them.",
    "never-seen patients": "Patients in no training and no validation set, whom the withdrawn are compared with.",
    "near-duplicate": "An image or report that is stored under another patient, too.",
    "channel": "One way in which a model can give somebody away: each head, all heads together, and each link.",
    "head": "The part of a model that predicts from one kind of input, such as the image.",
    "link": "Whether the model knows which report belongs to which image.",
    "embedding": "The numbers into which an encoder turns an image or a report.",
    "gap": "Mean absolute difference to the retrained models in five measures.",
    "floor": "The gap of the retrained models among themselves; below it nothing can be told apart.",
    "JSf": "Mean disagreement with the retrained models on the withdrawn patients, image by image.",
    "attack": "A test of what can be found out about a person from a model.",
    "rule": "The thresholds of the verdict, fixed before the first result.",
    "margin": "The largest difference that counts as none.",
    "verdict": "One of the four answers of an audit, by the rule and by nothing else.",
    "area under relearning": "How much longer than at once the model needs to learn the withdrawn patients again, as a "
    "share of what retrained models need.",
    "record": "What the run was made of and what came out, with the digest of every file; it can be signed.",
    "digest": "A number computed from content, which changes if the content does.",
    "keyed digest": "A digest made with a secret key, in place of a patient’s identifier.",
    "retraining cost": "What one retrained model cost on the same machine.",
}


def terms_of(*words: str) -> dict[str, str]:
    """Some of them, for a page that stands by itself.

    Args:
        words: As in `PAGE_TERMS`.
    """
    return {word: PAGE_TERMS[word] for word in words}
