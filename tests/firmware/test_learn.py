"""Learning in C beside its twin, which is made of the agent's own functions."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from building import compile_shared, write_config
from scorer import SOURCES, Score

from fedtiny.errors import ConfigError
from fedtiny.model import scoring
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules
from firmware_export.learning import FEWEST, fit_diagonal, learn, plan_of, plan_source
from firmware_export.machine import machine_bytes

RULES = Rules(rate=0.01, learn=60, keep=120, votes=3, window=5, quiet=0.8, points=1)
OK, MORE, NOT_READY = 0, 1, -2
DRIVER = """
#include "fedtiny_learn.h"

void begin(void);
bool features(const fedtiny_value *values);
int residual(fedtiny_value *values);
void head(const fedtiny_machine *known);
const fedtiny_machine *machine(void);

static fedtiny_learner learner;
static fedtiny_value values_of[FEDTINY_LEARN_VALUES(SIZE)];
static float work[FEDTINY_LEARN_WORK(SIZE, LARGEST)];

void begin(void) { fedtiny_learn_begin(&learner, &it_plan, values_of, work); }
bool features(const fedtiny_value *values) { return fedtiny_learn_features(&learner, values); }
int residual(fedtiny_value *values) { return fedtiny_learn_residual(&learner, values); }
void head(const fedtiny_machine *known) { fedtiny_learn_head(&learner, known); }
const fedtiny_machine *machine(void) { return &learner.machine; }
"""


@pytest.fixture(scope="module", params=[False, True], ids=["float", "fixed"])
def score(request, tmp_path_factory):
    return Score(tmp_path_factory.mktemp("score"), fixed_point=request.param)


class Learner:
    """A plan in C; the network between features and residuals is the agent's, so that the numbers compare."""

    def __init__(self, folder, plan, network, score):
        fixed_point = score.type is np.int32
        text = plan_source(plan, "it", fixed_point=fixed_point)
        text = f'#include "fedtiny_learn.h"\nenum {{ SIZE = {len(plan.base.mean)}, LARGEST = {plan.largest} }};\n{text}'
        (folder / "learner.c").write_text(text + DRIVER)
        config = write_config(folder, fixed_point=fixed_point)
        self.c, self.score, self.network = (
            compile_shared(folder, [folder / "learner.c", *SOURCES], config),
            score,
            network,
        )
        self.c.features.restype, self.c.machine.restype = ctypes.c_bool, ctypes.POINTER(score.Machine)
        self.c.begin()

    @property
    def machine(self):
        return self.c.machine().contents

    def vector(self, number):
        kind = ctypes.c_int32 if self.score.type is np.int32 else ctypes.c_float
        pointer = ctypes.cast(getattr(self.machine, f"vector{number}"), ctypes.POINTER(kind))
        return np.ctypeslib.as_array(pointer, (self.machine.features,)) * self.score.unit

    def take(self, one):
        """The window's status: None where the network is not run yet."""
        values = self.score.values(one)
        if not self.c.features(ctypes.c_void_p(values.ctypes.data)):
            return None
        z = ((one - self.vector(0).astype(np.float32)) * self.vector(1).astype(np.float32)).astype(np.float32)
        residual = self.score.values(z - self.network.reconstruct(z[None])[0])
        return self.c.residual(ctypes.c_void_p(residual.ctypes.data))

    def agrees_with(self, twin):
        near = {"rtol": 1e-3, "atol": 1e-3}
        np.testing.assert_allclose(self.vector(0), twin.standardisation.mean, **near)
        np.testing.assert_allclose(self.vector(1), 1 / twin.standardisation.deviation, **near)
        np.testing.assert_allclose(self.vector(2), twin.residuals.mean, **near)
        np.testing.assert_allclose(self.vector(3), twin.residuals.gain, **near)
        machine, unit = self.machine, self.score.unit
        most = 2.0**15 if self.score.type is np.int32 else np.inf  # two scores alone may ask for more
        assert machine.threshold * unit == pytest.approx(min(twin.threshold, most), rel=1e-3)
        assert machine.clear * unit == pytest.approx(min(twin.clear, most), rel=1e-3)
        assert machine.drift_limit == machine.threshold
        if twin.still_below is not None:
            assert machine.still_below * unit == pytest.approx(twin.still_below, abs=1e-3)
        assert machine.rank == 0
        return True


@pytest.fixture
def windows(release, rng):
    """As many as it takes of a machine like the base's, ``off`` by so many of its deviations."""

    def make(count, off=0.0):
        scale, mixing = release.standardisation, rng.normal(size=(2, release.features.size))
        z = 0.4 * rng.normal(size=(count, 2)) @ mixing + 0.3 * rng.normal(size=(count, len(scale.mean))) + off
        z[:, 3] *= 1e-3  # a band that is next to still: the floor on deviations
        return (scale.mean + z * scale.deviation).astype(np.float32)

    return make


