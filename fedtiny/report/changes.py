"""What operators and the coordinator changed: releases, heads, orders."""

from collections.abc import Mapping
from typing import Any

from fedtiny.report.html import paragraph, table
from fedtiny.report.numbers import counted, plain
from fedtiny.report.times import when
from fedtiny.report.values import as_dict, as_dicts, word


def changes(report: Mapping[str, Any]) -> tuple[str, ...]:
    """All of the section."""
    release = as_dict(report, "release")
    said = "No release was published yet."
    if release:
        name, revision = word(release.get("release_id"))[:12], plain(release.get("revision"))
        said = f"The fleet is at release {name}, published {when(release.get('published_utc'))}, revision {revision}; "
        said += f"{counted(release.get('new_heads'), 'new head')} in this span."
    published = [
        (when(one.get("at_utc")), f"release {word(one.get('release_id'))[:12]}", f"published: {word(one.get('why'))}")
        for one in as_dicts(report, "publications")
    ]
    ordered = [
        (when(one.get("at_utc")), word(one.get("what")), _outcome(one)) for one in reversed(as_dicts(report, "orders"))
    ]
    found = table(("When", "What", "Outcome"), [*published, *ordered], nothing_said="No release or order in this span.")
    return (paragraph(said, "note"), found)


def _outcome(one: Mapping[str, Any]) -> str:
    if one.get("ok") is None:
        return "waits for the coordinator"
    return f"{'done' if one['ok'] else 'refused'} {when(one.get('done_utc'))}: {word(one.get('outcome'))}"
