"""The whole export: a release's folder, built as it comes and run on windows, beside the agent's own pipeline."""

import ctypes
import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from building import WARNINGS, run, tool
from click.testing import CliRunner
from models import all_models

from fedtiny.cli import main
from fedtiny.config import load_config
from fedtiny.device import rules_of
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Watch
from fedtiny.protocol import codec
from fedtiny.protocol.messages import Base
from fedtiny.revision import to_message
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.windows import cut
from firmware_export.export import Options, export_release, write_folder
from firmware_export.image import read_image, write_image
from firmware_export.machine import machine_bytes, machine_of

LSB = 1 / 8192
LEARN = 60
FAILING = 15  # windows at the end that are labelled so
VERDICTS = ("learning", "unknown", "normal", "anomalous", "sensor")
ALARMS = ("cleared", "raised", "acknowledged")


def finding_type(fixed: bool) -> type[ctypes.Structure]:
    value = ctypes.c_int32 if fixed else ctypes.c_float

    class Found(ctypes.Structure):
        _fields_ = (
            ("verdict", ctypes.c_int),
            ("alarm", ctypes.c_int),
            ("changed", ctypes.c_bool),
            ("learned", ctypes.c_uint8),
            ("score", value),
            ("level", value),
            ("threshold", value),
            ("revision", ctypes.c_uint32),
        )

    return Found


class Firmware:
    """An export, built as a library; one watched machine."""

    def __init__(self, folder: Path, work: Path, *, fixed: bool, int16: bool) -> None:
        source = work / "unit.c"
        work.mkdir()
        source.write_text(
            '#include "fedtiny_model.h"\n'
            "extern const fedtiny_watch *unit(void);\n"
            "extern fedtiny_status receive(const fedtiny_watch *, int, const uint8_t *, size_t);\n"
            "FEDTINY_MODEL_WATCH(pump);\n"
            "static uint32_t storage[2][FEDTINY_MODEL_HEAD_MACHINE_WORDS];\n"
            "static fedtiny_head_slot slots[2];\n"
            "const fedtiny_watch *unit(void) { return &pump; }\n"
            "fedtiny_status receive(const fedtiny_watch *watch, int n, const uint8_t *bytes, size_t count) {\n"
            "    size_t used; fedtiny_status status; fedtiny_head_slot *slot = &slots[n];\n"
            "    if (slot->storage == NULL) {\n"
            "        fedtiny_heads *heads = &watch->state->heads;\n"
            "        fedtiny_head_init(slot, &watch->release->base, heads, storage[n], sizeof storage[n]);\n"
            "        (void)fedtiny_head_begin(slot, false);\n"
            "    }\n"
            "    status = fedtiny_head_write(slot, bytes, count, &used);\n"
            "    return (status == FEDTINY_OK) ? fedtiny_head_apply(slot) : status;\n"
            "}\n"
        )
        src = folder / "src"
        out = work / "firmware.so"
        run(
            [
                tool("gcc"),
                *WARNINGS,
                "-O1",
                "-fPIC",
                "-shared",
                f"-I{src}",
                *sorted(src.glob("*.c")),
                source,
                "-lm",
                "-o",
                out,
            ]
        )
        self.library = library = ctypes.CDLL(str(out))
        library.unit.restype = ctypes.c_void_p
        library.fedtiny_push.restype = ctypes.c_size_t
        self.watch = ctypes.c_void_p(library.unit())
        self.finding = finding_type(fixed)
        self.unit = 65536.0 if fixed else 1.0
        self.sample = np.int16 if int16 else np.float32

    def start(self) -> None:
        assert self.library.fedtiny_model_selftest(self.watch) == 0
        assert self.library.fedtiny_start(self.watch) == 0

    def receive(self, image: bytes, slot: int = 0) -> int:
        """A piece of a head image, which is applied when it is complete."""
        return self.library.receive(self.watch, slot, image, ctypes.c_size_t(len(image)))

    def findings(self, samples: np.ndarray) -> list[dict[str, float]]:
        """Findings of the windows that samples (length, channels) complete, pushed in uneven pieces."""
        frames = np.ascontiguousarray(samples.astype(self.sample))
        at, found, finding = 0, [], self.finding()
        pieces = iter(np.random.default_rng(0).integers(1, 4000, 10_000).tolist())
        while at < len(frames):
            piece = frames[at : at + next(pieces)]
            at += self.library.fedtiny_push(
                self.watch, piece.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(piece))
            )
            status = self.library.fedtiny_run(self.watch, ctypes.byref(finding))
            assert status in (0, 1)
            if status == 0:
                row = {name: getattr(finding, name) for name, _ in finding._fields_}
                found.append(row | {name: row[name] / self.unit for name in ("score", "level", "threshold")})
        return found


