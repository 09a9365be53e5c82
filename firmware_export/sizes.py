"""How much flash, RAM and stack an export takes, before anyone compiles it.

Constants and buffers are counted from the generated C, for a 32-bit target. Code, stack and the structs were measured
with arm-none-eabi-gcc 12.2 -Os for a Cortex-M4 with FPU; the tests compare all with a real build.
"""

import re
from dataclasses import dataclass
from typing import Literal

from fedtiny.model.artifact import Release
from firmware_export.features import Front
from firmware_export.learning import Plan
from firmware_export.network import Network
from firmware_export.packing import arena

BYTES = {"int8_t": 1, "uint8_t": 1, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "float": 4}
BYTES |= {"fedtiny_layer": 24, "fedtiny_stage": 4}
ARRAY = re.compile(r"^static const (\w+) \w+\[(\d+)\]", re.MULTILINE)
STRUCTS, STATE = 170, 172  # network, front, machine, plan and release; fedtiny_state
CODE = {"float": 11_200, "fixed": 12_100, "network": 1_000}  # with the self-test, heads, and of libm what is called
STACK = {"float": 400, "fixed": 500, "network": 130}


@dataclass(frozen=True)
class Sizes:
    """Bytes. ``ram``: what one watched machine takes, or a foreign network's arena."""

    constants: int
    code: int
    ram: int
    stack: int

    @property
    def flash(self) -> int:
        """Constants and code."""
        return self.constants + self.code

    def text(self) -> str:
        """For people: Markdown lines."""
        return (
            f"| flash | {self.flash:,} bytes: {self.constants:,} of constants, about {self.code:,} of code |\n"
            f"| RAM | {self.ram:,} bytes for each machine that is watched |\n"
            f"| stack | about {self.stack:,} bytes |"
        )


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
    ram = samples + scratch + 2 * 4 * features + arena(network).total + plan.ram_bytes + STATE
    return Sizes(constant_bytes(source), CODE[number], ram, STACK[number])


def foreign_sizes(source: str, network: Network) -> Sizes:
    """Of a foreign model's network."""
    constants = constant_bytes(source)
    return Sizes(constants, CODE["network"], arena(network).total, STACK["network"])
