"""The reference of all commands, from their own help: ``python -m fedtiny.commands [--check] FILE``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fedtiny.cli import main as root
from fedtiny.made_page import main


def _pages(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            sub = command.get_command(context, child)
            assert sub is not None
            yield from _pages(sub, child, context)


def reference() -> str:
    """All commands as Markdown."""
    return "# Commands\n\nMade by `make docs` from the commands' own help.\n\n" + "\n".join(
        _pages(root, "fedtiny", None)
    )


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv, Path(sys.argv[-1]), reference()))