@pytest.mark.parametrize(("learn_windows", "off"), [(60, 0.3), (60, 5.0), (FEWEST, 0.0), (23, -4.0), (700, 0.0)])
def test_c_learns_as_its_twin(tmp_path, release, windows, score, learn_windows, off):
    """Machines near the base and far from it; the least there is, and windows enough for the order statistic."""
    plan, network = plan_of(release, replace(RULES, learn=learn_windows)), Network(release)
    assert sum(plan.windows) == learn_windows
    assert (plan.largest > 0) == (learn_windows == 700)
    normal = windows(learn_windows, off)
    twin = learn(plan, release.head, normal, network.reconstruct)
    assert (twin.standardisation is not plan.base) == (abs(off) > 2)
    learner = Learner(tmp_path, plan, network, score)
    said = [learner.take(one) for one in normal]
    level, *others = plan.windows
    assert said == [None] * level + [MORE] * (sum(others) - 1) + [OK]
    assert learner.agrees_with(twin)
    assert learner.c.residual(ctypes.c_void_p(score.values(normal[0]).ctypes.data)) == NOT_READY


def test_a_new_head_is_learned_with_the_standardisation_kept(tmp_path, release, windows, score):
    plan, network = plan_of(release, RULES), Network(release)
    level, normal, later = plan.windows[0], windows(60, 5.0), windows(48, 5.5)
    learner = Learner(tmp_path, plan, network, score)
    for one in normal:
        learner.take(one)
    changed = replace(release.head, weights=release.head.weights * np.float32(0.8))
    network.set_head(changed)
    learner.c.head(None)
    assert [learner.take(one) for one in later] == [MORE] * 47 + [OK]
    both = np.concatenate([normal[:level], later])
    twin = learn(plan, changed, both, network.reconstruct)
    loudest = np.concatenate([normal, later]).max(axis=1)
    assert learner.agrees_with(replace(twin, still_below=float(loudest.min()) - np.log(100)))


def test_a_new_head_for_an_exported_machine_keeps_its_standardisation(tmp_path, release, windows, score):
    """Exported with what an agent had learned; the learner has seen nothing of its own."""
    plan, network, later = plan_of(release, RULES), Network(release), windows(108, 5.5)
    exported = learn(plan, release.head, windows(60, 5.0), network.reconstruct)
    assert score.use(machine_bytes(exported, fixed_point=score.type is np.int32), release.features.size) == OK
    learner = Learner(tmp_path, plan, network, score)
    for one in later[:7]:
        learner.take(one)
    learner.c.head(ctypes.byref(score.machine))
    assert [learner.take(one) for one in later[60:]] == [MORE] * 47 + [OK]
    np.testing.assert_allclose(learner.vector(0), exported.standardisation.mean, rtol=1e-4, atol=1e-4)
    quietest = min(exported.still_below, float(later[60:].max(axis=1).min()) - np.log(100))
    assert learner.machine.still_below * score.unit == pytest.approx(quietest, abs=1e-3)


def test_without_directions_a_fit_is_the_agents_of_rank_0(monkeypatch, rng):
    monkeypatch.setattr(scoring, "RANK", 0)
    residuals = (rng.normal(size=(50, 16)) * np.linspace(0.001, 3, 16) + 1).astype(np.float32)
    ours, agents = fit_diagonal(residuals), scoring.fit_residuals(residuals)
    np.testing.assert_allclose(ours.gain, agents.gain, rtol=1e-5)
    np.testing.assert_array_equal(ours.mean, agents.mean)
    np.testing.assert_allclose(ours.score(residuals), agents.score(residuals), rtol=1e-4)


def test_what_firmware_learned_finds_the_machines_fault(tmp_path, release, machine, score):
    plan, network = plan_of(release, RULES), Network(release)
    learner = Learner(tmp_path, plan, network, score)
    for one in machine.normal[:60]:
        learner.take(one)
    twin = learn(plan, release.head, machine.normal[:60], network.reconstruct)
    assert learner.agrees_with(twin)
    away = twin.residuals.score(residuals_of(twin, network, machine.anomalous))
    calm = twin.residuals.score(residuals_of(twin, network, machine.normal[60:]))
    threshold = learner.machine.threshold * score.unit
    assert (away >= threshold).mean() > 0.9
    assert (calm >= threshold).mean() < 0.1


def residuals_of(twin, network, features):
    z = twin.standardisation(features)
    return z - network.reconstruct(z)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"learn": 4}, "learn_windows: 4, expected 5 to"),
        ({"learn": 40000}, "learn_windows: 40000, expected 5 to"),
        ({"learn": 2000, "rate": 0.2}, "would keep .* scores, at most 64"),
        ({"window": 40}, "alarm_window: 40, at most 32"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(release, rules, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(release, replace(RULES, **rules))
