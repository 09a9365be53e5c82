"""``[source]``: what may be written there, and what comes of it."""

import subprocess
import sys

import pytest

from fedtiny.config import Config, load_config
from fedtiny.errors import ConfigError, DataError
from fedtiny.sources import open_source

STREAM = "sample_rate_hz = 1000\nchannels = ['x']\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'camera'", "source: found {'kind': 'camera'}; expected a table with the kind replay, folder, iio,"),
        ("speed = 'fast'", "source.replay.speed: found 'fast'"),
        ("speed = -1", "source.replay.speed: found -1"),
        ("kind = 'iio'\ndevice = 'adxl345'\nsample_rate_hz = 800\ndata = 'x'", "unknown key 'source.iio.data'"),
        ("kind = 'folder'\npath = 'in'\nchannels = ['x']", "source.folder.sample_rate_hz: not found"),
        ("kind = 'stdin'\nsample_rate_hz = 1000", "source.stdin.channels: not found"),
        ("kind = 'stdin'\nsample_rate_hz = inf\nchannels = ['x']", "source.stdin.sample_rate_hz: found inf"),
        (
            "kind = 'stdin'\nsample_rate_hz = 1\nchannels = ['x', 'x']",
            "source.stdin.channels: expected different names",
        ),
        ("kind = 'stdin'\nsample_rate_hz = 1\nchannels = []", "source.stdin.channels: found []"),
        ("kind = 'serial'\nport = 'a'\nformat = 'hex'\n" + STREAM, "source.serial.format: found 'hex'"),
        ("kind = 'mqtt'\ntopic = 'plant/+/x'\n" + STREAM, "source.mqtt.topic: found 'plant/+/x'"),
        ("kind = 'mqtt'\ntopic = 'a'\nbroker.port = 0\n" + STREAM, "source.mqtt.broker.port: found 0"),
        ("speed_hz = 0", "source.replay.speed_hz: found 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words) -> None:
    path = tmp_path / "fedtiny.toml"
    path.write_text("[source]\n" + text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_never_changes_is_put_on_every_recording(tmp_path) -> None:
    (tmp_path / "rows.csv").write_text("rms\n1\n2\n")
    told = {"kind": "rows", "path": tmp_path / "rows.csv", "speed_hz": 25.0, "point": "load-80"}
    source = open_source(Config(source=told))
    assert [(one.speed_hz, one.point) for one in source.recordings()] == [(25.0, "load-80")] * 2
    simulated = {"speed": 0, "skip": 118, "speed_hz": 99.0}  # the simulator knows better
    assert 99.0 not in {one.speed_hz for one in open_source(Config(device="fan-08", source=simulated)).recordings()}


def test_what_a_source_needs_is_checked_when_it_is_opened(tmp_path) -> None:
    with pytest.raises(DataError, match="IIO device 'adxl345' is not there"):
        open_source(Config(source={"kind": "iio", "device": "adxl345", "sample_rate_hz": 800}))
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        open_source(Config(source={"kind": "rows", "path": tmp_path / "none.csv"}))


def test_a_source_imports_only_what_it_needs() -> None:
    code = (
        "import sys\n"
        "from fedtiny.config import Config\n"
        "from fedtiny.sources import open_source\n"
        "open_source(Config(source={'kind': 'folder', 'path': '.', 'sample_rate_hz': 1, 'channels': ['x']}))\n"
        "print({'paho', 'serial', 'h5py', 'scipy', 'gzip'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
