"""What the operators' commands on a coordinator's ledger share: options, orders, tables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedtiny.cli_base import FILE, echo_json, load

if TYPE_CHECKING:
    from fedtiny.ledger import Ledger
    from fedtiny.orders import Order

Give = Callable[["Order"], None]
Columns = dict[str, Callable[[dict[str, Any]], Any]]  # heading -> what of a row stands under it


def ledger_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json, and where the ledger is: the command gets ``folder``."""

    @wraps(command)
    def found(config_file: Path | None, state: Path | None, **rest: Any) -> None:
        command(folder=load(config_file, state=state).state_folder("coordinator"), **rest)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON line a row."),
        click.option("--state", type=FILE, help="The coordinator's folder.  [default: the configuration's]"),
        click.option("--config", "config_file", type=FILE, help="The coordinator's configuration."),
    ):
        found = option(found)
    return found


def order_options(command: Callable[..., None]) -> Callable[..., None]:
    """Those of the ledger, and how long an order is waited for: the command gets ``give``."""

    @wraps(command)
    def giving(folder: Path, wait: float, as_json: bool, **rest: Any) -> None:
        command(folder=folder, give=partial(_give, folder, wait, as_json), **rest)

    wait = click.option(
        "--wait", type=click.FloatRange(0), default=15.0, show_default=True, help="For its outcome, seconds at most."
    )
    return ledger_options(wait(giving))


@contextmanager
def open_ledger(folder: Path) -> "Iterator[Ledger]":
    """The ledger of ``folder``, as a guest."""
    from fedtiny.ledger import Ledger

    with closing(Ledger(folder, guest=True)) as ledger:
        yield ledger


def _give(folder: Path, wait_s: float, as_json: bool, order: "Order") -> None:
    from fedtiny.orders import give

    receipt = give(folder, order, wait_s)
    if as_json:
        echo_json(vars(receipt))
    if receipt.state in ("refused", "late"):
        raise click.ClickException(receipt.outcome)
    if not as_json:
        click.echo(receipt.outcome)


def show(rows: Sequence[dict[str, Any]], columns: Columns, as_json: bool) -> None:
    """Rows as JSON lines, or as a table."""
    if as_json:
        for row in rows:
            echo_json(row)
        return
    cells = [list(columns), *([text(cell(row)) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def text(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in text)  # a terminal obeys some of the others
