"""Families of methods, by what they work with: for tables that are read across papers."""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"

# As in the table of README.md
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "exact": ("retrain", "short_retrain", "sisa", "s3t"),
    "pair and embedding losses": (
        "forget_mi",
        "forget_mi_release",
        "multi_delete",
        "clip_erase",
        "consensus",
        "calibrated_consensus",
    ),
    "gradients, teachers, labels": (
        "neg_grad",
        "neg_grad_plus",
        "scrub",
        "bad_teaching",
        "delete",
        "lotus",
        "regun",
        "random_labels",
        "afs",
    ),
    "only the retained data": (
        "fine_tune",
        "cf_k",
        "eu_k",
        "ct",
        "l1_sparse",
        "shrink_perturb",
        "undo",
        "rewind",
        "noisy_fine_tune",
    ),
    "chosen weights, closed forms": (
        "salun",
        "sfron",
        "ssd",
        "msg",
        "deep_clean",
        "chip",
        "jit",
        "newton_heads",
        "amnesiac",
        "msa",
    ),
}


def family_of(kind: str) -> str:
    """The family of a registered method; `OTHER` for one of another package.

    Args:
        kind: Its registered name.
    """
    for family, kinds in FAMILIES.items():
        if kind in kinds:
            return family
    return OTHER
