"""The fleet's local step as a Flower user would write it: the head's weights in, fitted on this client's data, out.

``data`` in the node's configuration names an npz with ``hidden`` (n, inputs), ``targets`` (n, outputs), ``split`` and
``proximal``: what ``fedtiny.federation.local`` has on the device.
"""

import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

Array = NDArray[np.float32]
PULLS = (1.0, 10.0, 100.0)
app = ClientApp()


def fit_head(head: Array, hidden: Array, targets: Array, split: int, proximal: float) -> Array:
    """Weights (outputs, inputs + 1) by the proximal step; see ``fedtiny.federation.local.fit_head``."""
    h = np.column_stack([hidden, np.ones(len(hidden))]).astype(np.float64)
    gram, cross = h[:split].T @ h[:split], h[:split].T @ targets[:split].astype(np.float64)
    candidates = []
    for pull in PULLS:
        a = gram / split + pull * proximal * np.eye(len(gram))
        b = cross / split + pull * proximal * head.T.astype(np.float64)
        candidates.append(np.linalg.solve(a, b).T.astype(np.float32))
    kept, wanted = h[split:].astype(np.float32), targets[split:]
    return min(candidates, key=lambda weights: float(np.mean(np.square(kept @ weights.T - wanted))))


def train(message: Message, context: Context) -> Message:
    began = time.perf_counter()
    (head,) = message.content["arrays"].to_numpy_ndarrays()
    with np.load(context.node_config["data"]) as data:
        split = int(data["split"])
        fitted = fit_head(head, data["hidden"], data["targets"], split, float(data["proximal"]))
    metrics = {"num-examples": split, "seconds": time.perf_counter() - began}
    content = RecordDict({"arrays": ArrayRecord([fitted]), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=message)


app.train()(train)
