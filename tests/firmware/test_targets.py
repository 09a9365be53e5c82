"""Every layout as a user gets it, built by the tools that are here; stubs/ stands in for the others.

Real: cmake, gcc, g++, arm-none-eabi-gcc. Stand-ins with the signatures of the real ones: Arduino.h, Zephyr's and
ESP-IDF's headers and CMake functions, TensorFlow Lite Micro's classes.
"""

import ctypes
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from building import WARNINGS, run, tool

from fedtiny.errors import ConfigError
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from firmware_export import rounding
from firmware_export.export import Export, Options, export_network, export_release, write_folder
from firmware_export.generate import config_header, foreign_header, foreign_source, runtime_sources
from firmware_export.image import write_image
from firmware_export.machine import machine_bytes, machine_of
from firmware_export.network import read_network
from firmware_export.targets import TARGETS, lay_out

STUBS = Path(__file__).with_name("stubs")
KINDS = ("samples", "counts", "features", "network")
RULES = Rules(rate=1e-3, learn=60, keep=1000, votes=3, window=5, quiet=0.8, points=1)
C_FLAGS = " ".join(WARNINGS)
CXX_FLAGS = ["-std=gnu++11", "-fno-exceptions", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture(scope="module")
def exports(training, release) -> dict[str, Export]:
    """By kind: float samples, int16 samples in fixed point, ready-made features, a foreign model (of the release)."""
    options = Options(rules=RULES, name="pump")
    return {
        "samples": export_release(release, options),
        "counts": export_release(release, replace(options, number="fixed", lsb=0.000598)),
        "features": export_release(Release.open(training / "given.tflite"), options),
        "network": export_network(release.data, "release.tflite", options),
    }


def sources(export: Export) -> dict[str, str]:
    return {name.removeprefix("src/"): str(text) for name, text in export.files.items() if name.startswith("src/")}


def written(folder: Path, target: str, export: Export, **changes) -> Path:
    write_folder(folder, lay_out(target, sources(export), replace(export.facts, **changes)))
    return folder


def cmake(folder: Path, build: Path, *options: object, **environment: str) -> str:
    """Configure; what CMake said."""
    done = run([tool("cmake"), "-S", folder, "-B", build, *options], env=os.environ | environment)
    return done.stdout + done.stderr


def compiled(
    source: Path, include: list[Path], *flags: str, compiler: str = "gcc", link: list[Path] | None = None
) -> Path:
    out = source.with_suffix(".out")
    paths = [f"-I{folder}" for folder in include]
    run([tool(compiler), *flags, *paths, *([] if link else ["-c"]), source, *(link or []), "-lm", "-o", out])
    return out


def said_by(program: Path, until: Callable[[list[str]], bool], given: IO[bytes] | None = None) -> list[str]:
    """The lines of a program that never ends, which reads ``given``."""
    lines: list[str] = []
    with subprocess.Popen([tool("stdbuf"), "-oL", program], stdin=given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if until(lines):
                break
        process.kill()
    return lines


def check_watching(lines: list[str]) -> None:
    """The example learns what its noise is like, then gives scores of the size of its threshold."""
    *learning, score = lines
    percents = [int(re.fullmatch(r"learning, (\d+) %", line)[1]) for line in learning]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) == RULES.learn
    assert 0 < int(re.fullmatch(r"score is (\d+) % of the threshold", score)[1]) < 200


def check_network(lines: list[str], release: Release) -> None:
    """The example's outputs for its inputs are those of the release."""
    network = read_network(release.data, "release")
    expected = rounding.run(network, "tflite", np.arange(network.inputs, dtype=np.int8)[None] % 64)[0]
    assert [int(line) for line in lines[: network.outputs]] == expected.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_c_builds_and_runs_without_a_warning(tmp_path, exports, release, kind):
    folder = written(tmp_path / "export", "c", exports[kind])
    cmake(folder, tmp_path / "build", CFLAGS=C_FLAGS)
    run([tool("cmake"), "--build", tmp_path / "build"])
    example = tmp_path / "build" / "fedtiny-pump-example"
    if kind == "network":
        check_network(run([example]).stdout.split(), release)
    else:
        check_watching(said_by(example, lambda lines: lines[-1].startswith("score")))


def test_c_can_be_installed_found_and_linked(tmp_path, exports):
    folder = written(tmp_path / "export", "c", exports["samples"])
    cmake(folder, tmp_path / "build", "-DFEDTINY_EXAMPLE=OFF", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}")
    run([tool("cmake"), "--build", tmp_path / "build", "--target", "install"])
    user = tmp_path / "user"
    user.mkdir()
    (user / "main.c").write_text(
        '#include "pump_model.h"\nPUMP_MODEL_WATCH(pump);\n'
        "int main(void) { return pump_model_selftest(&pump) != FEDTINY_OK; }\n"
    )
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(fedtiny-pump REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user fedtiny-pump::fedtiny-pump)\n"
    )
    cmake(user, tmp_path / "used", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    run([tool("cmake"), "--build", tmp_path / "used"])
    run([tmp_path / "used" / "user"])


def test_c_builds_for_a_cortex_m4(tmp_path, exports):
    tool("arm-none-eabi-gcc")
    folder = written(tmp_path / "export", "c", exports["samples"])
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={folder / 'cmake' / 'cortex-m4.cmake'}"
    cmake(folder, tmp_path / "build", toolchain, CFLAGS=C_FLAGS)
    run([tool("cmake"), "--build", tmp_path / "build"])
    attributes = run(["arm-none-eabi-readelf", "-A", tmp_path / "build" / "fedtiny-pump-example"]).stdout
    assert "Tag_CPU_arch: v7E-M" in attributes


@pytest.mark.parametrize("kind", KINDS)
def test_arduino_sketch_builds_as_its_builder_does_it(tmp_path, exports, release, kind):
    """C files as C, the sketch as C++ behind #include <Arduino.h>; the program runs on a board made of stand-ins."""
    folder = written(tmp_path / "export", "arduino", exports[kind])
    sketch, *others = (folder / "examples").rglob("*.ino")
    assert not others
    assert sketch.stem == sketch.parent.name  # or the IDE does not open it
    files = sorted((folder / "src").glob("*.c"))
    objects = [compiled(path, [folder / "src"], "-std=gnu11", "-Wall", "-Wextra", "-Werror") for path in files]
    source = tmp_path / "sketch.cpp"
    source.write_text(f'#include <Arduino.h>\n#line 1 "{sketch.name}"\n{sketch.read_text()}')
    include = [STUBS / "arduino", folder / "src"]
    board = STUBS / "arduino" / "Arduino.cpp"
    program = compiled(source, include, *CXX_FLAGS, compiler="g++", link=[board, *objects])
    if kind == "network":
        check_network(said_by(program, lambda lines: len(lines) == release.layers[-1].weights.shape[0]), release)
    else:
        check_watching(said_by(program, lambda lines: lines[-1].startswith("score")))


def test_arduino_library_properties_are_those_of_the_specification(tmp_path, exports):
    """arduino.github.io/arduino-cli, Library specification: fields, name, version, category."""
    folder = written(tmp_path / "library", "arduino", exports["samples"])
    fields = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= fields.keys()
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] == "Data Processing"
    assert (folder / "src" / fields["includes"]).is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_platformio_manifest_and_example(tmp_path, exports, kind):
    """docs.platformio.org, library.json: fields and their limits."""
    folder = written(tmp_path / "library", "platformio", exports[kind])
    manifest = json.loads((folder / "library.json").read_text())
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest["name"])
    assert len(manifest["name"]) <= 50
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert len(manifest["description"]) <= 255
    assert all(re.fullmatch(r"[a-z\d\-_+. ]{1,50}", word) for word in manifest["keywords"])
    assert manifest["frameworks"] == manifest["platforms"] == "*"
    assert (folder / "src" / manifest["headers"]).is_file()
    (example,) = manifest["examples"]
    assert all((folder / example["base"] / name).is_file() for name in example["files"])
    main = folder / example["base"] / "src" / "main.c"
    compiled(main, [folder / "src"], *WARNINGS, link=sorted((folder / "src").glob("*.c")))


