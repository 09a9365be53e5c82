"""A report as one self-contained HTML page: a verdict in words, tables, and pictures drawn here as inline SVG.

The page loads nothing and runs nothing. Every string of the fleet is escaped where it enters the page
(``fedtiny.report.html``, ``fedtiny.report.drawing``). A number that is missing or not finite reads as an en dash, and
leaves a gap in a picture.
"""

from collections.abc import Mapping
from typing import Any

from fedtiny.report import evaluation, lives
from fedtiny.report.alarms import alarms
from fedtiny.report.attention import attention
from fedtiny.report.changes import changes
from fedtiny.report.fleet import computers, fleet
from fedtiny.report.html import grid, paragraph, section, table, text
from fedtiny.report.machines import machines
from fedtiny.report.numbers import counted
from fedtiny.report.release import gate_table, training_figure
from fedtiny.report.rounds import refusals, rounds
from fedtiny.report.style import CSS
from fedtiny.report.times import day
from fedtiny.report.values import as_dict, as_dicts, word


def render_report(report: Mapping[str, Any]) -> str:
    """Render a report as one HTML document.

    Args:
        report: JSON-like, what ``fedtiny.report.gather`` makes of a span of time, and, of a run whose faults are
            known, ``evaluation`` with the keys summary, training, gate and devices. Anything may be missing or null.

    Returns:
        The document's text, to be written as UTF-8.
    """
    title = str(report.get("title") or "Fleet report")
    body = [f"<header><h1>{text(title)}</h1>", paragraph(" · ".join(_about(report)), "about")]
    judged = as_dict(report, "evaluation")
    if judged:
        body.append(evaluation.verdict(judged))
    if "fleet" in report:
        body.append(attention(report))
    body.append("</header>")
    if judged:
        body += [
            section("Summary", evaluation.summary_table(judged), evaluation.headline(judged)),
            section("Score over life", *lives.lives(judged)),
            section("Machine by machine", grid([lives.gains_figure(judged)]), evaluation.machine_table(judged)),
        ]
    if "fleet" in report:
        body.append(section("Devices", *_as_of(report, "State, last word and revision"), *fleet(report)))
        if not judged:
            body.append(section("Score over time", *machines(report)))
        body += [
            section("Alarms", *alarms(report)),
            section("Rounds and heads", *rounds(report)),
            section("Updates that did not count", *refusals(report)),
            section("Computers", *computers(report)),
            section("Releases and orders", *_as_of(report, "Release and revision"), *changes(report)),
        ]
    if judged:
        body.append(section("The release", grid([training_figure(judged), gate_table(judged)])))
    versions = table(("", ""), [(k, word(v)) for k, v in as_dict(report, "versions").items()])
    body.append(section("Versions", *_as_of(report, "Versions"), versions))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _as_of(report: Mapping[str, Any], what: str) -> list[str]:
    """Where the span is over: that ``what`` is of now."""
    said = f"{what} are as of {day(report.get('created_utc'))}, not of the span."
    return [paragraph(said, "note")] if report.get("past") else []


def _about(report: Mapping[str, Any]) -> list[str]:
    said = [str(report[key]) for key in ("data", "strategy") if report.get(key)]
    if report.get("since_utc"):
        said.append(f"{day(report['since_utc'])} to {day(report.get('until_utc'))} UTC")
    if report.get("only"):
        said.append("only " + ", ".join(map(word, report["only"])))
    elif "fleet" in report:
        said.append(counted(len(as_dicts(report, "fleet")), "device"))
    if report.get("created_utc"):
        said.append(f"made {day(report['created_utc'])} UTC")
    return said
