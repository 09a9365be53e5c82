"""Fuzzes the head loader of the firmware, in C, under libFuzzer and the sanitizers, for each rounding profile.

The target is ``tests/firmware/fuzz_head.c``. What it finds is printed and kept in ``fuzz-crashes``; the exit code says
whether there was anything. Run it with ``python -m benchmarks.firmware.fuzz``; it writes ``fuzz`` of
``benchmarks/results/firmware.json``.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.firmware.bench import record
from fedtiny.errors import ConfigError
from firmware_export.generate import RUNTIME, config_header
from firmware_export.rounding import Profile

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "tests" / "firmware" / "fuzz_head.c"
SOURCES = (TARGET, *(RUNTIME / f"fedtiny_{name}.c" for name in ("head", "crc", "nn", "score", "alarm")))
BUILDS: tuple[tuple[Profile, int], ...] = (("tflite", 0), ("tflm", 1), ("xnn", 0))  # rounding, fixed point
CHECKS = "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"
LONGEST = 2048  # bytes of a stream
CRASHES = Path("fuzz-crashes")


@dataclass(frozen=True)
class Fuzzed:
    """What one run came to. covered: edges of the program that were reached; finding: what libFuzzer says, or ""."""

    executions: int
    covered: int
    finding: str


def build(folder: Path, rounding: Profile, fixed_point: int, compiler: str = "clang") -> Path:
    """The target for one rounding profile, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_header(rounding, fixed_point=bool(fixed_point), sample_int16=False)
    (folder / "fedtiny_config.h").write_text(config)
    program = folder / "fuzz_head"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-g", *CHECKS]
    command = [compiler, *flags, f"-I{folder}", f"-I{RUNTIME}", *map(str, SOURCES), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"the fuzz target does not build: {done.stderr.strip()}")
    return program


def fuzz(program: Path, seconds: int, seed: int, crashes: Path) -> Fuzzed:
    """Run the target for ``seconds``; inputs that end it are left in ``crashes``."""
    crashes.mkdir(exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-seed={seed}", "-timeout=10"]
    command = [str(program), *limits, "-print_final_stats=1", f"-artifact_prefix={crashes}/"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 60)
    executions = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    finding = "" if done.returncode == 0 else "\n".join(done.stderr.splitlines()[-40:])
    return Fuzzed(int(executions[1]) if executions else 0, int(edges[-1]) if edges else 0, finding)


def main() -> None:
    """Fuzz every profile, print what was done and found, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="in all")
    parser.add_argument("--seed", type=int, default=20261123)
    asked = parser.parse_args()
    seconds = max(asked.seconds // len(BUILDS), 1)
    builds = {}
    for rounding, fixed_point in BUILDS:
        with tempfile.TemporaryDirectory() as folder:
            program = build(Path(folder), rounding, fixed_point)
            found = fuzz(program, seconds, asked.seed, CRASHES)
        builds[rounding] = asdict(found)
        outcome = "CRASH" if found.finding else "ok"
        print(f"{rounding:<7} {found.executions:>10,} streams, {found.covered} edges, {outcome}", flush=True)
        if found.finding:
            print(found.finding)
    print(record(fuzz={"seed": asked.seed, "seconds_each": seconds, "builds": builds}))
    wrong = sum(bool(found["finding"]) for found in builds.values())
    if wrong:
        sys.exit(f"SHORT: {wrong} of {len(BUILDS)} builds end on some stream; see {CRASHES}")


if __name__ == "__main__":
    main()
