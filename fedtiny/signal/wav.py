"""WAV files of PCM."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedtiny.errors import DataError
from fedtiny.signal.checks import check_rate, columns_in, reason
from fedtiny.signal.recording import Samples


@contextmanager
def open_wav(path: Path, rate: float | None) -> Iterator[wave.Wave_read]:
    """An open WAV that has samples, at the expected rate (any where None)."""
    try:
        with wave.open(str(path), "rb") as file:
            check_rate(path, file.getframerate(), rate)
            if not file.getnframes():
                raise DataError(f"{path}: empty; expected samples")
            yield file
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path}: not a WAV of PCM with 8, 16, 24 or 32 bit ({reason(error)})") from None


def read_wav(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> Samples:
    """PCM as float32 in -1..1, (samples, channels)."""
    with open_wav(path, rate) as file:
        width, count, frames = file.getsampwidth(), file.getnchannels(), file.getnframes()
        if channels and count != len(channels):
            raise DataError(f"{path}: {columns_in(count)}, expected {len(channels)} ({', '.join(channels)})")
        data = file.readframes(frames)
    if len(data) != frames * count * width:
        found = len(data) // (count * width)
        raise DataError(f"{path}: cut short at {found} samples, its header says {frames}")
    if width == 1:  # the only unsigned one
        values = np.frombuffer(data, np.uint8).astype(np.float32) - 128
    elif width == 3:
        wide = np.zeros((frames * count, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = (wide.view("<i4") >> 8).astype(np.float32)
    else:
        values = np.frombuffer(data, f"<i{width}").astype(np.float32)
    values *= np.float32(2.0 ** (1 - 8 * width))
    return values.reshape(frames, count)
