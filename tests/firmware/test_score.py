"""The score in C beside the agent's: fixed point to the bit of its twin, both within what rounding explains."""

import numpy as np
import pytest
from building import compile_program, run, write_config
from scorer import SOURCES, VERDICTS, Score

from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from firmware_export.machine import Machine, machine_bytes, machine_of
from firmware_export.network import read_network
from firmware_export.scoring import FixedScore, fixed_mean_square, output_step, to_values

RULES = Rules(rate=0.001, learn=40, keep=120, votes=3, window=5, quiet=0.8, points=1)
TOLERANCE = 1e-4  # of a score, relative, in both number types, where the network gives the same
ENDS = np.array([-(2**31), -(2**31) + 1, -65536, -1, 0, 1, 65536, 2**31 - 1])


@pytest.fixture(scope="module", params=[False, True], ids=["float", "fixed"])
def fixed_point(request):
    return request.param


@pytest.fixture(scope="module")
def score(tmp_path_factory, fixed_point):
    return Score(tmp_path_factory.mktemp("score"), fixed_point=fixed_point)


@pytest.fixture
def watch(release, machine):
    """Has learned the machine's first windows, and followed it for some."""
    watch = Watch(Network(release), RULES)
    for one in machine.normal[:60]:
        watch.take(one[None])
    return watch


def codes_of(score, layers):
    """(input codes, output codes) of a network's layers."""
    first, last = layers[0], layers[-1]
    if score.type is np.float32:
        return score.codes(1 / first.in_scale, first.in_zero), score.codes(last.out_scale, last.out_zero)
    step, per_unit = output_step(float(last.out_scale)), to_values(1 / float(first.in_scale), "", fixed_point=True)
    return score.codes(int(per_unit), first.in_zero), score.codes(step, last.out_zero)


def agents_codes(network, layers, z):
    """The int8 inputs and outputs of the network for z (features,), as the agent's interpreter has them."""
    first, last = layers[0], layers[-1]
    inputs = np.clip(np.rint(z / first.in_scale + np.float32(first.in_zero)), -128, 127)
    outputs = np.rint(network.reconstruct(z[None])[0] / last.out_scale + last.out_zero)
    return inputs.astype(np.int8), outputs.astype(np.int8)


def test_a_machine_is_judged_as_by_its_agent(score, fixed_point, release, machine, watch):
    """Drift, votes and fault included, over the windows that come after what was exported."""
    layers = read_network(release.data, "release").layers
    to_network, from_network = codes_of(score, layers)
    assert score.use(machine_bytes(machine_of(watch), fixed_point=fixed_point), release.features.size) == 0
    score.scorer.alarm.window, score.scorer.alarm.votes = RULES.window, RULES.votes
    assert np.abs(watch.detectors["0"].drift.centre).max() > 0.01
    changes, differ = 0, 0
    windows = np.concatenate([machine.normal[60:], machine.anomalous[:40]])
    for one in windows:
        values = score.values(one)
        assert not score.still(values)
        inputs, outputs = agents_codes(watch.network, layers, watch.detectors["0"].standardisation(one[None])[0])
        off = np.abs(score.standardise(to_network, values).astype(int) - inputs)
        assert off.max() <= 1
        differ += off.sum()
        score.residual(from_network, outputs, values)
        found, python = score.judge(values), watch.take(one[None])
        assert found.score * score.unit == pytest.approx(python.score, rel=TOLERANCE, abs=TOLERANCE)
        assert found.level * score.unit == pytest.approx(python.level, rel=TOLERANCE, abs=TOLERANCE)
        np.testing.assert_allclose(values * score.unit, python.away, rtol=TOLERANCE, atol=1e-3)
        assert found.threshold * score.unit == pytest.approx(python.threshold, rel=1e-4)
        if abs(python.score / python.threshold - 1) > TOLERANCE:
            assert VERDICTS[found.verdict] == python.verdict
        assert found.changed == python.changed
        changes += python.changed
    assert changes
    assert found.alarm == 1
    assert differ <= len(windows) * (0.5 if fixed_point else 0.01)  # numbers that lie on the edge of a code
    np.testing.assert_allclose(score.centre * score.unit, watch.detectors["0"].drift.centre, rtol=TOLERANCE, atol=1e-3)


def test_drift_ends_at_its_bound(score, fixed_point, release, watch):
    """The same windows slightly off, for long: the centre moves to where it alone scores the limit, and no further."""
    machine = machine_of(watch)
    size, drift = release.features.size, watch.detectors["0"].drift
    assert score.use(machine_bytes(machine, fixed_point=fixed_point), size) == 0
    off = np.full(size, np.sqrt(0.9 * machine.threshold), np.float32)
    back = off / machine.residuals.gain + machine.residuals.mean  # whitened along no direction
    along = machine.residuals.directions
    off -= (along * machine.residuals.shrink) @ (along.T @ off)
    for step in np.linspace(0, 2, 200):
        values = score.values(machine.residuals.mean + (back - machine.residuals.mean) * np.float32(step))
        found = score.judge(values)
        away = drift.away(off * np.float32(step))
        if away @ away / size < machine.threshold:
            drift.follow(away)
        assert found.score * score.unit == pytest.approx(away @ away / size, rel=5e-3, abs=5e-3)
    assert drift.used == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(score.centre * score.unit, drift.centre, rtol=5e-3, atol=2e-3)


