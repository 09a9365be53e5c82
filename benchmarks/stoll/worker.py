"""One training of a peer's model in a process of its own, and what it cost: ``python -m benchmarks.stoll.worker JOB``.

JOB: a ``Job`` as JSON. Prints one line of JSON: scores of every stored snapshot of the machines to score, their
thresholds, losses, sizes, CPU seconds and peak memory of this process. One thread, so that the seconds are of one core.
"""

import json
import pickle
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stoll.inputs import PEERS, Life, Peer, read_life, sequences
from benchmarks.stoll.judge import by_errors, by_our_score
from fedtiny.config import load_config
from fedtiny.health import memory_mb
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.given import Extractor


@dataclass(frozen=True)
class Job:
    """What to train: a name of ``PEERS``; the machines that are clients, and those whose life is scored afterwards."""

    data: str
    peer: str
    federated: bool
    train: tuple[str, ...]
    score: tuple[str, ...]
    epochs: int
    seed: int = 0

    def command(self) -> list[str]:
        """The process that does it."""
        return [sys.executable, "-m", "benchmarks.stoll.worker", json.dumps(asdict(self))]


def work(job: Job) -> dict[str, Any]:
    """Read, train, score."""
    import tensorflow as tf

    from benchmarks.stoll import lstm
    from fedtiny.trainer.dataset import extractor_for

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(job.seed)
    peer, fleet = PEERS[job.peer], open_fleet(Path(job.data))
    extract = extractor_for(fleet, load_config(None))

    lives = {name: read_life(fleet, name) for name in {*job.train, *job.score}}
    clients = [np.concatenate(sequences(peer, lives[name], extract, lives[name].fit)) for name in job.train]
    model = lstm.build(peer, *clients[0].shape[1:])
    training = lstm.Training(model, peer.learning_rate, peer.batch)
    began = time.process_time()
    (training.federated if job.federated else training.central)(clients, job.epochs)
    trained = time.process_time()
    scored = {name: scores(model, peer, lives[name], extract) for name in job.score}
    done = time.process_time()
    return {
        "weights": model.count_params(),
        "pickled_bytes": len(pickle.dumps(model.get_weights())),
        "sequences": [len(client) for client in clients],
        "shape": list(clients[0].shape[1:]),
        "losses": training.losses,
        "cpu_s": {"start": began, "training": trained - began, "scoring": done - trained},
        "peak_rss_mb": memory_mb(Path("/proc/self/status"))[1],
        "activations": sorted({layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}),
        "scored": {how: {name: found[how] for name, found in scored.items()} for how in scored[job.score[0]]},
    }


def scores(model: Any, peer: Peer, life: Life, extract: Extractor) -> dict[str, dict[str, Any]]:
    """All stored snapshots of a machine under the peer's own score ('plain'), of bands under ours too ('whitened')."""
    from benchmarks.stoll import lstm

    budget, errors, bands = load_config(None).edge.window_rate, [], []
    for part in np.array_split(np.arange(len(life.labels)), 8):  # a whole life of long sequences is large
        off = lstm.residuals(model, sequences(peer, life, extract, part))
        errors.append(lstm.errors(off, peer.score))
        if peer.kind == "bands":
            bands.append(off.reshape(len(part), -1))
    found = {"plain": by_errors(np.concatenate(errors), life, budget)}
    if bands:
        found["whitened"] = by_our_score(np.concatenate(bands), life, budget)
    return {how: {"scores": one.scores.tolist(), "threshold": one.threshold} for how, one in found.items()}


if __name__ == "__main__":
    print(json.dumps(work(Job(**json.loads(sys.argv[1])))))
