"""How a benchmark is run from a shell: its switches, and one line when it is interrupted."""

import argparse
import sys
from collections.abc import Callable


def run(main: Callable[..., None], about: str | None, **switches: str) -> None:
    """``main`` with each of ``switches`` (name: help) as a keyword, True where it was given.

    Ctrl-C ends what ``main`` has started, as its context managers are left, and then the program.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    for name, words in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=words)
    given = vars(parser.parse_args())
    try:
        main(**given)
    except KeyboardInterrupt:
        sys.exit("interrupted")