def test_windows_under_an_alarm_move_no_drift(score, fixed_point, release, watch):
    size, machine = release.features.size, machine_of(watch)
    assert score.use(machine_bytes(machine, fixed_point=fixed_point), size, votes=1, window=2) == 0
    start = score.centre.copy()
    calm, wild = machine.residuals.mean, machine.residuals.mean + 50 / machine.residuals.gain
    score.judge(score.values(wild))
    score.judge(score.values(wild))  # raises
    score.judge(score.values(calm))
    np.testing.assert_array_equal(score.centre, start)
    score.judge(score.values(calm))  # clears
    assert not np.array_equal(score.centre, start)


def test_inputs_are_the_agents_codes_ties_included(score, fixed_point):
    """z / scale + zero point, half to even: exact in both number types with a scale that is a power of two."""
    ties = np.arange(-150, 151, 0.25, dtype=np.float32) * np.float32(0.125)
    size, zero = len(ties), -3
    assert score.use(machine_bytes(plain(size), fixed_point=fixed_point), size) == 0
    inputs = score.standardise(score.codes(int(8 / score.unit), zero), score.values(ties))
    np.testing.assert_array_equal(inputs, np.clip(np.rint(ties / np.float32(0.125) + zero), -128, 127))


def test_a_machine_at_standstill_is_20_db_quieter_than_ever(score, fixed_point, release, machine, watch):
    assert score.use(machine_bytes(machine_of(watch), fixed_point=fixed_point), release.features.size) == 0
    bound = machine_of(watch).still_below
    for loudest in (bound - 0.01, bound + 0.01):
        one = machine.normal[0] - machine.normal[0].max() + np.float32(loudest)
        assert score.still(score.values(one)) == watch._still(float(one.max()))


@pytest.mark.parametrize("fixed_point", [True], indirect=True)
def test_fixed_point_equals_its_twin_to_the_bit_saturated_or_not(score, rng):
    size, rank = 37, 4
    axes = np.linalg.qr(rng.normal(size=(size, rank)))[0]
    for wild in (False, True):
        constants = {
            "mean": rng.integers(-(2**19), 2**19, size),
            "factor": rng.integers(1, 2**17, size),
            "residual_mean": rng.integers(-(2**17), 2**17, size),
            "gain": rng.integers(1, 2**31 - 1 if wild else 2**17, size),
            "centre": rng.integers(-(2**16), 2**16, size),
            "directions": np.rint(axes.T * 2**16).astype(int),
            "shrink": rng.integers(0, 65536, rank),
        }
        twin = FixedScore(constants, 0.037, 5, 0.041, -9)
        scalars = np.array([size, rank, 3 << 16, 2 << 16, 3 << 16, -(2**31)])
        parts = [scalars, *(values.ravel() for values in constants.values())]
        assert score.use(np.concatenate(parts).astype("<i4").tobytes(), size) == 0
        to_network = score.codes(int(to_values(1 / 0.037, "", fixed_point=True)), 5)
        from_network = score.codes(output_step(0.041), -9)
        features = rng.choice(ENDS, (60, size)) if wild else rng.integers(-(2**19), 2**19, (60, size))
        outputs = rng.integers(-128, 128, (60, size)).astype(np.int8)
        z, inputs = twin.standardise(features.astype(np.int32))
        away = twin.away(z, outputs)
        scores = fixed_mean_square(away)
        assert (scores.max() == 2**31 - 1) == wild
        for row in range(60):
            values = features[row].astype(np.int32)
            np.testing.assert_array_equal(score.standardise(to_network, values), inputs[row])
            np.testing.assert_array_equal(values, z[row])
            score.residual(from_network, outputs[row], values)
            score.scorer.centre = score.centre.ctypes.data
            score.centre[:] = constants["centre"]
            assert score.judge(values).score == scores[row]
            np.testing.assert_array_equal(values, away[row])


@pytest.mark.parametrize("fixed_point", [False], indirect=True)
def test_what_is_no_number_is_no_normal_window(score):
    size = 3
    assert score.use(machine_bytes(plain(size), fixed_point=False), size, votes=1) == 0
    for one in (np.nan, np.inf, -np.inf, 1e30):
        values = np.array([0, one, 0], np.float32)
        assert not score.still(values)
        score.standardise(score.codes(20, 0), values)
        score.residual(score.codes(0.05, 0), np.zeros(size, np.int8), values)
        found = score.judge(values)
        assert (VERDICTS[found.verdict], found.score, found.alarm) == ("anomalous", np.float32(1e12), 1)
        np.testing.assert_array_equal(score.centre, 0)


