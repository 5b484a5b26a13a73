"""The page about one patient, for the person who decides on a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from forgetmi.audit.patient_view import ChannelView, ImageView, PatientView
from forgetmi.audit.rows import PatientRow
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, is_retrained
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.report import figures
from forgetmi.report.channel_words import channel_name, short_channel
from forgetmi.report.content import Example
from forgetmi.report.figures import DotRow, Mark
from forgetmi.report.number_text import many
from forgetmi.report.page_terms import terms_of
from forgetmi.report.rendering import render

IMAGES_SHOWN = 12
REMARKABLE = 2.0  # standard deviations of never-seen images
_WORDS = (
    "original",
    "unlearned model",
    "retrained model",
    "never-seen patients",
    "channel",
    "head",
    "link",
    "near-duplicate",
    "verdict",
    "keyed digest",
)


@dataclass(frozen=True, eq=False)
class PatientFacts:
    """Everything the page says.

    Args:
        run: Name of the run's directory.
        view: The patient, seen closely.
        row: What the run's audit says of the patient; None = it made none.
        duplicates: Copies of the patient's images and reports under others.
        pictures: Row of the cohort to the film, where the cohort allows pictures.
    """

    run: str
    view: PatientView
    row: PatientRow | None
    duplicates: tuple[NearDuplicate, ...]
    pictures: dict[int, Example]


def render_patient(facts: PatientFacts) -> str:
    """The page; the same facts give the same bytes, and it loads nothing."""
    view = facts.view
    values: dict[str, Any] = {
        "answer": _answer(facts),
        "lines": [_line(channel) for channel in view.channels],
        "picture": Markup(_figure(view.channels)) if view.channels else None,
        "never_seen": max((channel.never_seen for channel in view.channels), default=0),
        "images": [_image(facts, image) for image in view.remembered[:IMAGES_SHOWN]],
        "left_out": max(0, len(view.remembered) - IMAGES_SHOWN),
        "changes": _changes(view),
        "page_terms": terms_of(*_WORDS),
    }
    return render("patient.html.jinja", facts=facts, view=view, **values)


def _answer(facts: PatientFacts) -> str:
    """Whether this patient stands out, in a sentence."""
    if facts.row is None:
        return "The run was not audited, so nobody was tested for standing out."
    if facts.row.remembered:
        return (
            "This patient stands out: the new model still knows them better than models that never saw them do, "
            "also after correction for how many patients were looked at."
        )
    if facts.row.over_forgotten:
        return (
            "This patient stands out on the other side: the new model treats them so much like a stranger that it can "
            "be noticed, also after correction for how many patients were looked at."
        )

    # A high score that correction does not leave standing
    sentence = "This patient does not stand out from people whom the model never saw"
    score = facts.row.channels.get("any")
    if score is not None and score.percentile >= 97.5:
        sentence += (
            f", after correction for how many patients were looked at; by itself their score is higher than that of "
            f"{score.percentile:.0f} % of {many(score.compared, 'never-seen patient')}"
        )
    return f"{sentence}. That does not show that nothing of them is left."


def _line(channel: ChannelView) -> dict[str, str]:
    """A row of the table: shares of never-seen patients in percent."""
    retrained = [share for name, share in channel.familiar.items() if is_retrained(name)]
    between = "not measured"
    if retrained:
        low, high = 100 * min(retrained), 100 * max(retrained)
        between = f"{low:.0f} %" if len(retrained) == 1 else f"{low:.0f} to {high:.0f} %"
    return {
        "channel": channel_name(channel.channel),
        "before": f"{100 * channel.familiar[ORIGINAL]:.0f} %",
        "after": f"{100 * channel.familiar[UNLEARNED]:.0f} %",
        "retrained": between,
    }


def _figure(channels: Sequence[ChannelView]) -> str:
    rows = []
    for channel in channels:
        retrained = []
        for name, share in channel.familiar.items():
            if is_retrained(name):
                retrained.append(Mark(100 * share))
        rows.append(
            DotRow(
                label=short_channel(channel.channel),
                original=Mark(100 * channel.familiar[ORIGINAL]),
                unlearned=Mark(100 * channel.familiar[UNLEARNED]),
                retrains=tuple(retrained),
            )
        )
    return figures.dot_panel(
        "patient-channels",
        "More familiar than ... % of never-seen patients",
        rows,
        axis="percent of never-seen patients",
        span=(0, 100),
    )


def _image(facts: PatientFacts, image: ImageView) -> dict[str, Any]:
    words = "as familiar as to a retrained model, within what is usual for people it never saw"
    if image.excess >= REMARKABLE:
        words = "clearly more familiar than to retrained models"
    elif image.excess <= -REMARKABLE:
        words = "clearly less familiar than to retrained models"
    return {
        "study": image.study,
        "channel": channel_name(image.channel),
        "before": f"{image.before:+.1f}",
        "after": f"{image.excess:+.1f}",
        "words": words,
        "example": facts.pictures.get(image.row),
    }


def _changes(view: PatientView) -> list[str]:
    """What would change with retraining, a sentence a head."""
    sentences = []
    for head, (before, after, images) in view.predicted.items():
        sentences.append(
            f"{channel_name(head)}: most retrained models agree with the new model on the class of {after} of "
            f"{many(images, 'image')}, and with the original on {before}."
        )

    # One retrained model has no range
    for channel in view.channels:
        retrained = [share for name, share in channel.familiar.items() if is_retrained(name)]
        models, after = len(retrained), channel.familiar[UNLEARNED]
        if models > 1 and not min(retrained) <= after <= max(retrained):
            more = "less" if after > max(retrained) else "more"
            sentences.append(
                f"{channel_name(channel.channel)}: all {models} retrained models find this patient {more} familiar "
                f"than the new model does; by chance alone one retrained model more would lie outside of theirs "
                f"in 2 of {models + 1} cases."
            )
    return sentences
