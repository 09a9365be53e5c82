from dataclasses import replace

import numpy as np
import pytest

from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.operating import MOST
from fedtiny.model.threshold import windows_to_promise
from fedtiny.model.watch import Rules, Watch

RULES = Rules(rate=0.001, learn=40, keep=100, votes=3, window=5, quiet=0.8, points=1)


@pytest.fixture
def signal(release, rng):
    """Features of a machine near the base: two causes that move all of them, and noise."""
    scale, mixing = release.standardisation, rng.normal(size=(2, release.features.size))

    def windows(count, shift=0.0, features=slice(None)):
        """``shift`` of some features, in the base's deviations."""
        z = 0.4 * rng.normal(size=(count, 2)) @ mixing + 0.3 * rng.normal(size=(count, len(scale.mean)))
        z[:, features] += shift
        return (scale.mean + z * scale.deviation).astype(np.float32)

    return windows


def watch_of(release, **rules) -> Watch:
    return Watch(Network(release), replace(RULES, **rules))


def told(watch, windows, *args, **kwargs):
    return [watch.take(one[None], *args, **kwargs) for one in windows]


def learned(watch) -> dict[str, object]:
    """All that a watch has learned, by operating point."""
    return {
        name: (d.baseline.copy(), d.recent.rows(), d.drift.centre.copy(), d.life.count, d.life.sample[:], d.threshold)
        for name, d in watch.detectors.items()
    } | {"first": [*watch.first]}


def test_a_machine_is_learned_then_watched_and_its_fault_is_an_alarm(release, machine):
    watch = watch_of(release)
    findings = told(watch, machine.features)
    assert [finding.verdict for finding in findings[:40]] == ["learning"] * 40
    assert all(finding.verdict in ("normal", "anomalous") for finding in findings[40:])
    changes = [i for i, finding in enumerate(findings) if finding.changed]
    assert changes
    assert machine.labels[changes[0]] != 0
    assert watch.alarm.state == "raised"
    for finding in findings[40:]:
        assert np.square(finding.away).mean() == pytest.approx(finding.score, rel=1e-4)
        assert (finding.verdict == "anomalous") == (finding.score >= finding.threshold)


def test_what_is_whitened_ahead_gives_the_same_findings(release, machine):
    """As the agent does: some windows at once, while none of them changes what is being watched."""
    one_by_one, ahead = watch_of(release), watch_of(release)
    for at in range(0, len(machine.features), 7):
        part = machine.features[at : at + 7]
        whitened = ahead.whiten_ahead(part)
        rows = [None] * len(part) if whitened is None else whitened
        found = [ahead.take(one[None], whitened=row) for one, row in zip(part, rows, strict=True)]
        for one, other in zip(told(one_by_one, part), found, strict=True):
            assert (one.verdict, one.changed, one.point) == (other.verdict, other.changed, other.point)
            np.testing.assert_allclose([other.score, other.level], [one.score, one.level], rtol=1e-4)