@pytest.fixture(scope="module")
def samples():
    """(normal, later) counts (length, channels) of one machine that the release was not trained on; later it fails."""
    machine = open_fleet(None).machines["gearbox-06"]
    parts: dict[int, list[np.ndarray]] = {-1: [], 0: [], 1: []}
    for recording in machine.recordings():
        parts[recording.label].append(np.rint(recording.samples / LSB).astype(np.int16))
    return np.concatenate(parts[0]), np.concatenate(parts[-1] + parts[1])


class Agent:
    """The agent's own pipeline on the same samples."""

    def __init__(self, release) -> None:
        self.rules = rules_of(load_config(None, edge__learn_windows=LEARN).edge)
        self.watch = Watch(Network(release), self.rules)

    def findings(self, counts: np.ndarray):
        plan = self.watch.network.features.plan
        windows = cut(counts * np.float32(LSB), plan.window, plan.hop)
        return [self.watch.take(row[None]) for row in self.watch.network.features(windows)]


KINDS = {"float": (None, "float"), "float-int16": (LSB, "float"), "fixed": (LSB, "fixed")}


def build(tmp_path, release, agent, kind: str, *, learned: bool, head: Head | None = None) -> Firmware:
    lsb, number = KINDS[kind]
    options = Options(rules=agent.rules, number=number, lsb=lsb)
    watch = agent.watch if learned else None
    write_folder(tmp_path / "out", export_release(release, options, head=head, watch=watch).files)
    return Firmware(tmp_path / "out", tmp_path / "build", fixed=number == "fixed", int16=lsb is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_firmware_goes_on_where_the_agent_stopped(kind, release, samples, tmp_path):
    normal, later = samples
    agent = Agent(release)
    learning = LEARN * release.manifest.window
    agent.findings(normal[:learning])
    firmware = build(tmp_path, release, agent, kind, learned=True)
    firmware.start()
    rest = np.concatenate([normal[learning:], later])
    expected = agent.findings(rest)
    found = firmware.findings(rest if KINDS[kind][0] else rest * np.float32(LSB))
    assert len(found) == len(expected) > 50
    scores = np.array([[ours["score"], theirs.score] for ours, theirs in zip(found, expected, strict=True)])
    off = np.abs(scores[:, 0] / scores[:, 1] - 1)
    assert np.median(off) < (1e-2 if kind == "fixed" else 1e-3)
    assert off.max() < 0.05  # one input on the other side of a rounding
    assert {theirs.verdict for theirs in expected} == {"normal", "anomalous"}
    for ours, theirs in zip(found, expected, strict=True):
        if abs(theirs.score / theirs.threshold - 1) > 0.02:
            assert VERDICTS[ours["verdict"]] == theirs.verdict
            assert bool(ours["changed"]) == theirs.changed
    assert ALARMS[found[-1]["alarm"]] == "raised" == agent.watch.alarm.state


@pytest.mark.parametrize("kind", ["float", "fixed"])
def test_firmware_learns_a_machine_by_itself_and_tells_its_fault(kind, release, samples, tmp_path):
    normal, later = samples
    firmware = build(tmp_path, release, Agent(release), kind, learned=False)
    firmware.start()
    scale = 1 if kind == "fixed" else np.float32(LSB)
    found = firmware.findings(normal * scale)
    assert [VERDICTS[row["verdict"]] for row in found[:LEARN]] == ["learning"] * LEARN
    assert [row["learned"] for row in found[:LEARN]] == sorted(row["learned"] for row in found[:LEARN])
    healthy = [VERDICTS[row["verdict"]] for row in found[LEARN:]]
    assert healthy.count("normal") >= 0.9 * len(healthy)
    failing = firmware.findings(later * scale)
    last = [VERDICTS[row["verdict"]] for row in failing[-FAILING:]]
    assert last.count("anomalous") >= 0.9 * FAILING
    assert ALARMS[failing[-1]["alarm"]] == "raised"


@pytest.fixture
def other_head(release):
    weights = release.head.weights * np.float32(0.9) + np.float32(0.01)
    return Head(weights, release.head.output_min, release.head.output_max)


@pytest.mark.parametrize("kind", ["float-int16", "fixed"])
def test_a_head_that_comes_at_run_time_is_scored_with_as_if_it_had_been_exported(
    kind, release, samples, other_head, tmp_path
):
    normal, later = samples
    agent = Agent(release)
    learning = LEARN * release.manifest.window
    agent.findings(normal[:learning])
    firmware = build(tmp_path, release, agent, kind, learned=True)
    firmware.start()
    agent.watch.set_head(other_head)
    fixed = KINDS[kind][1] == "fixed"
    section = machine_bytes(machine_of(agent.watch), fixed_point=fixed)
    image = write_image(release, other_head, 7, "tflite", fixed_point=fixed, machine=section)
    assert firmware.findings(normal[: release.manifest.window])[0]["revision"] == 0
    firmware.start()
    assert firmware.receive(image[:1000]) == 1
    assert firmware.receive(image[1000:]) == 0
    rest = np.concatenate([normal[learning:], later])
    found, expected = firmware.findings(rest), agent.findings(rest)
    assert {row["revision"] for row in found} == {7}
    ratios = [ours["score"] / theirs.score for ours, theirs in zip(found, expected, strict=True)]
    assert np.abs(np.array(ratios) - 1).max() < 0.05


def test_a_head_without_what_was_learned_waits_for_the_alarm_and_is_learned_under(
    release, samples, other_head, tmp_path
):
    normal, later = samples
    agent = Agent(release)
    learning = LEARN * release.manifest.window
    agent.findings(normal[:learning])
    firmware = build(tmp_path, release, agent, "fixed", learned=True)
    firmware.start()
    failing = firmware.findings(later)
    assert ALARMS[failing[-1]["alarm"]] == "raised"
    assert firmware.receive(write_image(release, other_head, 7, "tflite", fixed_point=True)) == 0
    assert firmware.findings(later[-release.manifest.window :])[0]["revision"] == 0
    found = firmware.findings(normal)
    at = next(i for i, row in enumerate(found) if row["revision"] == 7)
    assert ALARMS[found[at]["alarm"]] == "cleared"
    assert VERDICTS[found[at]["verdict"]] == "learning"
    assert VERDICTS[found[-1]["verdict"]] == "normal"


@pytest.mark.parametrize(
    ("file", "array", "wrong"),
    [
        ("fedtiny_model.c", "fedtiny_model_weights_1[", lambda number: str(int(number) ^ 1)),
        ("fedtiny_model_golden.c", "fedtiny_model_noise_features[", lambda number: "99.0f"),
        ("fedtiny_model_golden.c", "fedtiny_model_noise_features[", lambda number: "(0.0f / 0.0f)"),
    ],
)
def test_the_self_test_notices_a_single_wrong_number(file, array, wrong, release, tmp_path):
    options = Options(rules=Agent(release).rules)
    write_folder(tmp_path / "out", export_release(release, options).files)
    model = tmp_path / "out" / "src" / file
    lines = model.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if array in line) + 1
    first, _, rest = lines[at].strip().partition(",")
    lines[at] = f"    {wrong(first)},{rest}"
    model.write_text("\n".join(lines) + "\n")
    firmware = Firmware(tmp_path / "out", tmp_path / "build", fixed=False, int16=False)
    assert firmware.library.fedtiny_model_selftest(firmware.watch) == -10


