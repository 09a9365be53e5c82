"""A short run of `python -m benchmarks.hardship.coordinator_kills`: the coordinator is killed again and again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.hardship.coordinator_kills import KILLS, Scene, kill
from fedtiny.broker import EmbeddedBroker


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_by_a_killed_coordinator(tmp_path, release_path):
    def killed(kind):
        with EmbeddedBroker(tmp_path / f"{kind}-broker") as broker:
            return kill(Scene(tmp_path / kind, release_path, kind, broker), 3)

    with ThreadPoolExecutor() as pool:  # most of the time they wait
        results = dict(zip(KILLS, pool.map(killed, KILLS), strict=True))
    for kind, found in results.items():
        assert not any(found["wrong"].values()), (kind, found)
        assert found["deaths_with_an_open_round"] > 0
        assert found["updates_by_fate"]["used"] >= 10
