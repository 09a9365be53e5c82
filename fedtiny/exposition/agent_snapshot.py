"""An agent at one instant, as its loop hands it over."""

from dataclasses import dataclass

from fedtiny.model.watch import Finding
from fedtiny.protocol.messages import DeviceStatus, HealthReport


@dataclass(frozen=True)
class AgentSnapshot:
    """An agent at one instant.

    last: the last window that was scored. last_window: when the last window came, scored or not; seconds since 1970.
    busy_s: spent on windows, from the sensor's check to the verdict. answered: number of the newest round answered.
    updates: that the broker has taken. busy_s and updates count from the start of the process.
    """

    status: DeviceStatus
    online: bool
    last: Finding | None
    last_window: float | None
    busy_s: float
    updates: int
    answered: int

    @property
    def health(self) -> HealthReport:
        """Of the computer; what is not known is None."""
        return self.status.health or HealthReport()
