"""The report of a fleet: what the coordinator's ledger has of a span of time, gathered and rendered as a page."""

from fedtiny.report.gather import gather
from fedtiny.report.page import render_report
from fedtiny.report.span import Span

__all__ = ["Span", "gather", "render_report"]
