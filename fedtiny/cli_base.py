"""What all commands share: errors as one line, the log, configuration, JSON. Heavy imports stay inside the commands."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from fedtiny.errors import FedTinyError

FILE = click.Path(path_type=Path)


class Command(click.Command):
    """Expected errors become one line on stderr and exit code 1; every command takes --log-level."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--log-level"],
                type=click.Choice(["debug", "info", "warning", "error"]),
                default="info",
                show_default=True,
                help="How much is logged on stderr.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        level = ctx.params.pop("log_level").upper()
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        try:
            return super().invoke(ctx)
        except FedTinyError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:  # no permission, a folder where a file was meant
            raise click.ClickException(str(error)) from None


class Group(click.Group):
    """Commands of this kind, and groups of them."""

    command_class = Command


Group.group_class = Group


def load(config_file: Path | None, **overrides: Any) -> Any:
    """The configuration with flags over it; see ``fedtiny.config.load_config``."""
    from fedtiny.config import load_config

    return load_config(config_file, **overrides)


def echo_json(value: Any) -> None:
    """One line for a program."""
    click.echo(json.dumps(value))
