"""`report`: what the report of a run says, in a terminal: verdict, classes, two pictures, and where its page is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from aunet.names import NAME, printable
from pipelines.pages.half_blocks import half_blocks
from pipelines.pages.report_head import NO_CHAMPION, sentences
from pipelines.pages.tables import print_quality
from pipelines.store import storage
from pipelines.store.artifacts import Report, VerbResult
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder, read_report

NUM_PREVIEWS = 2
MAX_COLUMNS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSummary(VerbResult):
    """A report, in short."""

    report: Report
    verdict: str
    """In a sentence."""

    def to_json(self) -> dict[str, Any]:
        """The fields, and the metrics by their names."""
        return {**self.report.to_json(), "verdict": self.verdict}


def report(run: str, console: Console | None = None) -> ReportSummary:
    """Show the report of a run on its own validation split, else its last one on another.

    Args:
        run: the run's URI, or its name in the store.
        console: None: stderr.

    Raises:
        InputError: there is no report, or it is damaged.
    """
    folder = _run_folder(run).main_report()
    summary = folder.existing_report()
    document = read_report(folder.document_uri)
    metrics, per_class = summary.metrics, document.get("per_class", [])
    comparison, champion = document.get("comparison"), document.get("champion") or ""
    if comparison is None:
        champion = document.get("uncompared") or NO_CHAMPION
    headline, detail = sentences(metrics, document.get("images", 0), None, comparison, champion)
    console = console or Console(stderr=True)
    console.print(Text(printable(headline), style="bold"))
    console.print(Text(printable(detail)), soft_wrap=True)
    print_quality(metrics, per_class, "", console)
    _preview(console, summary.overlays_uri)
    console.print(Text(f"page  {summary.html_uri}"), soft_wrap=True)
    return ReportSummary(report=summary, verdict=f"{headline}. {detail}")


def _run_folder(run: str) -> RunFolder:
    is_name = NAME.fullmatch(run) and not storage.exists(run)
    return Store.here().run(run) if is_name else RunFolder(run)


def _preview(console: Console, uri: str) -> None:
    """Two pictures, image, truth and prediction side by side; only where they are on a terminal."""
    if not storage.exists(uri):
        return
    names = sorted(file.path for file in storage.list_files(uri) if file.path.endswith(".png"))
    for name in names[:NUM_PREVIEWS]:
        picture = storage.join(uri, name)
        if console.is_terminal:
            console.print(half_blocks(storage.read_bytes(picture), min(console.width, MAX_COLUMNS)))
        console.print(Text(f"picture  {picture}"), soft_wrap=True)