def said(output: str, what: str) -> list[Path]:
    return [Path(path) for path in re.findall(rf"^{what} (.*)$", output, re.MULTILINE)]


@pytest.mark.parametrize("kind", KINDS)
def test_zephyr_module_and_sample(tmp_path, exports, kind):
    folder = written(tmp_path / "export", "zephyr", exports[kind])
    (sample,) = (folder / "samples").iterdir()
    output = cmake(sample, tmp_path / "build", ZEPHYR_BASE=str(STUBS / "cmake" / "zephyr"))
    assert {path.resolve() for path in said(output, "source")} == set((folder / "src").glob("*.c"))
    (include,) = said(output, "include")
    for path in said(output, "source"):
        compiled(path, [include], *WARNINGS)
    main = sample / "src" / "main.c"
    compiled(main, [STUBS / "zephyr", include], "-std=gnu11", "-Wall", "-Wextra", "-Werror")
    module = (folder / "zephyr" / "module.yml").read_text()
    assert "cmake: zephyr\n" in module
    assert "kconfig: zephyr/Kconfig\n" in module
    symbol = (folder / "zephyr" / "Kconfig").read_text().split()[1]
    assert f"CONFIG_{symbol}=y" in (sample / "prj.conf").read_text()


@pytest.fixture(scope="module")
def images(release, machine) -> Callable[..., bytes]:
    """Head images of the release's head for the firmware ``samples``, with what an agent has learned of a machine."""
    watch = Watch(Network(release), replace(RULES, learn=40))
    for window in machine.normal[:50]:
        watch.take(window[None])
    section = machine_bytes(machine_of(watch), fixed_point=False)

    def image(revision: int, profile: rounding.Profile = "tflite") -> bytes:
        return write_image(release, release.head, revision, profile, fixed_point=False, machine=section)

    return image