def test_a_dead_sensor_is_neither_learned_nor_scored(release, samples, tmp_path):
    normal, _ = samples
    window = release.manifest.window
    firmware = build(tmp_path, release, Agent(release), "float", learned=False)
    dead = np.full((3 * window, 2), 0.5, np.float32)
    assert firmware.library.fedtiny_push(firmware.watch, dead.ctypes.data_as(ctypes.c_void_p), window) == window
    assert firmware.library.fedtiny_run(firmware.watch, ctypes.byref(firmware.finding())) == -2  # not started
    firmware.start()
    healthy = normal * np.float32(LSB)
    one_wire_off = healthy[:window].copy()
    one_wire_off[:, 1] = 0
    not_a_number = healthy[:window].copy()
    not_a_number[7, 0] = np.nan
    for broken in (dead, one_wire_off, not_a_number):
        found = firmware.findings(broken)
        assert {VERDICTS[row["verdict"]] for row in found} == {"sensor"}
        assert {row["learned"] for row in found} == {0}
    found = firmware.findings(healthy)
    assert VERDICTS[found[-1]["verdict"]] == "normal"
    found = firmware.findings(np.concatenate([dead, dead]))
    assert {(VERDICTS[row["verdict"]], row["score"], row["alarm"]) for row in found} == {("sensor", 0.0, 0)}


