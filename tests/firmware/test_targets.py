"""Every layout as a user gets it, built by the tools that are here; stubs/ stands in for the others.

Real: cmake, gcc, g++, arm-none-eabi-gcc. Stand-ins with the signatures of the real ones: Arduino.h, Zephyr's and
ESP-IDF's headers and CMake functions, TensorFlow Lite Micro's classes.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from building import WARNINGS, run, tool

from fedtiny.errors import ConfigError
from firmware_export.targets import TARGETS, Facts, lay_out

STUBS = Path(__file__).with_name("stubs")
KINDS = ("samples", "features", "network")
C_FLAGS = " ".join(WARNINGS)
CXX_FLAGS = ["-std=gnu++11", "-fno-exceptions", "-Wall", "-Wextra", "-Werror"]


def sources(kind: str) -> dict[str, str]:
    runtime, model = STUBS / "model", STUBS / "model" / ("network" if kind == "network" else "watch")
    return {path.name: path.read_text() for path in (*runtime.glob("*.*"), *model.iterdir())}


def facts(kind: str = "samples", **changes) -> Facts:
    about = Facts(
        name="pump",
        release_id="0123456789abcdef" * 4,
        revision=3,
        sample_rate_hz=25600.0,
        channels=("x", "the */ odd one"),
        window=2560,
        hop=1280,
        number="float",
        sample_int16=False,
        lsb=None,
        profile="tflite",
        foreign=kind == "network",
        given=kind == "features",
        sizes="| flash | 20,000 bytes |",
        version="0.1.0",
        tflite=b"",
    )
    return replace(about, **changes)


def written(folder: Path, target: str, kind: str = "samples", **changes) -> Path:
    for name, content in lay_out(target, sources(kind), facts(kind, **changes)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
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


def first_line(program: Path) -> str:
    """What a program that never ends says first."""
    with subprocess.Popen([tool("stdbuf"), "-oL", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_c_builds_and_runs_without_a_warning(tmp_path, kind):
    folder = written(tmp_path / "export", "c", kind)
    cmake(folder, tmp_path / "build", CFLAGS=C_FLAGS)
    run([tool("cmake"), "--build", tmp_path / "build"])
    example = tmp_path / "build" / "fedtiny-pump-example"
    if kind == "network":
        assert run([example]).stdout.split() == ["0", "1", "2"]
    else:
        assert first_line(example) == "learning, 0 %\n"


def test_c_can_be_installed_found_and_linked(tmp_path):
    folder = written(tmp_path / "export", "c")
    cmake(folder, tmp_path / "build", "-DFEDTINY_EXAMPLE=OFF", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}")
    run([tool("cmake"), "--build", tmp_path / "build", "--target", "install"])
    user = tmp_path / "user"
    user.mkdir()
    (user / "main.c").write_text(
        '#include "pump_model.h"\nPUMP_MODEL_WATCH(pump);\nint main(void) { return fedtiny_start(&pump) != FEDTINY_OK; }\n'
    )
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(fedtiny-pump REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user fedtiny-pump::fedtiny-pump)\n"
    )
    cmake(user, tmp_path / "used", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    run([tool("cmake"), "--build", tmp_path / "used"])
    run([tmp_path / "used" / "user"])


def test_c_builds_for_a_cortex_m4(tmp_path):
    tool("arm-none-eabi-gcc")
    folder = written(tmp_path / "export", "c")
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={folder / 'cmake' / 'cortex-m4.cmake'}"
    cmake(folder, tmp_path / "build", toolchain, CFLAGS=C_FLAGS)
    run([tool("cmake"), "--build", tmp_path / "build"])
    attributes = run(["arm-none-eabi-readelf", "-A", tmp_path / "build" / "fedtiny-pump-example"]).stdout
    assert "Tag_CPU_arch: v7E-M" in attributes


@pytest.mark.parametrize("kind", KINDS)
def test_arduino_sketch_compiles_as_its_builder_does_it(tmp_path, kind):
    folder = written(tmp_path / "export", "arduino", kind)
    sketch, *others = (folder / "examples").rglob("*.ino")
    assert not others
    assert sketch.stem == sketch.parent.name  # or the IDE does not open it
    text = sketch.read_text()
    source = tmp_path / "sketch.cpp"
    source.write_text(f'#include <Arduino.h>\n#line 1 "{sketch.name}"\n{text}')
    compiled(source, [STUBS / "arduino", folder / "src"], *CXX_FLAGS, compiler="g++")
    for path in (folder / "src").glob("*.c"):
        compiled(path, [folder / "src"], "-std=gnu11", "-Wall", "-Wextra", "-Werror")


def test_arduino_library_properties_are_those_of_the_specification(tmp_path):
    """arduino.github.io/arduino-cli, Library specification: fields, name, version, category."""
    folder = written(tmp_path, "arduino")
    fields = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= fields.keys()
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] == "Data Processing"
    assert (folder / "src" / fields["includes"]).is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_platformio_manifest_and_example(tmp_path, kind):
    """docs.platformio.org, library.json: fields and their limits."""
    folder = written(tmp_path, "platformio", kind)
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
def test_zephyr_module_and_sample(tmp_path, kind):
    folder = written(tmp_path / "export", "zephyr", kind)
    (sample,) = (folder / "samples").iterdir()
    output = cmake(sample, tmp_path / "build", ZEPHYR_BASE=str(STUBS / "cmake" / "zephyr"))
    assert {path.resolve() for path in said(output, "source")} == set((folder / "src").glob("*.c"))
    (include,) = said(output, "include")
    for path in said(output, "source"):
        compiled(path, [include], *WARNINGS)
    compiled(sample / "src" / "main.c", [STUBS / "zephyr", include], "-std=gnu11", "-Wall", "-Wextra", "-Werror")
    module = (folder / "zephyr" / "module.yml").read_text()
    assert "cmake: zephyr\n" in module
    assert "kconfig: zephyr/Kconfig\n" in module
    symbol = (folder / "zephyr" / "Kconfig").read_text().split()[1]
    assert f"CONFIG_{symbol}=y" in (sample / "prj.conf").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_esp_idf_component_and_example(tmp_path, kind):
    folder = written(tmp_path / "export", "esp-idf", kind)
    (example,) = (folder / "examples").iterdir()
    output = cmake(example, tmp_path / "build", IDF_PATH=str(STUBS / "cmake" / "idf"))
    files = {path.resolve() for path in said(output, "source")}
    assert files == {*(folder / "src").glob("*.c"), example / "main" / "main.c"}
    (include,) = said(output, "include")
    for path in files:
        compiled(path, [STUBS / "esp-idf", include], "-std=gnu17", "-Wall", "-Wextra", "-Werror")


def test_tflm_holds_the_file_and_compiles(tmp_path, release):
    folder = written(tmp_path, "tflm", tflite=release.data)
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


def test_tflm_arena_is_the_smallest(tmp_path, release):
    pytest.importorskip("tflite_micro")
    folder = written(tmp_path, "tflm", tflite=release.data)
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


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_left_to_fill_in(release, target):
    for kind, changes in (
        ("samples", {}),
        ("features", {"name": "fedtiny", "number": "fixed"}),
        ("network", {}),
        ("samples", {"sample_int16": True, "lsb": 0.000598}),
    ):
        about = facts(kind, tflite=release.data, **changes)
        files = lay_out(target, sources(kind), about)
        for name, text in files.items():
            assert "@{" not in name
            assert "@{" not in str(text), name
            assert max(map(len, str(text).splitlines())) <= 120 or name.endswith((".json", ".md", ".yaml")), name
        readme = str(files["README.md"])
        assert about.release_id in readme
        assert about.sizes in readme
        assert ("0.000598" in readme) == about.sample_int16


def test_counts_of_a_converter_as_samples(tmp_path):
    folder = written(tmp_path, "platformio", sample_int16=True, lsb=0.001)
    runtime = folder / "src" / "fedtiny.h"
    runtime.write_text(runtime.read_text().replace("float fedtiny_sample", "int16_t fedtiny_sample"))
    main = folder / "examples" / "watch" / "src" / "main.c"
    compiled(main, [folder / "src"], *WARNINGS, link=sorted((folder / "src").glob("*.c")))


def test_headers_from_cplusplus(tmp_path):
    folder = written(tmp_path, "c")
    for header in (folder / "src").glob("*.h"):
        source = tmp_path / "includes.cpp"
        source.write_text(f'#include "{header.name}"\n')
        compiled(source, [folder / "src"], *CXX_FLAGS, compiler="g++")


def test_names_and_targets_that_cannot_be():
    with pytest.raises(ConfigError, match="--name '3d'"):
        facts(name="3d")
    with pytest.raises(ConfigError, match="target 'mbed': expected one of c, arduino"):
        lay_out("mbed", sources("samples"), facts())
