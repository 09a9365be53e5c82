"""What the self-test on a board must come to: golden values for noise that both sides make themselves."""

import zlib

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.artifact import Release
from firmware_export.csource import array
from firmware_export.features import Front, fixed_features
from firmware_export.network import Network
from firmware_export.rounding import Profile, run

VECTORS = 64
TOLERANCE = 2e-4  # of float32 features, natural log units: the compiler chooses the order of operations
HALF = 1 << 13  # samples of the noise lie in [-HALF, HALF)


def noise(count: int) -> NDArray[np.uint32]:
    """The first ``count`` numbers of xorshift32 from state 1, as ``fedtiny_golden.c`` makes them."""
    x, numbers = 1, np.empty(count, np.uint32)
    for i in range(count):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        numbers[i] = x
    return numbers


def noise_inputs(network: Network) -> NDArray[np.int8]:
    """int8 (VECTORS, inputs)."""
    upper = (noise(VECTORS * network.inputs) >> 24).astype(np.int32) - 128
    return upper.astype(np.int8).reshape(VECTORS, network.inputs)


def golden_source(network: Network, profile: Profile, release: Release | None, front: Front | None, name: str) -> str:
    """``<name>_model_golden.c``: the constants, and ``<name>_model_selftest``."""
    outputs = run(network, profile, noise_inputs(network))
    sums = np.array([zlib.crc32(row.tobytes()) for row in outputs], np.uint32)
    parts = [f'#include "{name}_model.h"\n', array("uint32_t", f"{name}_model_sums", sums)]
    features, tolerance = "NULL", "0"
    if front is not None and release is not None:
        values, features = _features(release, front), f"{name}_model_noise_features"
        kind, tolerance = ("int32_t", "0") if front.fixed_point else ("float", f"{TOLERANCE}f")
        parts.append(array(kind, features, values))
    members = f"{VECTORS}, {name}_model_sums, {features}, {tolerance}"
    parts.append(f"static const fedtiny_golden {name}_model_golden = {{{members}}};\n")
    if release is None:
        parts.append(
            f"fedtiny_status {name}_model_selftest(int8_t *arena) {{\n"
            f"    return fedtiny_golden_network(&{name}_model_network, &{name}_model_golden, arena);\n}}\n"
        )
    else:
        parts.append(
            f"fedtiny_status {name}_model_selftest(const fedtiny_watch *watch) {{\n"
            f"    return fedtiny_selftest(watch, &{name}_model_golden);\n}}\n"
        )
    return "\n".join(parts)


def _features(release: Release, front: Front) -> NDArray[np.generic]:
    """Features of one window of noise, as the firmware sees it."""
    manifest = release.manifest
    channels = len(manifest.channels)
    counts = (noise(manifest.window * channels) >> 18).astype(np.int32) - HALF
    frames = counts.reshape(1, manifest.window, channels)
    if front.fixed_point:
        return fixed_features(front, frames.astype(np.int16))[0]
    unit = front.lsb if front.lsb is not None else 1 / HALF
    return release.features(frames * np.float32(unit))[0]
