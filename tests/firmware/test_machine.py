"""What an agent has learned, on its way to a microcontroller."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from building import compile_shared, write_config
from scorer import Score

from fedtiny.errors import ConfigError
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from fedtiny.signal.features import Standardisation
from firmware_export.machine import SCALARS, machine_bytes, machine_of, machine_source

RULES = Rules(rate=0.01, learn=40, keep=80, votes=3, window=5, quiet=0.8, points=1)
OK, FORMAT, SIZE = 0, -3, -4


def told(watch, windows, point=""):
    for one in windows:
        watch.take(one[None], point)
    return watch


@pytest.fixture
def watch(release, machine):
    return told(Watch(Network(release), RULES), machine.normal[:50])


def test_what_is_exported_is_what_the_agent_scores_by(release, machine, watch):
    head = Head(release.head.weights * np.float32(0.9), release.head.output_min, release.head.output_max)
    watch.set_head(head)
    told(watch, machine.normal[50:55])
    detector, exported = watch.detectors["0"], machine_of(watch)
    assert exported.head is head
    assert exported.threshold == detector.threshold
    assert exported.clear == pytest.approx(0.8 * detector.threshold)
    assert exported.drift_limit == detector.drift.limit
    assert exported.still_below == pytest.approx(watch.quietest - np.log(100))
    np.testing.assert_array_equal(exported.centre, detector.drift.centre)
    told(watch, machine.normal[55:60])
    assert not np.array_equal(exported.centre, detector.drift.centre)  # it is a copy
    assert exported.residuals is detector.residuals


def test_what_was_not_learned_is_not_exported(release, machine):
    watch = told(Watch(Network(release), RULES), machine.normal[:30])
    with pytest.raises(ConfigError, match="75% of the windows"):
        machine_of(watch)


def test_of_several_operating_points_one_must_be_named(release, machine, watch):
    told(watch, machine.normal[:50], "fast")
    told(watch, machine.normal[:5], "slow")  # still learns
    with pytest.raises(ConfigError, match=r"2 operating points.*0, fast"):
        machine_of(watch)
    assert machine_of(watch, "fast").threshold == watch.detectors["fast"].threshold
    with pytest.raises(ConfigError, match="'slow', but 0, fast"):
        machine_of(watch, "slow")


def test_a_vote_longer_than_32_windows_is_refused(watch):
    watch.rules = replace(watch.rules, window=33)
    with pytest.raises(ConfigError, match="alarm_window: 33, at most 32"):
        machine_of(watch)


@pytest.mark.parametrize("fixed_point", [False, True])
def test_source_and_section_hold_the_same(tmp_path, watch, fixed_point):
    """Compiled, the one; opened, the other."""
    machine, kind = machine_of(watch), np.int32 if fixed_point else np.float32
    section = machine_bytes(machine, fixed_point=fixed_point)
    text = '#include "fedtiny_score.h"\nconst fedtiny_machine *it(void);\n'
    text += machine_source(machine, "pump", fixed_point=fixed_point)
    text += "const fedtiny_machine *it(void) { return &pump_machine; }\n"
    (tmp_path / "machine.c").write_text(text)
    library = compile_shared(tmp_path, [tmp_path / "machine.c"], write_config(tmp_path, fixed_point=fixed_point))
    score = Score(tmp_path / "score", fixed_point=fixed_point)
    library.it.restype = ctypes.POINTER(score.Machine)
    compiled = library.it().contents
    size, rank = compiled.features, compiled.rank
    assert score.use(section, size) == OK
    assert (score.machine.features, score.machine.rank) == (size, rank)
    for name in SCALARS:
        assert getattr(compiled, name) == getattr(score.machine, name)
    for i, count in enumerate([size] * 5 + [rank * size, rank]):
        one, other = (
            np.ctypeslib.as_array(ctypes.cast(getattr(m, f"vector{i}"), ctypes.POINTER(ctypes.c_uint32)), (count,))
            for m in (compiled, score.machine)
        )
        np.testing.assert_array_equal(one, other)
        assert one.any() or i == 4
    unit = 2.0**-16 if fixed_point else 1
    values = np.frombuffer(section, kind)[2:] * unit
    np.testing.assert_allclose(values[0], machine.threshold, rtol=1e-4)
    np.testing.assert_allclose(values[4 : 4 + size], machine.standardisation.mean, atol=1e-5)


def test_fixed_point_says_what_it_cannot_hold(watch):
    machine = machine_of(watch)
    scale = machine.standardisation
    for changed, said in (
        ({"threshold": 4e4}, "threshold: 40000 is beyond"),
        ({"standardisation": Standardisation(scale.mean, scale.deviation * 1e5)}, "factor: .* is too small"),
        ({"standardisation": Standardisation(scale.mean * 1e5, scale.deviation)}, "mean: .* is beyond"),
    ):
        with pytest.raises(ConfigError, match=said):
            machine_bytes(replace(machine, **changed), fixed_point=True)
        machine_bytes(replace(machine, **changed), fixed_point=False)


@pytest.mark.parametrize("fixed_point", [False, True])
def test_a_section_that_is_none_is_refused(tmp_path, watch, fixed_point):
    score = Score(tmp_path, fixed_point=fixed_point)
    section, size = machine_bytes(machine_of(watch), fixed_point=fixed_point), watch.network.features.size
    assert score.use(section, size) == OK
    for cut in (0, 4, 20, len(section) - 4):
        assert score.use(section[:cut], size) == SIZE
    assert score.use(section + bytes(4), size) == SIZE
    assert score.use(section, size + 1) == SIZE
    for at, word in ((1, 2**32 - 1), (1, size + 1)):
        assert score.use(with_word(section, at, word), size) == SIZE
    bad = [(2, 0), (4, 0), (2, 2**32 - 1), (-1, 0x40000000)]  # threshold, drift's limit; a share beyond 1
    if not fixed_point:
        bad += [(at, word) for at in (2, 3, 6, len(section) // 4 - 1) for word in (0x7F800000, 0x7FC00000)]
    for at, word in bad:
        assert score.use(with_word(section, at, word), size) == FORMAT


def with_word(section, at, word):
    words = np.frombuffer(section, "<u4").copy()
    words[at] = word
    return words.tobytes()