def damaged(image: bytes) -> bytes:
    return image[:500] + bytes([image[500] ^ 1]) + image[501:]


def test_examples_take_heads_and_say_what_they_refuse(tmp_path, exports, images):
    """The example of the layout c, as a library: its main is never called."""
    folder = written(tmp_path / "export", "c", exports["samples"])
    unit = tmp_path / "unit.c"
    unit.write_text(
        '#define main example(void); int example\n#include "main.c"\n'
        "int begin(void);\nint begin(void) { start_heads(); return fedtiny_start(&machine); }\n"
        "int receive(const uint8_t *bytes, size_t count);\n"
        "int receive(const uint8_t *bytes, size_t count) { return receive_head(bytes, count); }\n"
        "const char *news(int status);\nconst char *news(int status) { return head_news((fedtiny_status)status); }\n"
        "uint32_t window(void);\nuint32_t window(void) {\n"
        "    fedtiny_finding finding;\n    while (!watch_machine(&finding)) { }\n    return finding.revision;\n}\n"
    )
    files = [*(folder / "src").glob("*.c")]
    include = [folder / "src", folder / "example"]
    library = ctypes.CDLL(str(compiled(unit, include, *WARNINGS, "-fPIC", "-shared", link=files)))
    library.news.restype = ctypes.c_char_p
    assert library.begin() == 0

    def news(data: bytes) -> list[str]:
        pieces = [data[at : at + 32] for at in range(0, len(data), 32)]
        said = [library.receive(piece, ctypes.c_size_t(len(piece))) for piece in [*pieces, b""]]
        return [library.news(status).decode() for status in said if status != 1]

    assert news(b"noise" * 100) == []
    assert news(images(7)) == ["a new head"]
    assert library.window() == 7
    assert news(damaged(images(8))) == ["head refused: damaged on its way"]
    assert news(images(8, "xnn")) == ["head refused: of another release, or for another --profile or --number"]
    assert news(images(6)) == ["head refused: no newer than the one in use"]
    assert library.window() == 7
    assert news(images(8)) == ["a new head"]
    assert news(images(9)) == ["head refused: the one before it has not taken effect yet"]
    assert library.window() == 8
    assert news(images(9)) == ["a new head"]
    assert library.window() == 9


