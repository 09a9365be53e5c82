"""What operators see of a fleet, and what they tell it: a full screen, lines, or JSON."""

from fedtiny.monitor.run import run_monitor
from fedtiny.monitor.view import FleetView

__all__ = ["FleetView", "run_monitor"]
