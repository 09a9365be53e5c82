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


def framed(framer, recordings):
    return np.concatenate([framer.windows(recording, stream=True) for recording in recordings])


@given(CUTS, st.integers(1, 40), st.integers(1, 90), st.booleans())
def test_a_stream_in_any_pieces_has_the_windows_of_the_whole(cuts, window, hop, follows):
    """With a hop that overlaps, that does not, and that leaves samples out between windows."""
    found = framed(Framer(window, 1, hop), chunks(cuts, follows))
    np.testing.assert_array_equal(found, cut(SIGNAL, window, hop))


@given(CUTS, CUTS, st.integers(1, 40), st.integers(1, 90))
def test_after_a_gap_the_windows_start_anew(before, after, window, hop):
    framer = Framer(window, 1, hop)
    framed(framer, chunks(before))
    np.testing.assert_array_equal(framed(framer, chunks(after)), cut(SIGNAL, window, hop))


def test_recordings_on_their_own_are_cut_every_hop_and_leave_nothing_behind():
    framer, (first, second) = Framer(100, 50, 400), chunks([130])
    for recording in (first, second):
        np.testing.assert_array_equal(framer.windows(recording, stream=False), cut(recording.samples, 100, 50))
    assert len(framer.windows(Recording("sensor", SIGNAL[:99], follows=True), stream=True)) == 0


def test_what_is_kept_between_recordings_is_less_than_a_window():
    """A stream that goes on for a year must not grow; nor may it hold on to the source's buffer."""
    framer, buffer = Framer(64, 64, 640), np.zeros((10, 2), np.float32)
    for _ in range(500):
        framer.windows(Recording("sensor", buffer, follows=True), stream=True)
        assert len(framer._rest) < 64
        assert not np.shares_memory(framer._rest, buffer)
