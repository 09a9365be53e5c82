"""The plot of scores: whatever a device says, it has its size and raises nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from fedtiny.monitor.plot import MARGIN, plot
from fedtiny.monitor.trace import Point

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
EXTREMES = FLOATS | st.sampled_from([sign * size for sign in (1, -1) for size in (0.0, 5e-324, 1e16, 1e300)])
POINTS = st.lists(st.builds(Point, st.just(1e9), EXTREMES, EXTREMES, EXTREMES), max_size=300)


def text(row):
    return "".join(cell for cell, _ in row)


@example(points=[Point(1e9, -1e300, -1e300, 0.0)], width=80, height=8)
@example(points=[Point(1e9, -1e16, -1e16, -1e16)] * 240, width=80, height=8)
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


@pytest.mark.parametrize("width", [MARGIN + 20, 78, 200])
def test_a_peak_of_one_point_shows_wherever_it_is(width):
    """Red, and as high as the plot, whether points share columns or have several."""
    for at in range(240):
        points = [Point(0.0, 1.0, 1.0, 2.0)] * 240
        points[at] = Point(0.0, 3.0, 4.0, 2.0)
        top, *_, bottom = plot(points, width, 8)[:-1]
        assert "red" in {style for _, style in top[1:]}, at
        assert "red" not in {style for _, style in bottom[1:]}, at


def test_points_that_share_a_column_show_from_their_least_mean_to_their_largest_score():
    points = [Point(0.0, 1.0, 1.0, 0.0), Point(0.0, 4.0, 4.0, 0.0)] * 10
    rows = plot(points, MARGIN + 5, 4)
    assert [text(row)[MARGIN:] for row in rows[:-1]] == ["⣿" * 5] * 3 + [" " * 5]


def test_a_score_just_at_its_threshold_is_red_though_the_newest_threshold_is_higher():
    points = [Point(0.0, 1.0, 1.0, 1.0), *[Point(0.0, 1.0, 1.0, 3.0)] * 19]
    styles = [cell[1] for row in plot(points, MARGIN + 10, 4)[:-1] for cell in row[1:] if set(cell[0]) - set(" ╌")]
    assert styles == ["red", "cyan"]
