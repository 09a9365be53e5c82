import os
import secrets
import socket

import pytest

from fedtiny.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, monkeypatch, tmp_path):
    """systemd's end of the socket."""
    name = f"fedtiny-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name if request.param == "abstract" else name)
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if request.param == "abstract" else name)
        yield receiver


@pytest.fixture
def alone(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FEDTINY_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)


def test_what_systemd_hears(alone, systemd):
    notifier = Notifier()
    notifier.ready()
    notifier.status("learning (63 %)\nof 60")
    notifier.alive()  # not watched: says nothing
    notifier.stopping()
    heard = [systemd.recv(1024).decode() for _ in range(3)]
    assert heard == ["READY=1", "STATUS=learning (63 %) of 60", "STOPPING=1"]


def test_the_watchdog_is_pinged_at_half_its_time(alone, systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    times = iter([100.0, 105.0, 109.9, 110.0, 115.0, 125.0])
    notifier = Notifier(clock=lambda: next(times))
    for _ in range(6):
        notifier.alive()
    notifier.status("end")
    heard = [systemd.recv(1024).decode() for _ in range(4)]
    assert heard == ["WATCHDOG=1"] * 3 + ["STATUS=end"]


def test_the_watchdog_of_another_process_is_left_alone(alone, systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    notifier.alive()
    notifier.status("end")
    assert systemd.recv(1024) == b"STATUS=end"


def test_the_heartbeat_file_is_touched_from_time_to_time(alone, monkeypatch, tmp_path):
    beat = tmp_path / "alive"
    monkeypatch.setenv("FEDTINY_HEARTBEAT", str(beat))
    times = iter([100.0, 104.0, 105.0])
    notifier = Notifier(clock=lambda: next(times))
    touched = []
    for _ in range(3):
        notifier.alive()
        touched.append(beat.exists())
        beat.unlink(missing_ok=True)
    assert touched == [True, False, True]


def test_nobody_listens(alone, monkeypatch, tmp_path):
    Notifier().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    monkeypatch.setenv("FEDTINY_HEARTBEAT", str(tmp_path / "no folder" / "alive"))
    notifier = Notifier()
    notifier.ready()
    notifier.alive()
