"""How much flash, RAM and stack an export takes, before anyone compiles it.

Constants and buffers are counted from the generated C, for a 32-bit target. Code, stack and the structs were measured
with arm-none-eabi-gcc 12.2 -Os for a Cortex-M4 with FPU; the tests compare all with a real build.
"""

import re
from dataclasses import dataclass
from typing import Literal

from fedtiny.model.artifact import Release
from fedtiny.model.scoring import RANK
from firmware_export.features import Front
from firmware_export.learning import Plan
from firmware_export.network import Network
from firmware_export.packing import COLUMNS, ROWS, arena, padded

BYTES = {"int8_t": 1, "uint8_t": 1, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "float": 4}
BYTES |= {"fedtiny_layer": 24, "fedtiny_stage": 4}
ARRAY = re.compile(r"^static const (\w+) \w+\[(\d+)\]", re.MULTILINE)
STRUCTS, STATE = 174, 176  # network, front, machine, plan and release; fedtiny_state
CODE = {"float": 11_200, "fixed": 12_100, "network": 1_000}  # with the self-test, heads, and of libm what is called
STACK = {"float": 400, "fixed": 500, "network": 130}


@dataclass(frozen=True)
class Sizes:
    """Bytes; 0 for what there is not.

    ram: of one watched machine, or of a network's arena. slot: of a head that is received; machine_slot: of one with
    what an agent has learned of a machine. code and stack are 0 where an interpreter of the user's runs the model.
    """

    constants: int
    ram: int
    code: int = 0
    stack: int = 0
    slot: int = 0
    machine_slot: int = 0

    @property
    def flash(self) -> int:
        """Constants and code."""
        return self.constants + self.code

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much), for people."""
        if not self.code:
            return [
                ("flash", f"{self.constants:,} bytes for the model; the interpreter comes on top"),
                ("RAM", f"{self.ram:,} bytes for its arena"),
            ]
        what = "for each machine that is watched" if self.slot else "for the network's arena"
        lines = [
            ("flash", f"{self.flash:,} bytes: {self.constants:,} of constants, about {self.code:,} of code"),
            ("RAM", f"{self.ram:,} bytes {what}"),
        ]
        if self.slot:
            slots = f"{self.slot:,} bytes for each head that is received, {self.machine_slot:,} with a machine in it"
            lines.append(("RAM, on top", slots))
        return [*lines, ("stack", f"about {self.stack:,} bytes")]

    def text(self) -> str:
        """Rows of a Markdown table."""
        return "\n".join(f"| {what} | {much} |" for what, much in self.lines())


def constant_bytes(source: str) -> int:
    """Flash of the constants that generated C text defines."""
    return STRUCTS + sum(BYTES[kind] * int(count) for kind, count in ARRAY.findall(source))


def release_sizes(
    source: str, network: Network, release: Release, front: Front | None, plan: Plan, number: Literal["float", "fixed"]
) -> Sizes:
    """Of a release whose ``<name>_model.c`` is ``source``."""
    features = release.features.size
    samples = 0 if front is None else front.window * front.channels * (4 if front.lsb is None else 2)
    scratch = 0 if front is None else front.scratch_bytes
    return Sizes(
        constants=constant_bytes(source),
        code=CODE[number],
        ram=samples + scratch + 2 * 4 * features + arena(network).total + plan.ram_bytes + STATE,
        stack=STACK[number],
        slot=slot_bytes(network, 0),
        machine_slot=slot_bytes(network, 4 * (6 + 5 * features + RANK * (features + 1))),
    )


def slot_bytes(network: Network, machine: int) -> int:
    """RAM for a head image: FEDTINY_HEAD_BYTES of ``runtime/fedtiny_head.h``. ``machine``: bytes of its section."""
    head = network.layers[-1]
    rows, columns = padded(head.outputs, ROWS), padded(head.inputs, COLUMNS)
    return 96 + 8 * rows + padded(head.outputs, 16) + rows * columns + padded(machine, 16) + 4 + 64


def network_sizes(source: str, network: Network) -> Sizes:
    """Of a network alone, whose ``<name>_model.c`` is ``source``."""
    constants, working = constant_bytes(source), arena(network).total
    return Sizes(constants=constants, code=CODE["network"], ram=working, stack=STACK["network"])
