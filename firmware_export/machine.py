"""What an agent has learned of one machine, for the firmware that goes on in its place.

As C constants of an export, or as a section of a head image; ``runtime/fedtiny_score.h`` says what lies where.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError
from fedtiny.model.head import Head
from fedtiny.model.operating import STILL
from fedtiny.model.scoring import ResidualModel
from fedtiny.model.watch import Watch
from fedtiny.signal.features import Standardisation
from firmware_export.csource import array, number
from firmware_export.scoring import CANNOT_TELL, Values, check_vote, ctype, to_values

Array = NDArray[np.float32]
SCALARS = ("threshold", "clear", "drift_limit", "still_below")  # in the order of a section
VECTORS = ("mean", "factor", "residual_mean", "gain", "centre", "directions", "shrink")
FACTORS = ("factor", "gain")


@dataclass(frozen=True)
class Machine:
    """One machine at one operating point, under ``head``. Arrays are float32 (features,).

    clear: score below which a window is quiet. drift_limit: score that drift alone may come to; centre: where it has
    moved the normal to. still_below: loudest log power at standstill, None where features have no power.
    """

    head: Head
    standardisation: Standardisation
    residuals: ResidualModel
    centre: Array
    threshold: float
    clear: float
    drift_limit: float
    still_below: float | None

    def values(self, *, fixed_point: bool) -> dict[str, Values]:
        """The members of a fedtiny_machine by name; ConfigError where fixed point cannot hold them."""
        cannot_tell = -(2.0**15) if fixed_point else CANNOT_TELL
        members = {
            "threshold": self.threshold,
            "clear": self.clear,
            "drift_limit": self.drift_limit,
            "still_below": cannot_tell if self.still_below is None else self.still_below,
            "mean": self.standardisation.mean,
            "factor": 1 / self.standardisation.deviation.astype(np.float64),
            "residual_mean": self.residuals.mean,
            "gain": self.residuals.gain,
            "centre": self.centre,
            "directions": np.clip(self.residuals.directions.T, -1, 1),
            "shrink": self.residuals.shrink,
        }
        return {
            name: to_values(value, f"machine: {name}", fixed_point=fixed_point, factor=name in FACTORS)
            for name, value in members.items()
        }


def machine_of(watch: Watch, point: str | None = None) -> Machine:
    """What ``watch`` has learned at operating point ``point``; None: at the only one.

    Raises ConfigError where it has not learned yet, where ``point`` does not name one of its operating points, and
    where it must and does not.
    """
    check_vote(watch.rules.window)
    learned = {name: detector for name, detector in watch.detectors.items() if detector.threshold is not None}
    if not learned:
        raise ConfigError(f"machine: {watch.learned:.0%} of the windows that it is learned from were seen: not yet")
    names = ", ".join(learned)
    if point is None and len(learned) > 1:
        raise ConfigError(f"machine: it has {len(learned)} operating points, firmware knows one: name it, of {names}")
    name = next(iter(learned)) if point is None else point
    if name not in learned:
        raise ConfigError(f"machine: it has not learned the operating point {name!r}, but {names}")
    detector = learned[name]
    assert detector.threshold is not None
    assert detector.residuals is not None
    tells = np.isfinite(watch.quietest) and watch.network.release.manifest.feature != "given"
    return Machine(
        head=watch.network.head,
        standardisation=detector.standardisation,
        residuals=detector.residuals,
        centre=detector.drift.centre.copy(),
        threshold=detector.threshold,
        clear=watch.rules.quiet * detector.threshold,
        drift_limit=detector.drift.limit,
        still_below=watch.quietest - STILL if tells else None,
    )


def machine_source(machine: Machine, name: str, *, fixed_point: bool) -> str:
    """C text: ``static const fedtiny_machine <name>_machine`` and the arrays that it points to."""
    values = machine.values(fixed_point=fixed_point)
    kind, rank, size = ctype(fixed_point=fixed_point), *values["directions"].shape
    arrays = [array(kind, f"{name}_machine_{vector}", values[vector]) for vector in VECTORS if values[vector].size]
    members = [f".features = {size}u", f".rank = {rank}u"]
    members += [f".{vector} = {name}_machine_{vector}" for vector in VECTORS if values[vector].size]
    members += [f".{scalar} = {number(kind, values[scalar].item())}" for scalar in SCALARS]
    body = "".join(f"    {member},\n" for member in members)
    return "\n".join([*arrays, f"static const fedtiny_machine {name}_machine = {{\n{body}}};\n"])


def machine_bytes(machine: Machine, *, fixed_point: bool) -> bytes:
    """The same as the machine section of a head image: fedtiny_machine_open points into it."""
    values = machine.values(fixed_point=fixed_point)
    rank, size = values["directions"].shape
    kind = "<i4" if fixed_point else "<f4"
    return struct.pack("<II", size, rank) + b"".join(
        values[name].astype(kind).tobytes() for name in (*SCALARS, *VECTORS)
    )
