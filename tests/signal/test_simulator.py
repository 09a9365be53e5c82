"""The simulated fleet: repeatable, physically right, and neither trivial nor hopeless to detect faults in."""

import numpy as np
import pytest

from fedtiny.signal.simulator import FAULTS, Bearing, RotatingMachine, design_machine, simulate_fleet


def machine_with(fault: str) -> RotatingMachine:
    return design_machine(FAULTS.index(fault), seed=1)


def envelope_spectrum(x: np.ndarray, rate: float, low: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and the amplitude spectrum of the squared envelope of what lies above `low` Hz."""
    spectrum = np.fft.fft(x)
    frequency = np.fft.fftfreq(len(x), 1 / rate)
    analytic = np.fft.ifft(np.where(frequency > low, 2 * spectrum, 0))
    envelope = np.abs(analytic) ** 2
    return np.fft.rfftfreq(len(x), 1 / rate), np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(x))))


def test_same_seed_same_signal_and_any_snapshot_on_its_own() -> None:
    first, again, other = (simulate_fleet(seed, snapshots=4) for seed in (5, 5, 6))
    for name, machine in first.machines.items():
        here, there = list(machine.recordings()), list(again.machines[name].recordings())
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a.samples, b.samples)
        assert not np.array_equal(here[0].samples, next(other.machines[name].recordings()).samples)
        assert not np.array_equal(here[0].samples, here[1].samples)
    model = design_machine(2, seed=5, shaft_hz=(25, 30))
    recorded = list(first.machines[model.name].recordings())[3]
    np.testing.assert_array_equal(model.snapshot(3, 1.0, 2048), recorded.samples)


def test_layout_labels_and_positions() -> None:
    fleet = simulate_fleet(0, machines=6, base=2, snapshots=101, snapshot_samples=256)
    assert fleet.base == ("fan-02", "pump-01")
    assert list(fleet.machines) == sorted(fleet.machines)
    assert (len(fleet.machines), fleet.channels, fleet.shortest) == (6, ("horizontal", "vertical"), 256)
    found = list(fleet.machines["gearbox-03"].recordings())
    labels = np.array([one.label for one in found])
    position = np.array([one.position for one in found])
    np.testing.assert_allclose(position, np.linspace(0, 1, 101))
    assert set(labels[position < 0.6]) == {0}
    assert set(labels[(position >= 0.6) & (position < 0.88)]) == {-1}
    assert set(labels[position >= 0.88]) == {1}
    assert {(one.samples.shape, one.samples.dtype.name) for one in found} == {((256, 2), "float32")}


def test_fault_orders_of_a_known_bearing() -> None:
    # SKF 6205-2RS JEM, the drive end of the Case Western Reserve test rig: published multiples of the speed
    orders = Bearing(balls=9, ratio=0.3126 / 1.537, angle=0.0).orders
    assert orders["outer"] == pytest.approx(3.5848, abs=2e-3)
    assert orders["inner"] == pytest.approx(5.4152, abs=2e-3)
    assert orders["cage"] == pytest.approx(0.39828, abs=2e-3)
    assert 2 * orders["ball"] == pytest.approx(4.7135, abs=5e-3)


@pytest.mark.parametrize("fault", ["outer", "inner"])
def test_envelope_peaks_at_the_fault_frequency(fault: str) -> None:
    model = machine_with(fault)
    expected = model.bearing.orders[fault] * model.shaft_hz
    peaks = {}
    for life in (0.3, 1.0):
        total = 0.0
        for index in range(6):
            x = model.snapshot(index, life, 16_384)[:, 0]
            frequency, spectrum = envelope_spectrum(x, model.sample_rate_hz, 1500)
            total += spectrum / np.median(spectrum)
        around = (frequency > 0.7 * expected) & (frequency < 1.3 * expected)
        peaks[life] = total[around].max()
        found = frequency[around][total[around].argmax()]
    assert found == pytest.approx(expected, rel=0.02)
    assert peaks[1.0] > 2 * peaks[0.3]


def test_shaft_line_and_its_growth_with_unbalance() -> None:
    model = machine_with("unbalance")
    frequency = np.fft.rfftfreq(16_384, 1 / model.sample_rate_hz)
    near = np.abs(frequency - model.shaft_hz) < 0.05 * model.shaft_hz

    def once_a_turn(life: float) -> float:
        spectra = [np.abs(np.fft.rfft(model.snapshot(i, life, 16_384)[:, 0])) for i in range(8)]
        return float(np.mean([spectrum[near].max() for spectrum in spectra]))

    assert once_a_turn(1.0) > 1.5 * once_a_turn(0.3)


def test_slack_makes_a_machine_quieter() -> None:
    model = machine_with("slack")
    healthy, late = (np.mean([model.snapshot(index, life, 2048).std() for index in range(20)]) for life in (0.3, 1.0))
    assert late < 0.9 * healthy


def test_bands_tell_failing_from_healthy_but_not_trivially() -> None:
    """Mean square z-score of log band energies: the plain yardstick; loudness alone must not be enough."""
    fleet = simulate_fleet(0)
    hann = np.hanning(2048)[:, None]
    bands, level = [], []
    for machine in fleet.machines.values():
        found = list(machine.recordings())
        x = np.stack([one.samples for one in found])
        power = np.abs(np.fft.rfft(x * hann, axis=1)[:, 1:]) ** 2
        features = np.log(power.reshape(len(x), 64, 16, 2).mean(axis=2)).reshape(len(x), -1)
        labels = np.array([one.label for one in found])
        bands.append(auc(features, labels))
        level.append(auc(np.log(x.std(axis=1)), labels))
    assert 0.9 < np.mean(bands) < 0.995
    assert min(bands) > 0.75
    assert np.mean(level) < np.mean(bands) - 0.05


def auc(features: np.ndarray, labels: np.ndarray) -> float:
    """Of failing against the last 40 % of healthy, with the first 60 % as the reference."""
    healthy, failing = features[labels == 0], features[labels == 1]
    cut = int(0.6 * len(healthy))
    mean, deviation = healthy[:cut].mean(axis=0), healthy[:cut].std(axis=0)
    normal, faulty = (np.square((x - mean) / deviation).mean(axis=1) for x in (healthy[cut:], failing))
    return float((faulty[:, None] > normal).mean())


def test_impossible_fleets_are_refused() -> None:
    for wrong in ({"base": 0}, {"machines": 3, "base": 3}, {"snapshots": 1}, {"sample_rate_hz": 0}):
        with pytest.raises(ValueError, match="expected"):
            simulate_fleet(0, **wrong)


def test_the_speed_told_is_the_speed_run() -> None:
    model = design_machine(3, seed=1)  # its fault is on a ball: the shaft's harmonics stay as they are
    for index in (0, 7):
        samples = model.snapshot(index, 0.1, 1 << 16)[:, 0]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        frequency = np.fft.rfftfreq(len(samples), 1 / model.sample_rate_hz)
        near = np.abs(frequency - model.shaft_hz) < 2
        assert frequency[near][spectrum[near].argmax()] == pytest.approx(model.speed_hz(index, 0.1), abs=0.2)
