"""A machine's life under its score, rounds of a fleet, and int8 beside float."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.page.style import ALARM, FAINT, OTHER, OURS, axes
from fedtiny.config import Config, Edge
from fedtiny.evaluation import DeviceScores, LocalSplit, by_residuals, figures, split
from fedtiny.federation.combine import Entry, combine
from fedtiny.federation.local import compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.model.artifact import Release
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.offline import score_offline
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.features import Standardisation, adapt_standardisation
from fedtiny.signal.fleet import FleetData
from fedtiny.trainer.autoencoder import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float32]
Model = Callable[[Array], Array]  # standardised features -> reconstructions, (n, features) both
CONFIG = Config(edge=Edge(learn_windows=30))


def life(machines: FleetData, release: Release, machine: str) -> "Figure":
    """Score, level and threshold of one machine from its first snapshot to its last."""
    figure, (axis,) = axes()
    rows, alarms = [], []
    for scored in score_offline(CONFIG, release, machines.machines[machine].recordings()):
        for finding in scored.findings:
            if finding.threshold is not None:
                rows.append((100 * (scored.recording.position or 0), finding.level, finding.score, finding.threshold))
                alarms += [rows[-1][0]] * finding.changed
    at, levels, scores, thresholds = zip(*rows, strict=True)
    axis.plot(at, levels, color=FAINT, lw=1.2, label="level: distance from the first days")
    axis.plot(at, scores, color=OURS, lw=1.0, label="score: distance from the drifting normal")
    axis.plot(at, thresholds, color=OTHER, ls="--", lw=1.0, label="threshold")
    axis.axvline(alarms[0], color=ALARM, lw=1.0)
    axis.annotate("alarm ", (alarms[0], max(scores)), ha="right", color=ALARM)
    axis.axvspan(0, at[0], color=FAINT, alpha=0.35, lw=0)
    axis.annotate("learning", (at[0] / 2, 1.0), ha="center", color=OTHER)
    axis.set(title="One machine from its first day to its last", xlabel="life, %", xlim=(0, 100), yscale="log")
    axis.legend(loc="upper left", bbox_to_anchor=(0.26, 1.0))
    return figure


@dataclass(frozen=True)
class Site:
    """One device's features under the protocol of `fedtiny.evaluation`, and its standardisation."""

    data: LocalSplit
    scale: Standardisation

    def scores(self, model: Model) -> DeviceScores:
        """Of its windows under ``model``."""
        return by_residuals(lambda x: self.residuals(model, x), self.data, CONFIG.edge.false_alarm_rate)

    def loss(self, model: Model) -> float:
        """Mean squared residual of its held-out windows under ``model``."""
        return float(np.square(self.residuals(model, self.data.held_out)).mean())

    def residuals(self, model: Model, features: Array) -> Array:
        """Of ``features``, float32 (n, features)."""
        z = self.scale(features)
        return z - model(z)


def rounds(machines: FleetData, release: Release) -> "Figure":
    """What rounds of `fedavg` do for each device: loss on held-out windows, and detection."""
    sites, network = _sites(machines, release), Network(release)
    before, sizes = _figures(sites, network.reconstruct), []
    for _ in range(CONFIG.coordinator.rounds):
        entries = list(_updates(sites, network))
        sizes += [len(entry.update.payload) for entry in entries]
        network.set_head(_combined(entries, network.head, release))
    after = _figures(sites, network.reconstruct)
    figure, plots = axes(2, height_in=3.0)
    for axis, old, new in zip(plots, before, after, strict=True):
        at = np.arange(len(sites))
        axis.hlines(at, old, new, color=FAINT, lw=2)
        axis.plot(old, at, "o", color=OTHER, ms=4, label="head of the release")
        axis.plot(new, at, "o", color=OURS, ms=4, label=f"after {CONFIG.coordinator.rounds} rounds")
        axis.set_yticks(at, list(sites) if axis is plots[0] else [""] * len(sites))
        axis.invert_yaxis()
    plots[0].set(title=f"In: deltas of {np.mean(sizes) / 1000:.1f} kB. Out: one head", xlabel="loss, held-out windows")
    plots[1].set(title="Failing told from healthy", xlabel="AUC")
    plots[1].legend(loc="center left")
    return figure


def int8(machines: FleetData, release: Release, trained: Trained) -> "Figure":
    """Scores of the same windows under the float model and under the int8 one."""
    figure, (axis,) = axes(height_in=3.2)
    sites, models = _sites(machines, release), (trained.reconstruct, Network(release).reconstruct)
    x, y = ({name: site.scores(model) for name, site in sites.items()} for model in models)
    for part, colour, label in (("anomalous", ALARM, "failing"), ("held_out", OURS, "healthy")):
        points = [np.concatenate([getattr(one, part) for one in scores.values()]) for scores in (x, y)]
        axis.plot(*points, ".", color=colour, ms=3, label=label)
    float_auc, int8_auc = (figures(scores)["one_threshold"] for scores in (x, y))
    axis.set(
        title=f"The same windows in float32 and in int8. AUC with one threshold: {float_auc:.3f} and {int8_auc:.3f}",
        xlabel="score, float32",
        ylabel="score, int8",
        xscale="log",
        yscale="log",
    )
    axis.legend()
    return figure


def _sites(machines: FleetData, release: Release) -> dict[str, Site]:
    """All machines that the trainer has not seen."""
    sites = {}
    for name in machines.machines:
        if name not in machines.base:
            data = split(machine_features(machines, name, release.features))
            sites[name] = Site(data, adapt_standardisation(release.standardisation, data.local))
    return sites


def _updates(sites: Mapping[str, Site], network: Network) -> Iterator[Entry]:
    for name, site in sites.items():
        z = site.scale(site.data.local)
        _, hidden = network(z)
        head, pull = network.head.weights, CONFIG.coordinator.proximal
        yield Entry(name, compute_update("delta", head, hidden, z, split_index(len(z)), pull))


def _combined(entries: list[Entry], head: Head, release: Release) -> Head:
    return combine(strategy("fedavg", {}), lambda: entries, head, release.head.weights, {}).head


def _figures(sites: Mapping[str, Site], model: Model) -> tuple[list[float], list[float]]:
    """(losses, AUCs) of the devices."""
    found = figures({name: site.scores(model) for name, site in sites.items()})
    return [site.loss(model) for site in sites.values()], list(found["per_device"].values())