def test_zephyr_sample_takes_heads_from_an_interrupt(tmp_path, exports, images):
    """The sample on a board of stand-ins, whose UART receives its standard input."""
    folder = written(tmp_path / "export", "zephyr", exports["samples"])
    files = [STUBS / "zephyr" / "board.c", *(folder / "src").glob("*.c")]
    main = folder / "samples" / "watch" / "src" / "main.c"
    program = compiled(main, [STUBS / "zephyr", folder / "src"], "-std=gnu11", "-O1", link=files)
    line = tmp_path / "line"
    line.write_bytes(damaged(images(1)) + images(2))
    expected = ["head refused: damaged on its way", "a new head"]
    with line.open("rb") as sent:
        lines = said_by(program, lambda lines: lines[-1] == expected[-1], sent)
    assert [text for text in lines if "head" in text] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_esp_idf_component_and_example(tmp_path, exports, kind):
    folder = written(tmp_path / "export", "esp-idf", exports[kind])
    (example,) = (folder / "examples").iterdir()
    output = cmake(example, tmp_path / "build", IDF_PATH=str(STUBS / "cmake" / "idf"))
    files = {path.resolve() for path in said(output, "source")}
    assert files == {*(folder / "src").glob("*.c"), example / "main" / "main.c"}
    (include,) = said(output, "include")
    for path in files:
        compiled(path, [STUBS / "esp-idf", include], "-std=gnu17", "-Wall", "-Wextra", "-Werror")


def test_tflm_holds_the_file_and_compiles(tmp_path, exports, release):
    folder = written(tmp_path / "export", "tflm", exports["samples"])
    for path in sorted(folder.rglob("*.cc")):
        compiled(path, [STUBS / "tflm", folder / "src"], "-std=c++17", "-Wall", "-Wextra", "-Werror", compiler="g++")
    dump = tmp_path / "dump.c"
    dump.write_text(
        '#include <stdio.h>\n#include "pump_tflite.h"\n'
        "int main(void) { return fwrite(pump_tflite, 1, PUMP_TFLITE_BYTES, stdout) != PUMP_TFLITE_BYTES\n"
        "    || ((size_t)pump_tflite % 16u) != 0u; }\n"
    )
    program = compiled(dump, [folder / "src"], *WARNINGS, link=[folder / "src" / "pump_tflite.c"])
    assert subprocess.run([program], capture_output=True, check=True).stdout == release.data


@pytest.mark.parametrize("wrong", [0, 1])
def test_tflm_self_test_and_example_beside_the_c_export(tmp_path, exports, release, wrong):
    """Against an interpreter made of the C export of the same model and name, under the rounding of TFLM."""
    network = read_network(release.data, "release")
    folder = written(tmp_path / "export", "tflm", exports["network"])
    beside = tmp_path / "beside"
    files = runtime_sources(foreign=True) | {
        "fedtiny_config.h": config_header("tflm", fixed_point=False, sample_int16=False),
        "pump_model.h": foreign_header("pump", network),
        "pump_model.c": foreign_source("pump", "tflm", network),
    }
    write_folder(beside, files)
    units = [*beside.glob("*.c"), *(folder / "src").glob("*.c")]
    objects = [compiled(path, [beside, folder / "src"], "-std=c99") for path in units]
    link = [STUBS / "tflm" / "interpreter.cc", *(folder / "src").glob("*.cc"), *objects]
    include = [STUBS / "tflm", folder / "src", beside]
    program = compiled(
        folder / "example" / "main.cc", include, "-std=c++17", f"-DWRONG={wrong}", compiler="g++", link=link
    )
    done = subprocess.run([program], capture_output=True, text=True)
    if wrong:
        assert (done.returncode, done.stdout) == (
            1,
            "this build does not compute what it should: see README.md, self-test\n",
        )
    else:
        inputs = np.arange(network.inputs, dtype=np.int8)[None] % 64
        assert list(map(int, done.stdout.split())) == rounding.run(network, "tflm", inputs)[0].tolist()


