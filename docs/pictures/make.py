"""The pictures of the documentation, from real runs of this code on the simulator: ``python -m docs.pictures.make``.

Training comes first (half a minute on two cores); the same seed gives the same pictures on the same machine.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent
SEED = 0
MACHINE = "gearbox-06"  # its outer race fails


def main() -> None:
    """Train a release on simulated machines and draw all pictures beside this file."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.page.style import save
    from docs.pictures import fleet, overview, signals
    from fedtiny.config import Config
    from fedtiny.model.artifact import Release
    from fedtiny.signal.fleet import open_fleet
    from fedtiny.trainer.train import train_release

    (FOLDER / "overview.svg").write_text(overview.draw())
    machines = open_fleet(None, seed=SEED)
    training = train_release(machines, Config())
    release = Release(training.release)
    for name, figure in {
        "window": signals.window(machines, release, MACHINE),
        "residual": signals.residual(machines, release, MACHINE),
        "life": fleet.life(machines, release, MACHINE),
        "rounds": fleet.rounds(machines, release),
        "int8": fleet.int8(machines, release, training.trained),
    }.items():
        save(figure, FOLDER / f"{name}.svg")
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
