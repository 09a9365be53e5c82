"""The lists of metrics in their page: ``python -m fedtiny.exposition.page [--check] docs/metrics.md``.

What stands between ``<!-- agent -->`` or ``<!-- coordinator -->`` and ``<!-- end -->`` is made from what is served.
"""

import re
import sys
from pathlib import Path

from fedtiny.exposition.agent import AGENT
from fedtiny.exposition.coordinator import COORDINATOR
from fedtiny.made_page import main

LISTS = {"agent": AGENT.markdown(), "coordinator": COORDINATOR.markdown()}
LIST = re.compile(r"<!-- (agent|coordinator) -->\n.*?<!-- end -->", re.DOTALL)


def refreshed(text: str) -> str:
    """The page's text with its lists made anew."""
    return LIST.sub(lambda found: f"<!-- {found[1]} -->\n\n{LISTS[found[1]]}\n\n<!-- end -->", text)


if __name__ == "__main__":
    page = Path(sys.argv[-1])
    sys.exit(main("--check" in sys.argv, page, refreshed(page.read_text())))
