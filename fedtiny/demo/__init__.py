"""A whole fleet on this machine, with a report.

The process of the demo only starts the others, watches the fleet's topics as any operator could, and evaluates what
the agents wrote and what the coordinator's ledger has.
"""

from fedtiny.demo.run import run_demo

__all__ = ["run_demo"]
