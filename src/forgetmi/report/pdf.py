"""The pages as PDF, for filing; needs the extra ``pdf``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained, write_bytes


def write_pdfs(pages: Sequence[Path]) -> tuple[Path, ...]:
    """Print pages to tagged PDF (PDF/UA-1), each next to its HTML file, atomically and without any network.

    Args:
        pages: HTML files that `forgetmi.report.pages.write_report` wrote.

    Raises:
        SpecError: The extra, or a library it needs from the system, is missing.
    """
    # An optional dependency, which needs a library of the system
    try:
        from weasyprint import HTML  # pyright: ignore[reportMissingImports]
        from weasyprint.urls import URLFetcher  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        why = "weasyprint does not find pango"
        if isinstance(error, ImportError):
            why = "weasyprint is not installed"
        raise SpecError(
            Fault(
                "PDF pages need an extra",
                where="--pdf",
                why=why,
                do="pip install 'forgetmi[pdf]', and pango from the system (Debian: libpango-1.0-0 libpangoft2-1.0-0). "
                "Or print the HTML pages from a browser.",
            )
        ) from error

    # Pictures that stand in the page, nothing else
    inline = URLFetcher(allowed_protocols=("data",))

    written = []
    for page in pages:
        html = HTML(string=page.read_text(encoding="utf-8"), url_fetcher=inline)

        # Tagged, so that a screen reader finds headings, tables and the words for figures
        content = html.write_pdf(pdf_variant="pdf/ua-1")
        target = page.with_suffix(".pdf")
        with full_disk_explained(target.name):
            write_bytes(target, content)
        written.append(target)

    return tuple(written)
