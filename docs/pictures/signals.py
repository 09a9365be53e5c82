"""What a window looks like: as samples, as log band energies, and beside its reconstruction."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.page.style import ALARM, FAINT, OTHER, OURS, axes
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.signal.features import adapt_standardisation
from fedtiny.signal.fleet import FleetData
from fedtiny.signal.windows import cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float32]
HEALTHY, FAILING = 40, 119  # snapshots of 120
LEARNED = 30
SHOWN_MS = 40


def window(machines: FleetData, release: Release, machine: str) -> "Figure":
    """A healthy and a failing window: the samples, and what the model sees of them."""
    figure, (left, right) = axes(2)
    bands, rate = release.manifest.bands, machines.sample_rate_hz
    frequencies = np.arange(bands) * rate / 2 / bands / 1000
    for number, colour, label in ((FAILING, ALARM, "failing"), (HEALTHY, OURS, "healthy")):
        one = _windows(machines, release, machine, number)[:1]
        samples = one[0, : int(SHOWN_MS * rate / 1000), 0]
        left.plot(np.arange(len(samples)) / rate * 1000, samples, color=colour, lw=0.7, label=label)
        right.step(frequencies, release.features(one)[0, :bands], color=colour, where="post", label=label)
    left.set(title="Samples", xlabel="ms", ylabel="acceleration, g")
    right.set(title=f"{bands} log band energies", xlabel="kHz", ylabel="ln(g²)")
    right.legend(loc="upper center")
    return figure


def residual(machines: FleetData, release: Release, machine: str) -> "Figure":
    """Features and their int8 reconstruction, of a healthy and a failing window."""
    figure, plots = axes(2)
    network, bands = Network(release), release.manifest.bands
    first = np.concatenate([_windows(machines, release, machine, number) for number in range(LEARNED)])
    scale = adapt_standardisation(release.standardisation, release.features(first))
    for axis, number, label in zip(plots, (HEALTHY, FAILING), ("Healthy", "Failing"), strict=True):
        z: Array = scale(release.features(_windows(machines, release, machine, number)[:1]))
        reconstruction = network.reconstruct(z)
        at = np.arange(bands)
        axis.fill_between(at, z[0, :bands], reconstruction[0, :bands], color=FAINT, label="residual", step="mid")
        axis.step(at, z[0, :bands], color=OTHER, where="mid", label="features")
        axis.step(at, reconstruction[0, :bands], color=OURS, where="mid", label="reconstruction")
        error = float(np.square(z - reconstruction).mean())
        axis.set(title=f"{label}: mean squared residual {error:.1f}", xlabel="band", ylabel="standardised")
    lows, highs = zip(*(axis.get_ylim() for axis in plots), strict=True)
    for axis in plots:
        axis.set_ylim(min(lows), max(highs))
    plots[0].legend(loc="upper right")
    return figure


def _windows(machines: FleetData, release: Release, machine: str, snapshot: int) -> Array:
    """The windows of one snapshot, float32 (n, window, channels)."""
    recording = next(machines.machines[machine].recordings(snapshot))
    return cut(recording.samples, release.manifest.window, release.manifest.hop)