def plain(size):
    """A machine whose every number is as plain as can be."""
    from fedtiny.model.head import Head
    from fedtiny.model.scoring import ResidualModel
    from fedtiny.signal.features import Standardisation

    zeros, ones = np.zeros(size, np.float32), np.ones(size, np.float32)
    residuals = ResidualModel(zeros, ones, np.empty((size, 0), np.float32), np.empty(0, np.float32))
    head = Head(np.zeros((size, 2), np.float32), -1, 1)
    return Machine(head, Standardisation(zeros, ones), residuals, zeros, 4.0, 3.0, 4.0, None)


PROGRAM = """
#include "fedtiny_learn.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 19, RANK = 4, LARGEST = 3 };
static uint64_t state = 7;

static uint32_t bits(void) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const uint32_t top = (uint32_t)(state >> 32);
    switch (top % 8u) {
    case 0: return 0x7FFFFFFFu;
    case 1: return 0x80000000u;
    case 2: return 0x7F800000u; /* infinite */
    case 3: return top & 0xFFFFu;
    case 4: return 0x3F800000u;
    default: return (uint32_t)(state >> 24);
    }
}

static void fill(void *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint32_t word = bits();
        (void)memcpy((uint8_t *)to + 4u * i, &word, 4u);
    }
}

int main(void) {
    static fedtiny_value section[FEDTINY_MACHINE_BYTES(SIZE, RANK) / 4u];
    static fedtiny_value centre[SIZE], values[SIZE], mean[SIZE], factor[SIZE];
    static fedtiny_value learned[FEDTINY_LEARN_VALUES(SIZE)];
    static float work[FEDTINY_LEARN_WORK(SIZE, LARGEST)];
    static int8_t inputs[SIZE];
    unsigned opened = 0;
    for (unsigned run = 0; run < 4000u; run++) {
        const uint32_t sizes[2] = { SIZE, RANK };
        fedtiny_machine machine;
        fill(section, sizeof section / 4u);
        (void)memcpy(section, sizes, sizeof sizes);
#if !FEDTINY_FIXED_POINT
        for (size_t i = 2; i < sizeof section / 4u; i++) { /* others are refused */
            section[i] = (fabsf(section[i]) <= 3e38f) ? section[i] : 3e38f;
        }
#endif
        if (run % 2u == 0u) { /* as a machine is, but for its vectors */
            for (size_t i = 2; i < 6; i++) {
                section[i] = 1;
            }
            for (size_t i = 6u + 5u * SIZE; i < sizeof section / 4u; i++) {
                section[i] = (fedtiny_value)(i % 2u);
            }
        }
        if (fedtiny_machine_open(&machine, (const uint8_t *)section, sizeof section, SIZE) != FEDTINY_OK) {
            continue;
        }
        opened++;
        fedtiny_scorer scorer = { .centre = centre };
        (void)fedtiny_alarm_begin(&scorer.alarm, 2, 3);
        fedtiny_scorer_use(&scorer, &machine);
        const fedtiny_input_codes in = { section[run % 50u + 6u], -7 };
        const fedtiny_output_codes out = { section[run % 40u + 6u], 9 };
        for (unsigned window = 0; window < 5u; window++) {
            fedtiny_finding finding;
            fill(values, SIZE);
            (void)fedtiny_still(&machine, values);
            fedtiny_standardise(&machine, &in, values, inputs);
            fedtiny_residual(&out, inputs, values, SIZE);
            fedtiny_judge(&scorer, values, &finding);
        }
    }
    for (unsigned run = 0; run < 500u; run++) {
        fedtiny_learner learner;
        fill(mean, SIZE);
        fill(factor, SIZE);
        const fedtiny_plan plan = {
            .features = SIZE, .windows = { 1, 2, 3 }, .powers = run % 2u == 0u, .mean = mean, .factor = factor,
            .foreign = 4.0f, .still = 4.6f, .blocks = 1, .largest = LARGEST, .tolerance = 3.0f, .clear = 0.8f,
        };
        fedtiny_learn_begin(&learner, &plan, learned, work);
        for (unsigned window = 0; window < 6u; window++) {
            fill(values, SIZE);
            if (fedtiny_learn_features(&learner, values)) {
                fill(values, SIZE);
                (void)fedtiny_learn_residual(&learner, values);
            }
        }
        fedtiny_learn_head(&learner, NULL);
    }
    (void)printf("%u\\n", opened);
    return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_bits_whatever_make_undefined_behaviour(tmp_path, fixed_point, compiler):
    (tmp_path / "main.c").write_text(PROGRAM)
    config = write_config(tmp_path, fixed_point=fixed_point)
    program = compile_program(tmp_path, [tmp_path / "main.c", *SOURCES], config, compiler=compiler)
    assert int(run([program]).stdout) > 100
