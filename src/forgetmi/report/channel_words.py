"""Channels and heads in words, for models of any modalities; no word names a modality that a model does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgetmi.audit.result import Audit
from forgetmi.evaluation.channels import is_link

# Modalities in words, as a title and within a sentence
_MODALITIES: Mapping[str, str] = {
    "image": "Radiograph",
    "text": "Report",
    "table": "Table of values",
    "series": "Recording",
}

# Channels that are no single modality, in full and for narrow columns
_CHANNELS: Mapping[str, str] = {
    "both": "Radiograph and report together",
    "all": "All inputs together",
    "link": "Link between radiograph and report",
    "any": "Whichever gives most away",
}
_SHORT: Mapping[str, str] = {
    "both": "Both together",
    "all": "All together",
    "link": "Link",
    "any": "Most telling",
}


def modality(name: str) -> str:
    """A modality in words; one that is not known here by its own name."""
    return _MODALITIES.get(name, name.replace("_", " ").capitalize())


def channel_name(channel: str) -> str:
    """A channel in full.

    Examples:
        >>> channel_name("image"), channel_name("link-image-table")
        ('Radiograph', 'Link between radiograph and table of values')
    """
    if channel in _CHANNELS:
        return _CHANNELS[channel]
    if is_link(channel):
        first, second = channel.split("-")[1:]
        return f"Link between {modality(first).lower()} and {modality(second).lower()}"
    return modality(channel)


def short_channel(channel: str) -> str:
    """A channel for narrow columns.

    Examples:
        >>> short_channel("both"), short_channel("link-image-table")
        ('Both together', 'Link, radiograph and table of values')
    """
    if channel in _SHORT:
        return _SHORT[channel]
    if is_link(channel):
        first, second = channel.split("-")[1:]
        return f"Link, {modality(first).lower()} and {modality(second).lower()}"
    return modality(channel)


def head_word(head: str) -> str:
    """A head within a sentence about patients: by its modality.

    Examples:
        >>> head_word("image"), head_word("both")
        ('radiograph', 'both together')
    """
    return short_channel(head).lower()


def columns_of(audit: Audit) -> tuple[str, ...]:
    """The channels of a table of patients: those that were judged, and the one that tells most."""
    return (*(one.channel for one in audit.verdict.channels), "any")


# What people know as theirs, in the plural
_MATERIALS: Mapping[str, str] = {
    "image": "radiographs",
    "text": "reports",
    "table": "tables of values",
    "series": "recordings",
}


def materials(modalities: Sequence[str]) -> str:
    """What a model was trained with.

    Examples:
        >>> materials(("image", "text")), materials(("image",))
        ('radiographs and reports', 'radiographs')
    """
    words = [_MATERIALS.get(name, name.replace("_", " ")) for name in modalities]
    if len(words) < 2:
        return words[0] if words else "data"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def written_about(modalities: Sequence[str]) -> str:
    """The same for somebody who was never told that reports are written about radiographs.

    Examples:
        >>> written_about(("image", "text")), written_about(("table",))
        ('radiographs and the reports written about them', 'tables of values')
    """
    if tuple(modalities) == ("image", "text"):
        return "radiographs and the reports written about them"
    return materials(modalities)
