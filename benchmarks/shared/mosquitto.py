"""Mosquitto as a child process, with the configuration that ``broker/`` has for a site."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from benchmarks.shared.site import HOST, free_port
from fedtiny.broker import accepts_clients
from fedtiny.child import start_child, stop_child

SHIPPED = Path(__file__).parents[2] / "broker" / "mosquitto.conf"
WITHIN_S = 20.0


def executable() -> str | None:
    """Where it is installed, if at all."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """Like ``fedtiny.broker.EmbeddedBroker``: a context manager with ``port`` and ``pid``, everything in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> "Mosquitto":
        program = executable()
        if program is None:
            raise FileNotFoundError("mosquitto is not installed")
        self._folder.mkdir()
        text = SHIPPED.read_text().replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        text = text.replace("persistence_location /var/lib/mosquitto/", f"persistence_location {self._folder}/")
        if os.geteuid() == 0:
            text += "user root\n"  # else it gives its rights up and cannot write into the folder
        (self._folder / "mosquitto.conf").write_text(text)
        with (self._folder / "mosquitto.log").open("wb") as log:
            command = [program, "-c", str(self._folder / "mosquitto.conf")]
            self._process = start_child(command, stdout=log, stderr=log)
        until = time.monotonic() + WITHIN_S
        while not accepts_clients(HOST, self.port):
            if self.pid is None or time.monotonic() > until:
                said = (self._folder / "mosquitto.log").read_text()
                stop_child(self._process)
                raise RuntimeError(f"mosquitto does not start on port {self.port}: {said}")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        stop_child(self._process)
