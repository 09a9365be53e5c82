"""The plot of scores: whatever a device says, it has its size and raises nothing."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fedtiny.monitor.plot import MARGIN, plot
from fedtiny.monitor.trace import Point

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.builds(Point, st.just(1e9), FLOATS, FLOATS, st.one_of(st.just(0.0), FLOATS)), max_size=300)


def text(row):
    return "".join(cell for cell, _ in row)


@given(points=POINTS, width=st.integers(10, 200), height=st.integers(1, 20))
def test_any_scores_fit(points, width, height):
    rows = plot(points, width, height)
    if points:
        assert len(rows) == height + 1
        assert {cell_len(text(row)) for row in rows[:-1]} == {width}


def test_a_score_stands_above_the_threshold_in_red_and_below_it_not():
    points = [Point(0.0, 1.0, 1.0, 2.0)] * 60 + [Point(0.0, 4.0, 4.0, 2.0)] * 60
    rows = plot(points, MARGIN + 40, 8)
    styles = [{style for cell, style in row[1:] if set(cell) - set(" ╌")} for row in rows[:-1]]
    assert [y for y, found in enumerate(styles) if "red" in found] == [0]
    assert [y for y, found in enumerate(styles) if "cyan" in found] == [5]
    threshold = next(y for y, row in enumerate(rows) if "╌" in text(row))
    assert 0 < threshold < 5


def test_a_far_score_makes_the_scale_logarithmic_so_that_the_others_still_show():
    points = [Point(0.0, 1.0, 1.0, 2.0)] * 60 + [Point(0.0, 900.0, 900.0, 2.0)] * 60
    rows = plot(points, MARGIN + 40, 16)
    assert next(y for y, row in enumerate(rows) if "╌" in text(row)) == 14
    assert {style for _, style in rows[15][1:]} == {"cyan", ""}
    assert text(rows[0]).split()[0] == "900"