def test_tflm_arena_is_the_smallest(tmp_path, exports, release):
    if find_spec("tflite_micro") is None:
        has_wheel = (platform.system(), platform.machine()) == ("Linux", "x86_64")
        complain = pytest.fail if os.environ.get("CI") and has_wheel else pytest.skip
        complain("tflite-micro is not installed")
    folder = written(tmp_path / "export", "tflm", exports["samples"])
    glue = (folder / "src" / "pump_tflm.cc").read_text()
    (size,) = map(int, re.findall(r"kArenaBytes = (\d+);", glue))
    script = (
        "import sys; from tflite_micro import runtime\n"
        "runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), arena_size=int(sys.argv[1]))"
    )

    def fits(count: int) -> bool:
        command = [sys.executable, "-c", script, str(count)]
        return subprocess.run(command, input=release.data, capture_output=True).returncode == 0

    assert fits(size)
    assert not fits(size - 16)


def test_readme_says_how_it_judges(exports):
    facts = replace(exports["samples"].facts, window=2048, hop=1024, sample_rate_hz=1000.0)
    facts = replace(facts, learn_windows=60, votes=3, vote_window=5, learned=False)

    def readme(**changes: bool) -> str:
        return " ".join(str(lay_out("c", sources(exports["samples"]), replace(facts, **changes))["README.md"]).split())

    assert "from its first 60 windows (62.5 s of samples)" in readme()
    assert "once 3 of the last 5 windows voted" in readme()
    assert "judges from its first window" in readme(learned=True)


@pytest.mark.parametrize("target", TARGETS)
def test_a_network_alone_promises_no_watch(exports, target):
    files = lay_out(target, sources(exports["network"]), exports["network"].facts)
    for name in {"README.md", "zephyr/Kconfig"} & files.keys():
        assert not re.search("is watched|made-up noise|fedtiny_push|head image", str(files[name]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_left_to_fill_in(exports, target, kind):
    facts = replace(exports[kind].facts, name="fedtiny", channels=("x", "the */ odd @{one}"))
    files = lay_out(target, sources(exports[kind]), facts)
    for name, text in files.items():
        assert "@{" not in name
        assert "@{" not in str(text).replace("@{one}", ""), name
        if not name.startswith("src/") and name.endswith((".c", ".ino", ".cc")):
            assert max(map(len, str(text).splitlines())) <= 120, name
    readme = str(files["README.md"])
    assert facts.release_id in readme
    assert facts.sizes in readme
    assert ("0.000598" in readme) == (kind == "counts" and target != "tflm")
    if target == "tflm":
        assert not re.search("sample|window|alarm|score|hold", readme.replace("one machine", ""))


def test_odd_names_of_channels(tmp_path, exports):
    folder = written(tmp_path / "library", "platformio", exports["samples"], channels=("a\n*/ b", "@{x} $y \\"))
    compiled(folder / "examples" / "watch" / "src" / "main.c", [folder / "src"], *WARNINGS)


def test_headers_from_cplusplus(tmp_path, exports):
    folder = written(tmp_path / "library", "c", exports["samples"])
    for header in (folder / "src").glob("*.h"):
        source = tmp_path / "includes.cpp"
        source.write_text(f'#include "{header.name}"\n')
        compiled(source, [folder / "src"], *CXX_FLAGS, compiler="g++")


def test_names_and_targets_that_cannot_be(exports):
    with pytest.raises(ConfigError, match="--name '3d'"):
        replace(exports["samples"].facts, name="3d")
    with pytest.raises(ConfigError, match="target 'mbed': expected one of c, arduino"):
        lay_out("mbed", {}, exports["samples"].facts)
