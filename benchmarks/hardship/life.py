"""One life of the coordinator in a process of its own: what `fedtiny coordinator` calls, forked with all imported."""

import logging
import multiprocessing
import threading
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

from fedtiny import clock
from fedtiny.config import Config
from fedtiny.coordinator import run_coordinator
from fedtiny.federation import rounds

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [f"benchmarks.{name}" for name in ("hardship.life", "hardship.books", "hardship.crowd", "shared.site")]
)


def live(config: Config, release: Path, log: Path, resume_s: float, behind: timedelta) -> None:
    """Run a coordinator until it is killed; it ends with the process that started it, too.

    resume_s: instead of ``rounds.RESUME_S``. behind: what its clock is set back by.
    """
    logging.basicConfig(filename=log, level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    vars(rounds)["RESUME_S"] = resume_s
    vars(clock)["datetime"] = _clock(behind)
    stop = threading.Event()
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()
    run_coordinator(config, release, stop)


def _follow_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    stop.set()


def _clock(behind: timedelta) -> type[datetime]:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - behind

    return Behind
