"""A short run of `python -m benchmarks.coordinator_kills`: the coordinator is killed again and again."""

import pytest

from benchmarks.coordinator_kills import Scene, kill
from fedtiny.broker import EmbeddedBroker


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rounds", "buffered"])
def test_nothing_is_lost_or_counted_twice_by_a_killed_coordinator(mode, tmp_path, release_path):
    with EmbeddedBroker(tmp_path / "broker") as broker:
        found = kill(Scene(tmp_path / mode, release_path, mode, broker), 4)
    assert not any(found["wrong"].values()), found
    assert found["deaths_with_an_open_round"] > 0
    assert found["updates_by_fate"]["used"] >= 10
