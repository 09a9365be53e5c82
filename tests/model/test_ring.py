import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.model.ring import Ring


@given(st.integers(1, 7), st.lists(st.integers(0, 12), max_size=12), st.integers(1, 9))
def test_a_ring_holds_the_newest_rows_in_order_and_survives_a_restart_in_any_size(capacity, batches, other):
    ring, added = Ring(capacity, 2), np.empty((0, 2), np.float32)
    for size in batches:
        rows = np.arange(2 * size, dtype=np.float32).reshape(size, 2) + 100 * len(added)
        ring.add(rows)
        added = np.concatenate([added, rows])
    newest = added[max(0, len(added) - capacity) :]
    np.testing.assert_array_equal(ring.rows(), newest)
    assert len(ring) == len(newest)

    restored = Ring(other, 2)
    restored.restore(*ring.state())
    np.testing.assert_array_equal(restored.rows(), newest[max(0, len(newest) - other) :])
    restored.add(np.full((1, 2), -1, np.float32))
    np.testing.assert_array_equal(restored.rows()[-1], [-1, -1])
