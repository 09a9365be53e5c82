"""The fleet's local step as a Flower user would write it: the head's weights in, fitted on this client's data, out.

``data`` in the node's configuration names an npz with ``hidden`` (n, inputs), ``targets`` (n, outputs), ``split`` and
``proximal``: what ``fedtiny.federation.local`` has on the device.
"""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .step import fit_head

app = ClientApp()


def train(message: Message, context: Context) -> Message:
    (head,) = message.content["arrays"].to_numpy_ndarrays()
    with np.load(context.node_config["data"]) as data:
        split = int(data["split"])
        fitted = fit_head(head, data["hidden"], data["targets"], split, float(data["proximal"]))
    content = RecordDict({"arrays": ArrayRecord([fitted]), "metrics": MetricRecord({"num-examples": split})})
    return Message(content=content, reply_to=message)


app.train()(train)
