"""What an agent computes: INPUT (npz) and a release in, OUTPUT (npz) out. Runs on x86-64 and, under qemu, on arm64."""

import platform
import sys
from pathlib import Path

import numpy as np

from fedtiny.federation.local import compute_update
from fedtiny.federation.updates import unpack_delta
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch

RULES = Rules(rate=0.01, learn=60, keep=256, votes=3, window=5, quiet=0.8, points=1)


def work(release: Release, runtime: str, windows: np.ndarray, inputs: np.ndarray) -> dict:
    """Learn from the first windows, score the others, fine-tune once, score them again under the new head.

    windows: (n, window, channels) of one machine in time order; inputs: standardised features that are the same
    everywhere, to compare the int8 model alone.
    """
    network = Network(release, runtime)
    outputs, activations = network(inputs)
    features = release.features(windows)
    watch = Watch(network, RULES)
    found = {"outputs": outputs, "activations": activations, "features": features, "scores": scores(watch, features)}

    hidden, targets, split = watch.local_data()
    head = release.head.weights
    update = compute_update("delta", head, hidden, targets, split, 0.3)
    delta = unpack_delta(update.payload, head.shape)
    watch.set_head(Head(head + delta, update.output_min, update.output_max))
    tuned = scores(watch, features[RULES.learn :])
    return found | {"delta": delta, "losses": [update.loss_before, update.loss_after], "tuned_scores": tuned}


def scores(watch: Watch, features: np.ndarray) -> list:
    """Score, threshold and verdict of each window, taken one at a time as an agent does; NaN while it learns."""
    found = [watch.take(one[None]) for one in features]
    return [(f.score, np.nan if f.threshold is None else f.threshold, f.verdict == "anomalous") for f in found]


if __name__ == "__main__":
    release, runtime, given, target = sys.argv[1:]
    with np.load(given) as data:
        found = work(Release.open(Path(release)), runtime, **data)
    np.savez(target, machine=platform.machine(), **found)
