from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.signal.framing import Framer
from fedtiny.signal.recording import Recording
from fedtiny.signal.windows import cut

LENGTH = 300
SIGNAL = np.column_stack([np.arange(LENGTH), -np.arange(LENGTH)]).astype(np.float32)
CUTS = st.lists(st.integers(0, LENGTH), max_size=40).map(sorted)


def chunks(cuts, first_follows=False):
    edges = [0, *cuts, LENGTH]
    for number, (start, end) in enumerate(pairwise(edges)):
        yield Recording("sensor", SIGNAL[start:end], follows=number > 0 or first_follows)


RATE_HZ = 100.0


def framed(framer, recordings, begins=0.0):
    """Windows of recordings that arrive as fast as they are sampled, the first sample at ``begins``."""
    found, arrived = [], begins
    for recording in recordings:
        arrived += len(recording.samples) / RATE_HZ
        found.append(framer.windows(recording, arrived))
    return np.concatenate(found)


@given(CUTS, st.integers(1, 40), st.integers(1, 90), st.booleans())
def test_a_stream_in_any_pieces_has_the_windows_of_the_whole(cuts, window, hop, follows):
    """With a hop that overlaps, that does not, and that leaves samples out between windows."""
    found = framed(Framer(window, 1, hop, RATE_HZ), chunks(cuts, follows))
    np.testing.assert_array_equal(found, cut(SIGNAL, window, hop))


@given(CUTS, CUTS, st.integers(1, 40), st.integers(1, 90))
def test_after_a_gap_the_windows_start_anew(before, after, window, hop):
    framer = Framer(window, 1, hop, RATE_HZ)
    framed(framer, chunks(before))
    np.testing.assert_array_equal(framed(framer, chunks(after), begins=100.0), cut(SIGNAL, window, hop))


def test_recordings_on_their_own_are_cut_every_hop_and_leave_nothing_behind():
    framer, (first, second) = Framer(100, 50, 400, RATE_HZ), chunks([130])
    for recording in (first, second):
        np.testing.assert_array_equal(framer.windows(recording), cut(recording.samples, 100, 50))
    assert len(framer.windows(Recording("sensor", SIGNAL[:99], follows=True), 1.0)) == 0


def test_what_is_kept_between_recordings_is_less_than_a_window():
    """A stream that goes on for a year must not grow; nor may it hold on to the source's buffer."""
    framer, buffer = Framer(64, 64, 640, RATE_HZ), np.zeros((10, 2), np.float32)
    for turn in range(500):
        framer.windows(Recording("sensor", buffer, follows=True), 0.1 * turn)
        assert len(framer._rest) < 64
        assert not np.shares_memory(framer._rest, buffer)


def test_snapshots_that_come_too_often_are_left_out():
    """One every second, one in ten asked for."""
    framer = Framer(100, 100, 1000, RATE_HZ)
    found = [len(framer.windows(Recording("node", SIGNAL[:100]), float(second))) for second in range(1, 41)]
    assert found == [1, *[0] * 9] * 4


def test_stretches_shorter_than_a_window_are_told():
    framer = Framer(100, 100, 100, RATE_HZ)
    told = []
    for second, length in enumerate([99, 99, 150, 30, 30], 1):
        framer.windows(Recording("node", SIGNAL[:length]), float(10 * second))
        told.append(framer.wasted)
    assert told == [False, True, True, False, True]
    framer.windows(Recording("node", SIGNAL[:99]))
    assert framer.wasted
