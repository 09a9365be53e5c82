"""The yardstick: the whole autoencoder, float, trained in one place on the base's and all devices' local data.

No deployment could do this: it needs every site's data. Run as a module, so that TensorFlow stays in a process of its
own: ``python -m fedtiny.trainer.central --release FILE [--data FILE] --out FILE``.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config, load_config
from fedtiny.evaluation import LocalSplit, by_residuals, figures, split
from fedtiny.model.artifact import Release
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.features import fit_standardisation
from fedtiny.signal.fleet import FleetData, open_fleet
from fedtiny.store import atomic_write
from fedtiny.trainer import autoencoder
from fedtiny.trainer.dataset import Fit, scaling_of
from fedtiny.trainer.train import prepare

Array = NDArray[np.float32]


def central(
    base: list[Array], devices: dict[str, LocalSplit], config: Config, fit: Fit = fit_standardisation
) -> dict[str, Any]:
    """Figures of the centrally trained model on the devices; ``base``: the base machines' normal windows."""
    share = config.train.validation_share
    scale, train, validation = prepare([*base, *(d.local for d in devices.values())], share, fit)
    trained = autoencoder.fit("dense", train, validation, config.train)

    def residuals(features: Array) -> Array:
        if not len(features):
            return features
        z = scale(features)
        return z - trained.reconstruct(z)

    rate = config.edge.false_alarm_rate
    return figures({name: by_residuals(residuals, data, rate) for name, data in devices.items()})


def central_figures(fleet: FleetData, release: Release, config: Config) -> dict[str, Any]:
    """``central`` on a fleet's data, with the features of ``release``."""
    extract = release.features
    base = [machine_features(fleet, name, extract).normal for name in fleet.base]
    clients = [name for name in fleet.machines if name not in fleet.base]
    devices = {name: split(machine_features(fleet, name, extract)) for name in clients}
    return central(base, devices, config, scaling_of(extract))


@click.command()
@click.option("--release", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--config", "config_file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(release: Path, data: Path | None, config_file: Path | None, out: Path) -> None:
    """Write the yardstick's figures as JSON."""
    config = load_config(config_file)
    found = central_figures(open_fleet(data, seed=config.train.seed), Release.open(release), config)
    atomic_write(out, json.dumps(found).encode())


if __name__ == "__main__":
    main()
