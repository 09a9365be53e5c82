"""``fedtiny report``: a fleet over a span of time, as a page."""

from datetime import UTC, datetime
from pathlib import Path

import click

from fedtiny.cli_base import FILE, Command, load
from fedtiny.cli_ledger import open_ledger


@click.command(cls=Command, epilog="Example: fedtiny report --state state/coordinator --since 7d")
@click.option("--state", type=FILE, help="The coordinator's folder.  [default: the configuration's]")
@click.option("--config", "config_file", type=FILE, help="The coordinator's configuration.")
@click.option("--since", default="24h", show_default=True, help="24h, 7d, 2026-11-01 or 2026-11-01T06:00Z.")
@click.option("--until", help="The same; now where it is not given.")
@click.option("--device", "devices", multiple=True, help="Only this one; may be given several times.")
@click.option("--out", type=FILE, default=Path("report.html"), show_default=True, help="The page.")
@click.option("--json", "json_file", type=FILE, help="File for what the page is made of.")
def report(
    state: Path | None,
    config_file: Path | None,
    since: str,
    until: str | None,
    devices: tuple[str, ...],
    out: Path,
    json_file: Path | None,
) -> None:
    """Write what happened in a span of time as one HTML page, from the coordinator's ledger.

    What needs attention, machines, alarms, rounds, updates, computers, orders. The coordinator may run or not. The page
    needs no network; times are UTC.
    """
    import json

    from fedtiny.errors import ConfigError
    from fedtiny.report import Span, gather, render_report
    from fedtiny.report.numbers import counted
    from fedtiny.store import atomic_write

    config = load(config_file, state=state)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        span = Span.parse(since, until, now)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    with open_ledger(config.state_folder("coordinator")) as ledger:
        facts = gather(ledger, span, now, devices)
    facts["title"] = "Fleet report" if config_file is None else f"Fleet {config.fleet}"
    atomic_write(out, render_report(facts).encode())
    if json_file is not None:
        atomic_write(json_file, json.dumps(facts, allow_nan=False).encode())
    counts = facts["counts"]
    said = [counted(number, noun) for number, noun in ((len(facts["fleet"]), "device"), (counts["alarms"], "alarm"))]
    click.echo(f"{out}: {', '.join(said)}, {counted(counts['rounds'], 'round')}")