def test_a_window_over_the_threshold_moves_nothing(release, signal):
    watch = watch_of(release)
    told(watch, signal(60))
    before = learned(watch)["0"]
    (finding,) = told(watch, signal(1, 4))
    assert (finding.verdict, watch.alarm.state) == ("anomalous", "cleared")
    after = learned(watch)["0"]
    for one, other in zip(before[:3], after[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.isin(max(finding.score / watch.detectors["0"].calibrated, 0), after[4])  # the vote is still out


def test_nothing_is_learned_under_an_alarm_nor_what_led_to_it(release, signal):
    watch = watch_of(release)
    told(watch, signal(60))
    fault = told(watch, signal(3, 4))
    assert [finding.changed for finding in fault].count(True) == 1
    before = learned(watch)
    watch.alarm.acknowledge()
    told(watch, np.concatenate([signal(4), signal(20, 4), signal(4)]))
    np.testing.assert_equal(learned(watch), before)
    told(watch, signal(1), "another point")  # nor another operating point
    assert not len(watch.detectors["another point"].baseline)
    told(watch, signal(150))
    assert watch.alarm.state == "cleared"
    assert len(watch.detectors["0"].life.sample) > len(before["0"][4])
    lowest = min(finding.score for finding in fault) / watch.detectors["0"].calibrated
    assert max(watch.detectors["0"].life.sample) < lowest


def test_a_machine_that_changes_slowly_is_followed_and_one_that_changes_quickly_is_not(release, signal):
    """The same change, in a thousand windows and in three: by then its level alone is over the threshold."""
    slow, quick = watch_of(release), watch_of(release)
    change = np.where(np.arange(release.features.size) % 3, 0, 1.3)
    for watch, steps in ((slow, 1000), (quick, 3)):
        told(watch, signal(150))
        ramp = np.linspace(0, 1, steps)[:, None] * change * release.standardisation.deviation
        findings = told(watch, (signal(steps) + ramp).astype(np.float32))
        findings += told(watch, (signal(50) + ramp[-1]).astype(np.float32))
        assert any(finding.changed for finding in findings) == (watch is quick)
        assert np.median([finding.level for finding in findings[-50:]]) > findings[-1].threshold


def test_nothing_is_learned_from_a_sensor_with_a_fault(release, signal):
    learning, watching = watch_of(release), watch_of(release)
    told(watching, signal(60))
    told(learning, signal(20))
    for watch in (learning, watching):
        before = learned(watch)
        told(watch, signal(10), trusted=False)
        told(watch, signal(10), "unheard of", trusted=False)
        assert not learned(watch).pop("unheard of")[0].size
        np.testing.assert_equal({k: v for k, v in learned(watch).items() if k != "unheard of"}, before)


def test_a_machine_that_stands_still_is_unknown_and_no_alarm(release, signal):
    """20 dB below all that was learned, and no vote on an alarm either."""
    watch = watch_of(release)
    told(watch, signal(60))
    before, votes = learned(watch), list(watch.alarm.recent)
    running = signal(60)
    still = told(watch, running - np.float32(4.7) - max(0, running.max() - watch.quietest))
    assert {finding.verdict for finding in still} == {"unknown"}
    assert list(watch.alarm.recent) == votes
    np.testing.assert_equal(learned(watch), before)
    quieter = told(watch, signal(10) - np.float32(2))  # half as loud is no standstill, and may be a fault
    assert {finding.verdict for finding in quieter} == {"anomalous"}


def test_tagged_operating_points_have_thresholds_of_their_own_and_a_change_raises_nothing(release, signal):
    watch = watch_of(release)
    base = release.standardisation
    for count in (40, 60):
        for point, shift in (("slow", 0), ("fast", 4)):
            findings = told(watch, signal(count, shift), point)
            assert {finding.point for finding in findings} == {point}
    assert not any(finding.changed for finding in findings)
    assert watch.alarm.state == "cleared"
    slow, fast = watch.detectors["slow"], watch.detectors["fast"]
    assert slow.threshold != fast.threshold
    np.testing.assert_array_equal(slow.standardisation.mean, base.mean)
    np.testing.assert_allclose((fast.standardisation.mean - base.mean) / base.deviation, 4, atol=0.7)
    there_and_back = [finding for _ in range(20) for finding in told(watch, signal(1), "slow")]
    there_and_back += [finding for _ in range(20) for finding in told(watch, signal(1, 4), "fast")]
    assert not any(finding.changed for finding in there_and_back)
    assert told(watch, signal(1, 4), "slow")[0].verdict == "anomalous"


def test_at_most_eight_operating_points_are_kept(release, signal):
    watch = watch_of(release)
    for number in range(MOST + 2):
        (finding,) = told(watch, signal(1), "", 10.0 * 1.2**number)
        assert finding.verdict == ("learning" if number < MOST else "unknown")
    assert len(watch.detectors) == MOST
    assert told(watch, signal(1), "", 10.3)[0].point == "10 Hz"


def test_operating_points_without_a_tag_are_found_and_what_lies_between_is_unknown(release, signal):
    watch = watch_of(release, points=2)
    half = slice(0, 60)
    learn = np.concatenate([signal(10, 6 * (turn % 2), half) for turn in range(8)])
    assert {finding.verdict for finding in told(watch, learn)} == {"learning"}
    assert watch.watching
    assert sorted(watch.detectors) == ["0", "1"]
    life = [told(watch, signal(10, 6 * (turn % 2), half)) for turn in range(8)]
    assert not any(finding.changed for turn in life for finding in turn)
    assert [len({finding.point for finding in turn}) for turn in life] == [1] * 8
    before = learned(watch)
    assert {finding.verdict for finding in told(watch, signal(20, 3, half))} == {"unknown"}
    np.testing.assert_equal(learned(watch), before)
    faulty = told(watch, signal(5, 6, slice(70, 100)))
    assert {finding.verdict for finding in faulty} == {"anomalous"}
    assert watch.alarm.standing


def test_a_new_head_needs_no_new_windows_and_keeps_the_promise(release, signal):
    watch = watch_of(release, rate=0.01)
    told(watch, signal(120))
    assert watch.promised == 1
    hidden, targets, split = watch.local_data()
    assert len(hidden) == len(targets) == 100  # all that is kept
    assert 0 < split < len(hidden)
    weights = (3 * release.head.weights).astype(np.float32)
    watch.set_head(Head(weights, 3 * release.head.output_min, 3 * release.head.output_max))
    assert watch.watching
    assert watch.promised == 1
    findings = told(watch, signal(400))
    over = np.mean([finding.verdict == "anomalous" for finding in findings])
    assert over < 5 * watch.rules.rate
    assert sum(finding.changed for finding in findings) <= 2
    assert told(watch, signal(1, 4))[0].verdict == "anomalous"


def test_no_window_that_was_kept_out_is_among_those_to_fit_on(release, signal):
    """The earlier share of each stretch is fitted on, the later kept out; under every operating point."""
    watch = watch_of(release, learn=20, keep=80)
    for point in ("slow", "fast"):
        told(watch, signal(40), point)
    _, targets, split = watch.local_data()
    for detector in watch.detectors.values():
        for rows in (detector.baseline, detector.recent.rows()):
            z = detector.standardisation(rows)
            place = [int(np.flatnonzero((targets == row).all(axis=1))[0]) for row in z]
            assert (np.diff(np.array(place) >= split) >= 0).all()
            assert 0 < np.mean(np.array(place) < split) < 1


def test_how_far_it_is(release, signal):
    watch = watch_of(release, rate=0.01)
    assert (watch.learned, watch.promised, watch.watching) == (0, 0, False)
    told(watch, signal(10))
    assert watch.learned == pytest.approx(10 / RULES.learn)
    told(watch, signal(30))
    assert (watch.learned, watch.promised, watch.watching) == (1, 0, True)
    told(watch, signal(RULES.window + windows_to_promise(0.01) - 1))
    assert 0 < watch.promised < 1
    told(watch, signal(1))
    assert watch.promised == 1


@pytest.mark.parametrize("value", [1e15, 1e30])
def test_a_score_that_overflows_is_anomalous_and_leaves_no_trace(release, signal, value):
    watch = watch_of(release)
    told(watch, signal(60))
    before = learned(watch)
    bad = signal(1)
    bad[0, 3] = value
    (finding,) = told(watch, bad)
    assert (finding.verdict, finding.score) == ("anomalous", 1e12)
    after = learned(watch)
    np.testing.assert_array_equal(before["0"][1], after["0"][1])
    np.testing.assert_array_equal(before["0"][2], after["0"][2])
    assert [found.verdict for found in told(watch, signal(5))].count("normal") >= 4
