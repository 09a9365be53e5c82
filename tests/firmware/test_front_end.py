"""The front end in C: float32 as Python computes it, fixed point equal to its integer twin, nothing overflows."""

import ctypes
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from building import RUNTIME, WARNINGS, compile_program, compile_shared, run, tool, write_config
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.errors import ConfigError
from fedtiny.signal.features import BandEnergies
from fedtiny.signal.windows import WindowPlan
from firmware_export.features import Front, fixed_features, front_of, front_source

KINDS = ["float", "int16", "fixed"]
SIZES = [(8, 1, 2), (12, 3, 3), (20, 2, 5), (36, 1, 9), (60, 2, 20), (128, 3, 32), (256, 1, 64), (300, 2, 64)]
SIZES += [(512, 1, 64), (1000, 2, 48), (2560, 2, 64), (8192, 1, 64), (20480, 1, 64)]
LSB, FLOOR = 9.81 / 2048, 1e-6  # a 16 g sensor in m/s^2; of what runs at 1 m/s^2
SOURCES = [RUNTIME / "fedtiny_features_float.c", RUNTIME / "fedtiny_features_fixed.c"]
NEAR, ROUNDING = 1e-4, 2e-5  # of float, relative; of fixed point, natural log units

TABLE = """#include "fedtiny_features.h"
{fronts}
extern const fedtiny_front *const fronts[{count}];
const fedtiny_front *const fronts[{count}] = {{{names}}};
"""
MAIN = """#include <stdio.h>
#include "fedtiny_features.h"
extern const fedtiny_front *const fronts[];
static fedtiny_sample frames[40960];
static fedtiny_wave scratch[20480];
static fedtiny_value features[128];
int main(void) {
    for (unsigned which = 0; which < COUNT; which++) {
        const fedtiny_front *front = fronts[which];
        while (fread(frames, sizeof frames[0] * front->channels, front->window, stdin) == front->window) {
            fedtiny_features(front, frames, scratch, features);
            fwrite(features, sizeof features[0] * front->channels, front->bands, stdout);
            if (getchar() != 'm') { break; }
        }
    }
    return 0;
}
"""


def front(size: tuple[int, int, int], kind: str, *, lsb: float = LSB, floor: float = FLOOR) -> Front:
    window, channels, bands = size
    manifest = {"feature": "log-band-energies", "window": window, "channels": "x" * channels, "bands": bands}
    release = SimpleNamespace(manifest=SimpleNamespace(**manifest, floor=floor))
    return front_of(release, lsb=None if kind == "float" else lsb, fixed_point=kind == "fixed")


def table_of(fronts: list[Front]) -> str:
    names = ", ".join(f"&f{i}_front" for i in range(len(fronts)))
    sources = "".join(front_source(one, f"f{i}") for i, one in enumerate(fronts))
    return TABLE.format(fronts=sources, count=len(fronts), names=names)


@dataclass
class Built:
    """The front ends of SIZES in C, of one kind."""

    kind: str
    fronts: list[Front]
    library: ctypes.CDLL

    def __call__(self, which: int, frames):
        one, pointers = self.fronts[which], (ctypes.c_void_p * len(self.fronts)).in_dll(self.library, "fronts")
        kind = np.int32 if self.kind == "fixed" else np.float32
        frames = np.ascontiguousarray(frames, np.float32 if self.kind == "float" else np.int16)
        scratch, features = np.full(one.window, -1, kind), np.empty(one.channels * one.bands, kind)
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (frames, scratch, features)]
        self.library.fedtiny_features(ctypes.c_void_p(pointers[which]), *arrays)
        return features

    def errors(self, which: int, counts):
        """(error, what Python says) of int16 ``counts`` (window, channels), natural log units."""
        one, size = self.fronts[which], SIZES[which]
        units = counts * LSB
        if self.kind == "float":
            counts = units = units.astype(np.float32)
        expected = BandEnergies(WindowPlan(size[0], size[0], size[2]), size[1], one.floor)(units[None])[0]
        found = self(which, counts)
        return np.abs(found / (65536 if self.kind == "fixed" else 1) - expected.astype(float)), expected


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Callable[[str], Built]:
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        fronts = [front(size, kind) for size in SIZES]
        config = write_config(folder, fixed_point=kind == "fixed", sample_int16=kind != "float")
        (folder / "table.c").write_text(table_of(fronts))
        made[kind] = Built(kind, fronts, compile_shared(folder, [folder / "table.c", *SOURCES], config))
    return lambda kind: made[kind]


