"""Pages of the documentation that are made from the code: ``python -m MODULE [--check] PAGE``."""

import sys
from pathlib import Path


def main(check: bool, path: Path, text: str) -> int:
    """Write ``text`` to ``path``, or compare it with what stands there; an exit code."""
    if not check:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        print(f"{path} is out of date: run make docs", file=sys.stderr)
        return 1
    return 0
