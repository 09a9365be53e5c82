"""The network on four emulated Cortex-M cores: every model under every rounding profile, equal to the last bit."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from building import tool, write_config
from models import all_models

from benchmarks.firmware.boards import BOARDS, COMPILER, EMULATOR, RUNTIME, build, run_on
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.features import BandEnergies, fit_standardisation
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.windows import WindowPlan
from firmware_export.check import check_profile, golden_inputs
from firmware_export.image import write_image
from firmware_export.network import Network, read_network
from firmware_export.packing import network_source
from firmware_export.rounding import Profile, run

DATA = os.environ.get("FEDTINY_DATA")  # before the tests' environment is isolated
PROFILES = get_args(Profile)
DEFAULT_WINDOWS, HEAD_WINDOWS, OTHER_WINDOWS, FEMTO_WINDOWS = 6000, 2000, 200, 400


@dataclass(frozen=True)
class Case:
    """A model in the firmware, what it is fed, and the file that the interpreter runs for comparison."""

    model: str
    tflite: bytes
    network: Network
    inputs: np.ndarray
    with_head: bool = False


def as_inputs(network: Network, z: np.ndarray) -> np.ndarray:
    """Standardised features (n, inputs) as the model's int8."""
    first = network.layers[0]
    return np.clip(np.rint(z / first.in_scale) + first.in_zero, -128, 127).astype(np.int8)


