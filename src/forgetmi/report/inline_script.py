"""The script of a page that sorts and filters: it stands in the page, and the page allows no other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class InlineScript:
    """A script for one ``<script>`` element.

    Args:
        text: Its source, not to be escaped.
        digest: SHA-256 in base 64, for the page's policy: ``script-src 'sha256-DIGEST'``.
    """

    text: Markup
    digest: str


def inline_script(own: str = "", *, call: str = "") -> InlineScript:
    """The one way in which tables are sorted and filtered, and what a page does besides.

    Args:
        own: File in ``templates`` with what the page does besides; it calls ``sortAndFilter`` itself.
        call: In place of that file, the one line that calls it.
    """
    parts = [(TEMPLATES / "sort_filter.js").read_text(encoding="utf-8"), call]
    if own:
        parts.append((TEMPLATES / own).read_text(encoding="utf-8"))

    script = "".join(parts)
    digest = hashlib.sha256(script.encode()).digest()
    return InlineScript(Markup(script), base64.b64encode(digest).decode())


def shared_style() -> Markup:
    """The style of the form and of the headings that sort, for pages with templates elsewhere."""
    return Markup((TEMPLATES / "sort_filter.css").read_text(encoding="utf-8"))
