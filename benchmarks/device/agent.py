"""How an agent starts and what it occupies: its parts in fresh processes, then whole, over a real broker.

Whole is ``fedtiny edge run`` with rounds, status and the odd sensor fault, as in ``benchmarks.hardship.soak`` but
shorter, as the systemd unit starts it (PYTHONOPTIMIZE=2) and as it is typed. Files are in the page cache and compiled.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.hardship import soak
from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child, stop_child
from fedtiny.config import load_config
from fedtiny.protocol import topics
from fedtiny.transport import Connection

PARTS = ("python", "numpy", "fedtiny.model", "interpreter", "model loaded", "first inference")
_PARTS_CODE = """\
import json, sys, time
times = [time.time()]
import numpy
times.append(time.time())
from pathlib import Path
from fedtiny.model.artifact import Release
from fedtiny.model.interpreter import Interpreter, load_runtime
release = Release.open(Path(sys.argv[1]))
times.append(time.time())
load_runtime(sys.argv[2])
times.append(time.time())
interpreter = Interpreter(release.data, sys.argv[2], release.hidden_tensor)
times.append(time.time())
interpreter.reconstruct(numpy.zeros((1, release.features.size), numpy.float32))
times.append(time.time())
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([*times, int(lines["VmHWM"].split()[0])]))
"""


def start_of_parts(release: Path, runtime: str, repeats: int) -> dict[str, float]:
    """Milliseconds of each of ``PARTS`` and the peak memory after them, medians over fresh processes.

    "python" is up to the program's first line.
    """
    rows = []
    for _ in range(repeats + 1):  # the first one warms the caches
        began = time.time()
        command = [sys.executable, "-c", _PARTS_CODE, str(release), runtime]
        environment = soak.environment(optimise=False)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        *times, peak_kb = json.loads(done.stdout)
        rows.append([*(1e3 * (b - a) for a, b in pairwise([began, *times])), peak_kb * 1024 / 1e6])
    return dict(zip((*PARTS, "peak_rss_mb"), map(statistics.median, zip(*rows[1:], strict=True)), strict=True))


def whole(folder: Path, release: Path, runtimes: Sequence[str], windows: int) -> dict[str, Any]:
    """Peak memory over ``windows``, and seconds from the start to the first score, of an agent on each runtime.

    ``folder / "data"`` is what ``benchmarks.hardship.soak.make_data`` has written.
    """
    found = {}
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker(folder / "broker"))
        settings = load_config(None, broker__port=broker.port).broker
        scores = topics.device_topic(soak.FLEET, "+", "score")
        watcher = Connection(settings, "device-watcher", subscriptions=[(scores, 0)])
        watcher.start()
        stack.callback(watcher.stop)
        where = ["--port", str(broker.port), "--fleet", soak.FLEET, "--state", str(folder / "coordinator")]
        command = [sys.executable, "-m", "fedtiny.cli", "coordinator", "--release", str(release), *where]
        quiet = subprocess.DEVNULL
        stack.callback(stop_child, start_child(command, stdout=quiet, stderr=quiet))
        for runtime in runtimes:
            runs = {}
            for name, optimise in (("as_typed", False), ("as_unit", True)):
                soak.soak(folder, broker.port, watcher, runtime, soak.WARM_UP, optimise=optimise)
                runs[name] = soak.soak(folder, broker.port, watcher, runtime, windows, optimise=optimise)
            found[runtime] = {
                "windows": runs["as_unit"]["windows"],
                "windows_per_s": runs["as_unit"]["windows_per_s"],
                "peak_rss_mb": runs["as_unit"]["peak_rss_mb"],
                "peak_rss_mb_as_typed": runs["as_typed"]["peak_rss_mb"],
                "start_to_first_score_s": soak.starts(folder, broker.port, watcher, runtime),
            }
    return found