def recorded(release: Release, machine, network: Network) -> np.ndarray:
    """Windows of the simulator, and of FEMTO's last bearing where the data is here; each by its own standardisation."""
    parts = [release.standardisation(machine.features)]
    if DATA is not None:
        femto = open_fleet(Path(DATA) / "femto" / "femto.npz")
        extract = BandEnergies(WindowPlan(2560, 2560, network.inputs // 2), 2, 1e-8)
        features = machine_features(femto, list(femto.machines)[-1], extract).features
        parts.append(fit_standardisation(features[: len(features) // 4])(features)[-FEMTO_WINDOWS:])
    return np.concatenate([as_inputs(network, part) for part in parts])


@pytest.fixture(scope="module")
def new_head(release) -> Head:
    """As a round might make it: every weight a little off, and another range."""
    off = np.random.default_rng(3).normal(1, 0.1, release.head.weights.shape).astype(np.float32)
    return Head(release.head.weights * off, release.head.output_min * 1.2, release.head.output_max * 0.9)


@pytest.fixture(scope="module")
def cases(release, machine, new_head) -> list[Case]:
    """More than 10,000 windows, most of them through the release."""
    network = read_network(release.data, "release")
    windows = recorded(release, machine, network)
    golden = golden_inputs(network, DEFAULT_WINDOWS - len(windows), seed=1)
    patched = release.patched(new_head)
    made = [
        Case("release", release.data, network, np.concatenate([windows, golden])),
        Case("release", patched, read_network(patched, "patched"), windows[:HEAD_WINDOWS], with_head=True),
    ]
    for name, tflite in all_models().items():
        network = read_network(tflite, name)
        count = DEFAULT_WINDOWS // 4 if name in ("default", "per_tensor") else OTHER_WINDOWS
        made.append(Case(name, tflite, network, golden_inputs(network, count, seed=2)))
    assert sum(len(case.inputs) for case in made) >= 10_000
    return made


def write_models(folder: Path, profile: Profile, cases: list[Case], release: Release) -> Path:
    """The constants of all models in one C file."""
    networks = {case.model: case.network for case in cases if not case.with_head}
    sources = [network_source(network, profile, name) for name, network in networks.items()]
    identity = ", ".join(map(str, bytes.fromhex(release.id)))
    path = folder / "models.c"
    path.write_text(
        '#include "fedtiny_head.h"\n\n' + "\n".join(sources) + "\n"
        "extern const fedtiny_network *const models[];\n"
        f"const fedtiny_network *const models[] = {{{', '.join(f'&{name}_network' for name in networks)}}};\n"
        f"static const uint8_t release_id[32] = {{{identity}}};\n"
        "extern const fedtiny_head_base head_base;\n"
        f"const fedtiny_head_base head_base = {{&release_layers[{len(release.layers) - 1}], release_id, 0}};\n"
    )
    return path


def run_board(board: str, folder: Path, models: Path, cases: list[Case]) -> list[np.ndarray]:
    """Build for one board and run all windows there; the outputs of each case."""
    sources = [RUNTIME / f"fedtiny_{name}.c" for name in ("nn", "head", "crc", "score", "alarm")]
    elf = build(board, [*sources, models, Path(__file__).parent / "boards" / "replay.c"], models.parent, folder)
    names = list(dict.fromkeys(case.model for case in cases))
    with (folder / "windows.bin").open("wb") as file:
        for case in cases:
            np.array([names.index(case.model), len(case.inputs), case.with_head], "<i4").tofile(file)
            case.inputs.tofile(file)
    done = run_on(board, elf, folder)
    assert done.returncode == 0, f"{board}: {done.returncode} {done.stderr}"
    outputs = np.fromfile(folder / "outputs.bin", np.int8)
    counts = [len(case.inputs) * case.network.outputs for case in cases]
    assert len(outputs) == sum(counts)
    parts = np.split(outputs, np.cumsum(counts)[:-1])
    return [part.reshape(len(case.inputs), -1) for case, part in zip(cases, parts, strict=True)]


@pytest.fixture(scope="module")
def outputs(cases, release, new_head, tmp_path_factory):
    """What each board computes under each profile: futures by (board, profile); two emulators at a time."""
    for name in (COMPILER, EMULATOR):
        tool(name)
    with ThreadPoolExecutor(2) as pool:
        futures = {}
        for profile in PROFILES:
            models = write_models(write_config(tmp_path_factory.mktemp(profile), profile), profile, cases, release)
            for board in BOARDS:
                folder = tmp_path_factory.mktemp(f"{profile}-{board}")
                (folder / "head.bin").write_bytes(write_image(release, new_head, 1, profile, fixed_point=False))
                futures[board, profile] = pool.submit(run_board, board, folder, models, cases)
        yield futures


@pytest.mark.parametrize("profile", PROFILES)
def test_interpreter_agrees_on_these_windows(cases, profile):
    for case in cases:
        check_profile(case.tflite, case.network, profile, case.inputs)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("profile", PROFILES)
def test_boards_compute_what_the_interpreter_computes(cases, outputs, board, profile):
    for case, found in zip(cases, outputs[board, profile].result(), strict=True):
        expected = run(case.network, profile, case.inputs)
        wrong = np.argwhere(found != expected)
        assert not len(wrong), f"{case.model}, head {case.with_head}: {len(wrong)} outputs differ, first {wrong[0]}"


@pytest.mark.parametrize("board", BOARDS)
def test_measurements(board, tmp_path):
    for name in (COMPILER, EMULATOR):
        tool(name)
    elf = build(board, [Path(__file__).parent / "boards" / "known.c"], write_config(tmp_path), tmp_path)
    (tmp_path / "hang.bin").write_bytes(bytes(4))
    assert run_on(board, elf, tmp_path).returncode == 7
    calibration, turns = np.fromfile(tmp_path / "ticks.bin", "<u4")
    assert turns * (2_000_000 / calibration) == pytest.approx(2 * 54_321, abs=50)  # a tick is 40 instructions at most
    number, stack = np.fromfile(tmp_path / "stack.bin", "<u4")
    assert number == 6
    assert 256 <= stack <= 256 + 64


def test_a_program_that_hangs_or_fails_is_noticed(tmp_path):
    for name in (COMPILER, EMULATOR):
        tool(name)
    elf = build("M4", [Path(__file__).parent / "boards" / "known.c"], write_config(tmp_path), tmp_path)
    assert run_on("M4", elf, tmp_path).returncode == 2  # no hang.bin
    (tmp_path / "hang.bin").write_bytes(bytes([1, 0, 0, 0]))
    with pytest.raises(subprocess.TimeoutExpired):
        run_on("M4", elf, tmp_path, timeout_s=2)
