"""The front end of a build that has CMSIS-DSP, with a stand-in for it: its transform is used, the features are ours."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from building import RUNTIME, WARNINGS, run, tool, write_config

from fedtiny.signal.features import BandEnergies
from fedtiny.signal.windows import WindowPlan
from firmware_export.features import front_of, front_source

STUB = Path(__file__).parent / "stubs" / "cmsis"
WINDOWS = {32: 1, 256: 1, 2048: 1, 8192: 1, 2560: 0}  # whether CMSIS-DSP has a transform of half as many points
CHANNELS, BANDS, LSB, FLOOR = 2, 8, 9.81 / 2048, 1e-6


@pytest.fixture(scope="module", params=["float", "int16"])
def build(request, tmp_path_factory):
    """(whether samples are int16, the front ends of WINDOWS as a library)."""
    int16, folder = request.param == "int16", tmp_path_factory.mktemp(request.param)
    text = '#include "fedtiny_features.h"\n'
    for window in WINDOWS:
        manifest = SimpleNamespace(
            feature="log-band-energies", window=window, channels="xy"[:CHANNELS], bands=BANDS, floor=FLOOR
        )
        front = front_of(SimpleNamespace(manifest=manifest), lsb=LSB if int16 else None, fixed_point=False)
        text += front_source(front, f"f{window}")
        text += f"const fedtiny_front *front_{window}(void);\n"
        text += f"const fedtiny_front *front_{window}(void) {{ return &f{window}_front; }}\n"
    (folder / "fronts.c").write_text(text)
    config, out = write_config(folder, sample_int16=int16), folder / "it.so"
    sources = [folder / "fronts.c", RUNTIME / "fedtiny_features_float.c", STUB / "arm_cfft_f32.c"]
    flags = [*WARNINGS, "-O1", "-fPIC", "-shared", "-DFEDTINY_CMSIS_DSP"]
    run([tool("gcc"), *flags, f"-I{config}", f"-I{RUNTIME}", f"-I{STUB}", *sources, "-lm", "-o", out])
    return int16, ctypes.CDLL(str(out))


@pytest.mark.parametrize("refusing", [0, 1])
@pytest.mark.parametrize("window", WINDOWS)
def test_features_are_those_of_python(build, window, refusing, rng):
    int16, library = build
    counts = np.rint(rng.normal(100, 900, (window, CHANNELS))).astype(np.int16)
    frames = counts if int16 else (counts * LSB).astype(np.float32)
    scratch, features = np.empty(window, np.float32), np.empty(CHANNELS * BANDS, np.float32)
    transforms = ctypes.c_uint32.in_dll(library, "transforms")
    ctypes.c_uint32.in_dll(library, "refusing").value = refusing
    before, front = transforms.value, getattr(library, f"front_{window}")
    front.restype = ctypes.c_void_p
    arrays = [ctypes.c_void_p(array.ctypes.data) for array in (frames, scratch, features)]
    library.fedtiny_features(ctypes.c_void_p(front()), *arrays)
    expected = BandEnergies(WindowPlan(window, window, BANDS), CHANNELS, FLOOR)(counts[None] * LSB)[0]
    assert np.abs(features - expected).max() <= 1e-4
    assert transforms.value - before == (0 if refusing else CHANNELS * WINDOWS[window])
