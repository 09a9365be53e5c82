import subprocess
import sys
import time

import pytest

from fedtiny.health import HealthMeter


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


@pytest.fixture
def meter(tmp_path):
    """A function: the meter of a system whose files stand in the test's folder."""
    return lambda: HealthMeter(tmp_path / "state", proc=tmp_path / "proc", sys=tmp_path / "sys")


def test_a_raspberry_pi(write, meter):
    write("proc/self/status", "Name:\tfedtiny\nVmHWM:\t   60000 kB\nVmRSS:\t   50000 kB\nThreads:\t2\n")
    write("sys/class/thermal/thermal_zone0/temp", "48312\n")
    write("sys/class/hwmon/hwmon1/temp1_input", "51500\n")
    write("sys/class/hwmon/hwmon2/temp1_input", "")  # asleep
    write("sys/devices/platform/soc/soc:firmware/get_throttled", "50004\n")
    write("state/release.tflite", "x" * 1000)
    write("state/evidence/1.npz", "x" * 234)
    health = meter().measure()
    assert (health.rss_mb, health.peak_rss_mb) == (51.2, 61.44)
    assert health.temperature_c == 51.5
    assert health.throttled_now == ("throttled",)
    assert health.throttled_since_boot == ("under-voltage", "throttled")
    assert health.state_bytes == 1234
    assert health.disk_free_bytes > 0


def test_a_raspberry_pi_5_without_trouble(write, meter):
    write("sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "0\n")
    health = meter().measure()
    assert (health.throttled_now, health.throttled_since_boot) == ((), ())


def test_a_system_that_tells_nothing(meter):
    health = meter().measure()
    assert (health.rss_mb, health.temperature_c, health.throttled_now) == (None, None, None)
    assert (health.disk_free_bytes, health.state_bytes) == (None, 0)


def test_this_process(tmp_path):
    meter = HealthMeter(tmp_path, share_s=0.0)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    busy = meter.measure()
    assert 0.02 < busy.cpu_share < 1.5
    assert 5 < busy.rss_mb <= busy.peak_rss_mb
    subprocess.run([sys.executable, "-c", ""], check=True)  # another process works, this one waits
    assert meter.measure().cpu_share < busy.cpu_share


def test_who_looks_more_often_does_not_shorten_the_span_of_the_cpu_share(tmp_path):
    meter = HealthMeter(tmp_path)
    first = meter.measure().cpu_share
    until = time.process_time() + 0.02
    while time.process_time() < until:
        assert meter.measure().cpu_share == first