def test_a_head_that_is_in_use_does_not_come_twice(release, samples, other_head, tmp_path):
    normal, _ = samples
    firmware = build(tmp_path, release, Agent(release), "fixed", learned=False)
    firmware.start()
    image = write_image(release, other_head, 7, "tflite", fixed_point=True)
    assert firmware.receive(image) == 0
    assert VERDICTS[firmware.findings(normal)[-1]["verdict"]] == "normal"
    assert firmware.receive(image, slot=1) == -9
    assert VERDICTS[firmware.findings(normal)[0]["verdict"]] == "normal"


def test_a_bad_machine_section_leaves_a_standing_alarm_alone(release, samples, other_head, tmp_path):
    normal, later = samples
    agent = Agent(release)
    agent.findings(normal[: LEARN * release.manifest.window])
    firmware = build(tmp_path, release, agent, "float-int16", learned=True)
    firmware.start()
    assert ALARMS[firmware.findings(later)[-1]["alarm"]] == "raised"
    good = machine_bytes(machine_of(agent.watch), fixed_point=False)
    for bad in (good[:8] + struct.pack("<f", -1) + good[12:], good[:-4], b"\0" * 3):
        image = write_image(release, other_head, 7, "tflite", fixed_point=False, machine=bad)
        assert firmware.receive(image) < 0
        found = firmware.findings(later[-release.manifest.window :])[0]
        assert (found["revision"], ALARMS[found["alarm"]]) == (0, "raised")


def test_heads_that_come_faster_than_learning_do_not_keep_it_from_watching(release, samples, other_head, tmp_path):
    normal, _ = samples
    firmware = build(tmp_path, release, Agent(release), "fixed", learned=False)
    firmware.start()
    found = []
    for revision, at in enumerate(range(0, len(normal), 10 * release.manifest.window), 1):
        image = write_image(release, other_head, revision, "tflite", fixed_point=True)
        firmware.receive(image, slot=revision % 2)
        found += firmware.findings(normal[at : at + 10 * release.manifest.window])
    assert VERDICTS[found[-1]["verdict"]] == "normal"


