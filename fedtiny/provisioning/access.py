"""Who may publish and read what: the one table from which every broker's rules are written.

A device has its own topics and reads the fleet's; it never sees another's. Updates go to the coordinator alone: a
single one says more about a machine than operators need to know.
"""

from dataclasses import dataclass
from typing import Literal

from fedtiny.protocol.topics import ROOT, device_topic, everything_filter, fleet_topic, update_filter

Role = Literal["device", "coordinator", "operator"]


@dataclass(frozen=True)
class Rights:
    """MQTT topic filters. What stands nowhere is denied; ``hidden`` is taken out of what ``reads`` allows."""

    writes: tuple[str, ...]
    reads: tuple[str, ...]
    hidden: tuple[str, ...] = ()


def rights(role: Role, fleet: str, name: str) -> Rights:
    """The rights of ``name`` in ``role``; for devices also of a broker's placeholder for their name."""
    match role:
        case "device":
            own = {kind: device_topic(fleet, name, kind) for kind in ("status", "score", "alarm", "command")}
            return Rights(
                writes=(f"{ROOT}/{fleet}/up/+/{name}/update", own["status"], own["score"], own["alarm"]),
                reads=(fleet_topic(fleet, "+"), own["status"], own["command"]),
            )
        case "coordinator":
            return Rights(
                writes=tuple(fleet_topic(fleet, kind) for kind in ("release", "head", "round", "status")),
                reads=(
                    fleet_topic(fleet, "+"),
                    update_filter(fleet),
                    *(device_topic(fleet, "+", kind) for kind in ("status", "score", "alarm")),
                ),
            )
        case "operator":
            return Rights(
                writes=(device_topic(fleet, "+", "command"), fleet_topic(fleet, "command")),
                reads=(everything_filter(fleet),),
                hidden=(f"{ROOT}/{fleet}/up/#",),
            )
