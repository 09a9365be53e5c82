import time

import numpy as np
import pytest

from fedtiny.config import Config, load_config
from fedtiny.errors import ConfigError
from fedtiny.signal.simulator import simulate_fleet
from fedtiny.sources import open_source
from fedtiny.sources.replay import Replay


def names(source, after=""):
    return [one.name for one in source.recordings(after) if one is not None]


def test_at_once_it_is_the_machine_and_no_waiting() -> None:
    source = open_source(load_config(None, source__machine="fan-08", source__speed=0, source__skip=100))
    assert (source.sample_rate_hz, source.channels, source.live) == (12_800, ("horizontal", "vertical"), False)
    found = list(source.recordings())
    expected = list(simulate_fleet(0).machines["fan-08"].recordings())[100:]
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert (one.name, one.label, one.position) == (other.name, other.label, other.position)
        np.testing.assert_array_equal(one.samples, other.samples)


def test_it_goes_on_behind_its_cursor_and_a_new_source_skips() -> None:
    source = Replay(None, "fan-08", speed=0, skip=110)
    found = [one for one in source.recordings() if one is not None]
    assert names(source, found[3].cursor) == [one.name for one in found[4:]]
    assert names(source, found[-1].cursor) == []
    assert source.name != Replay(None, "fan-08", speed=0).name  # whose cursors would mean others


def test_real_time_is_kept_and_the_waiting_is_shared() -> None:
    source = Replay(None, "fan-08", speed=0.5, skip=116)
    assert source.live
    began, gaps, idle, came = time.monotonic(), [], 0, 0
    last = began
    for one in source.recordings():
        now = time.monotonic()
        gaps.append(now - last)
        last = now
        idle, came = idle + (one is None), came + (one is not None)
    assert came == 4
    assert time.monotonic() - began >= 3 * 2048 / 12_800 / 0.5
    assert idle >= 3 * 2
    assert max(gaps) < 1.0


def test_a_machine_that_is_not_there_or_not_named() -> None:
    with pytest.raises(ConfigError, match=r"'press-9' is not in the simulator: it has fan-02"):
        open_source(Config(device="press-9"))
    with pytest.raises(ConfigError, match=r"source\.machine: not set"):
        open_source(Config())