@pytest.mark.parametrize("kind", ["float-int16", "fixed"])
def test_a_signal_that_never_varies_is_normal_where_it_was_learned(kind, release, tmp_path):
    firmware = build(tmp_path, release, Agent(release), kind, learned=False)
    firmware.start()
    square = np.where(np.arange(70 * release.manifest.window) // 16 % 2, 4000, -4000)
    found = firmware.findings(np.column_stack([square, square]))
    assert [VERDICTS[row["verdict"]] for row in found[LEARN:]] == ["normal"] * (len(found) - LEARN)


def test_models_of_other_options_do_not_link_with_this_runtime(release, tmp_path):
    rules = Agent(release).rules
    for name, lsb in (("one", None), ("other", LSB)):
        files = export_release(release, Options(rules=rules, name=name, lsb=lsb)).files
        write_folder(tmp_path / name, files)
        run([tool("gcc"), "-c", "-std=c99", *sorted((tmp_path / name / "src").glob("*.c"))], cwd=tmp_path / name)
    runtime = [path for path in (tmp_path / "one").glob("*.o") if path.name.startswith("fedtiny")]
    for name, links in (("one", True), ("other", False)):
        model = sorted((tmp_path / name).glob(f"{name}_model*.o"))
        command = [tool("gcc"), "-shared", "-Wl,-z,defs", *runtime, *model, "-lm", "-o", tmp_path / "linked.so"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert (done.returncode == 0) == links
        assert links or "fedtiny_build_0_0_1" in done.stderr


def export(*arguments: object):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_export_says_what_it_made_and_writes_into_new_folders_only(release_path, tmp_path):
    done = export(release_path, "--out", tmp_path / "out", "--json", "--lsb", LSB, "--number", "fixed")
    told = json.loads(done.stdout)
    assert told["release_id"] == Release.open(release_path).id
    assert told["checked_by"].startswith(("litert", "tflite"))
    assert all((tmp_path / "out" / name).stat().st_size for name in told["files"])
    before = sorted(tmp_path.rglob("*"))
    again = export(release_path, "--out", tmp_path / "out")
    assert again.exit_code == 1
    assert "not an empty folder" in again.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--number", "fixed"), "int16"),
        (("--lsb", "0"), "lsb"),
        (("--machine", "nowhere"), "no agent's state"),
        (("--name", "3d"), "expected a letter"),
        (("--learn-windows", "4"), "learn_windows"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_no_folder(flags, said, release_path, tmp_path):
    done = export(release_path, "--out", tmp_path / "out", *flags)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "nowhere").exists()


def test_a_foreign_model_is_its_network_alone(tmp_path):
    name, tflite = next(iter(all_models().items()))
    (tmp_path / "other.tflite").write_bytes(tflite)
    done = export(tmp_path / "other.tflite", "--out", tmp_path / "out", "--name", "other")
    assert done.exit_code == 0, name + done.stderr
    source = tmp_path / "main.c"
    source.write_text(
        '#include "other_model.h"\nstatic int32_t arena[OTHER_MODEL_ARENA_BYTES / 4u];\n'
        "int main(void) { return (int)other_model_selftest((int8_t *)arena); }\n"
    )
    src = tmp_path / "out" / "src"
    run([tool("gcc"), *WARNINGS, f"-I{src}", *src.glob("*.c"), source, "-o", tmp_path / "program"])
    run([tmp_path / "program"])


def test_the_fleets_head_becomes_an_image(release_path, other_head, tmp_path):
    release = Release.open(release_path)
    payload = codec.encode(to_message(other_head, Base(release_id=release.id, revision=3)))
    (tmp_path / "head.cbor").write_bytes(payload)
    arguments = ["head", "image", "--release", release_path, "--message", tmp_path / "head.cbor"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--out", str(tmp_path / "head.bin")])
    assert done.exit_code == 0, done.stderr
    image = read_image((tmp_path / "head.bin").read_bytes())
    assert (image.revision, image.release_id) == (3, release.id)
