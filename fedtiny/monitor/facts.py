"""The fleet as a whole in few lines: who is there, what it is at, what goes wrong."""

from collections import Counter
from collections.abc import Iterator

from fedtiny.monitor.view import FleetView
from fedtiny.plain import plain

NAMED = 6  # devices or kinds in one line of counts


def fleet_line(view: FleetView, fleet: str) -> str:
    """Name and devices."""
    online = sum(d.status is not None and d.status.state == "online" for d in view.devices.values())
    return f"fleet {fleet}   {online} of {len(view.devices)} devices online"


def coordinator_line(view: FleetView) -> str:
    """Coordinator, release, revision."""
    coordinator = view.status.state if view.status else "not seen"
    revision = str(view.head.revision) if view.head else "-"
    if view.status and view.status.pinned is not None:
        revision += " pinned"
    quarantined = f"   {view.status.quarantined} quarantined" if view.status and view.status.quarantined else ""
    return f"coordinator {coordinator}   release {(view.release_id or '-')[:8]}   revision {revision}{quarantined}"


def round_line(view: FleetView) -> str:
    """The newest round."""
    current = view.round
    if current is None:
        return "no round yet"
    text = f"round {current.round_number} {current.state}   {current.strategy}   "
    if current.state == "closed":
        left_out = f", {current.left_out} left out" if current.left_out else ""
        text += f"{current.updates} updates{left_out}   {current.outcome or ''}"
    elif current.mode == "buffered":
        text += f"a head of every {current.quorum} updates"
    else:
        text += f"{view.rounds[current.round_number].asked} asked, {current.quorum} needed   "
        text += f"deadline {current.deadline_s:g} s after {current.opened_utc[11:19]}"
    return plain(text)


def conflicts(view: FleetView) -> str:
    """Devices whose id two agents use; empty where there are none."""
    names = [name for name, device in view.devices.items() if device.status and device.status.conflict]
    more = ", ..." if len(names) > NAMED else ""
    return f"two agents use the id of {', '.join(names[:NAMED])}{more}" if names else ""


def troubles(view: FleetView) -> Iterator[str]:
    """What is counted and should not happen, the most frequent first."""
    statuses = {name: device.status for name, device in view.devices.items() if device.status is not None}
    for what, counts in (
        ("windows with a sensor fault", Counter({name: status.sensor_faults for name, status in statuses.items()})),
        ("windows at unknown operating points", Counter({name: status.unknown for name, status in statuses.items()})),
        ("garbage", view.garbage),
        ("rejected by the coordinator", Counter(view.status.rejected if view.status else {})),
    ):
        if text := ", ".join(f"{plain(name)} {count}" for name, count in counts.most_common(NAMED) if count):
            yield f"{what}: {text}"
