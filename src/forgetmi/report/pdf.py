"""The pages as PDF, for filing; needs the extra ``pdf``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError


def write_pdfs(pages: Sequence[Path]) -> tuple[Path, ...]:
    """Print pages to PDF, each beside its HTML file, atomically and without any network.

    Args:
        pages: HTML files that `forgetmi.report.pages.write_report` wrote.

    Raises:
        SpecError: The extra, or a library it needs from the system, is missing.
    """
    try:
        from weasyprint import HTML  # pyright: ignore[reportMissingImports]
        from weasyprint.urls import URLFetcher  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        why = (
            "weasyprint is not installed"
            if isinstance(error, ImportError)
            else "weasyprint does not find pango"
        )
        raise SpecError(
            Fault(
                "PDF pages need an extra",
                where="--pdf",
                why=why,
                do="pip install 'forgetmi[pdf]', and pango from the system (Debian: libpango-1.0-0 libpangoft2-1.0-0). "
                "Or print the HTML pages from a browser.",
            )
        ) from error
    inline = URLFetcher(
        allowed_protocols=("data",)
    )  # pictures that stand in the page, nothing else
    written = []
    for page in pages:
        target, partial = page.with_suffix(".pdf"), page.with_name(f".{page.stem}.pdf.partial")
        HTML(string=page.read_text(encoding="utf-8"), url_fetcher=inline).write_pdf(partial)
        os.replace(partial, target)
        written.append(target)
    return tuple(written)
