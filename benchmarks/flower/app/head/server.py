"""Federated averaging of one matrix, the head, over all clients; every round's result and the time of it on disk.

``out`` in the run's configuration is a folder with ``0.npy``, the head to begin with; ``N.npy`` is the head after
round N, and ``times.csv`` has a line a head: its number, and the seconds since 1970 when it was there.
"""

import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    out, clients = Path(str(config["out"])), int(config["clients"])
    while len(list(grid.get_node_ids())) < clients:  # so that the first round does not wait for the last client
        time.sleep(0.1)

    def keep(number: int, arrays: ArrayRecord) -> None:
        now = time.time()
        np.save(out / f"{number}.npy", arrays.to_numpy_ndarrays()[0])
        with (out / "times.csv").open("a") as times:
            times.write(f"{number},{now!r}\n")

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    head = ArrayRecord([np.load(out / "0.npy")])
    strategy.start(grid, head, num_rounds=int(config["rounds"]), evaluate_fn=keep)


app.main()(main)