def extremes(window: int, channels: int) -> dict[str, np.ndarray]:
    t, ones = np.arange(window)[:, None], np.ones((1, channels))
    signals = {
        "alternating": np.where(t % 2, 32767, -32768) * ones,
        "square": np.where(t * 4 // window % 2, -32768, 32767) * ones,
        "step": np.where(t < window // 2, 32767, -32768) * ones,
        "impulse": np.where(t == window // 2, 32767, -32768) * ones,
        "constant": -32768 * np.ones((window, channels)),
        "zeros": np.zeros((window, channels)),
        "one count": (t == 1) * ones,
    }
    return {name: signal.astype(np.int16) for name, signal in signals.items()}


def counts(size: tuple[int, int, int], seed: int, noise: float, offset: float, line: float):
    rng = np.random.default_rng(seed)
    turns = rng.uniform(0, size[0] / 2)
    signal = offset + rng.normal(0, noise, size[:2])
    signal += line * np.sin(2 * np.pi * turns * np.arange(size[0]) / size[0])[:, None]
    return np.clip(np.rint(signal), -32768, 32767).astype(np.int16)


signals = st.tuples(
    st.integers(0, len(SIZES) - 1),
    st.integers(0, 99),
    st.floats(-0.5, 4).map(lambda x: 10**x),
    st.floats(-20000, 20000),
    st.floats(0, 10),
)


def check(one: Built, which: int, error, expected) -> None:
    bound = ROUNDING if one.kind == "fixed" else NEAR * np.maximum(np.abs(expected), 0.05)
    assert (error <= bound).all(), (one.kind, SIZES[which], error.max())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(drawn=signals)
def test_the_features_are_those_of_python(built, kind, drawn):
    which, seed, noise, offset, line = drawn
    one = built(kind)
    frames = counts(SIZES[which], seed, noise, offset, noise * line)
    check(one, which, *one.errors(which, frames))
    if kind == "fixed":
        assert np.array_equal(one(which, frames), fixed_features(one.fronts[which], frames[None])[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", range(len(SIZES)), ids=[str(size[0]) for size in SIZES])
def test_nothing_overflows_at_the_ends_of_the_range(built, kind, which):
    one = built(kind)
    for name, frames in extremes(*SIZES[which][:2]).items():
        error, expected = one.errors(which, frames)
        assert (error <= 4 * NEAR * np.abs(expected)).all(), (name, error.max())
        if kind == "fixed":
            assert np.array_equal(one(which, frames), fixed_features(one.fronts[which], frames[None])[0]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(128, 3, 32), (2560, 2, 64), (8192, 1, 64)], ids=lambda size: str(size[0]))
def test_bands_far_below_a_line(built, kind, size):
    """The power of what lies far below the strongest bin: 1e-4 to 60 dB, 2 % to 100 dB."""
    which, one, window = SIZES.index(size), built(kind), size[0]
    line = 25000 * np.sin(2 * np.pi * (window // 5) * np.arange(window) / window)[:, None]
    peak = 25000 * np.sqrt(window / 6)  # of a spectrum in which a noise's bins have its deviation
    rng = np.random.default_rng(3)
    for below, bound in ((60, NEAR), (100, 200 * NEAR)):
        noise = rng.normal(0, peak / 10 ** (below / 20), size[:2])
        error, _ = one.errors(which, np.rint(line + noise).clip(-32768, 32767).astype(np.int16))
        assert error.max() <= bound, (below, error.max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_offset_leaves_the_first_bin_alone(built, kind):
    one, which = built(kind), SIZES.index((2560, 2, 64))
    for offset in (-32000, 0, 32000):
        frames = counts(SIZES[which], 1, 1.5, offset, 0)
        check(one, which, *one.errors(which, frames))


@pytest.mark.parametrize("floor", [1e-20, 1e-6, 1.0, 1e12])
def test_any_floor_in_fixed_point(floor):
    """A floor far below a count, and one far above all that a converter gives."""
    size = (256, 1, 64)
    one = front(size, "fixed", floor=floor, lsb=1e-3)
    reference = BandEnergies(WindowPlan(256, 256, 64), 1, floor)
    for frames in (counts(size, 1, 2, 0, 0), counts(size, 2, 8000, 100, 0), np.full((256, 1), 7, np.int16)):
        expected = reference(frames[None] * 1e-3)[0]
        assert np.abs(fixed_features(one, frames[None])[0] / 65536 - expected).max() <= ROUNDING


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_sanitizers_find_nothing(built, kind, compiler, tmp_path):
    one = built(kind)
    config = write_config(tmp_path, fixed_point=kind == "fixed", sample_int16=kind != "float")
    (tmp_path / "table.c").write_text(table_of(one.fronts))
    (tmp_path / "main.c").write_text(MAIN.replace("COUNT", str(len(SIZES)) + "u"))
    sources = [tmp_path / "main.c", tmp_path / "table.c", *SOURCES]
    program = compile_program(tmp_path, sources, config, compiler=compiler)
    given_bytes, expected = b"", b""
    for which, size in enumerate(SIZES):
        frames = [*extremes(*size[:2]).values(), counts(size, 5, 3000, 500, 9000)]
        if kind == "float":
            frames = [(x * LSB).astype(np.float32) for x in frames]
        given_bytes += b"m".join(x.tobytes() for x in frames) + b"."
        expected += b"".join(one(which, x).tobytes() for x in frames)
    (tmp_path / "in").write_bytes(given_bytes)
    with (tmp_path / "in").open("rb") as into, (tmp_path / "out").open("wb") as out:
        subprocess.run([program], stdin=into, stdout=out, check=True)
    found = np.frombuffer((tmp_path / "out").read_bytes(), np.int32 if kind == "fixed" else np.float32)
    wanted = np.frombuffer(expected, found.dtype)
    assert np.array_equal(found, wanted) if kind == "fixed" else np.allclose(found, wanted, rtol=NEAR, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_the_flash_that_it_says(kind, tmp_path):
    fronts = [front(size, kind) for size in [(128, 3, 32), (2560, 2, 64)]]
    config = write_config(tmp_path, fixed_point=kind == "fixed", sample_int16=kind != "float")
    (tmp_path / "table.c").write_text(table_of(fronts))
    compiler, sizer = tool("arm-none-eabi-gcc"), tool("arm-none-eabi-nm")
    flags = [*WARNINGS, "-O2", "-mcpu=cortex-m4", "-mthumb", f"-I{config}", f"-I{RUNTIME}"]
    for source in (tmp_path / "table.c", *SOURCES):
        run([compiler, *flags, "-c", source, "-o", tmp_path / f"{source.stem}.o"])
    lines = run([sizer, "-S", tmp_path / "table.o"]).stdout.splitlines()
    taken = {fields[3]: int(fields[1], 16) for fields in map(str.split, lines) if len(fields) == 4}
    for i, one in enumerate(fronts):
        assert sum(size for name, size in taken.items() if name.startswith(f"f{i}_")) == one.flash_bytes


def test_what_cannot_work_is_refused_with_what_would():
    with pytest.raises(ConfigError, match=r"window: 2568 samples.*nearest 2560 and 2592"):
        front((2568, 1, 8), "float")
    with pytest.raises(ConfigError, match=r"window: 2562 samples.*multiples of 4"):
        front((2562, 1, 8), "int16")
    with pytest.raises(ConfigError, match=r"window: 25600 samples.*8 to 20480.*nearest 20480"):
        front((25600, 1, 8), "fixed")
    assert front((25600, 1, 8), "int16").scratch_bytes == 102400
    with pytest.raises(ConfigError, match="lsb"):
        front_of(SimpleNamespace(manifest=SimpleNamespace(feature="log-band-energies")), lsb=None, fixed_point=True)
    for lsb in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="lsb"):
            front((256, 1, 8), "int16", lsb=lsb)
    with pytest.raises(ConfigError, match="range of float32"):
        front((256, 1, 8), "int16", lsb=1e-25)
    with pytest.raises(ConfigError, match="ready-made"):
        front_of(SimpleNamespace(manifest=SimpleNamespace(feature="given")), lsb=None, fixed_point=False)
