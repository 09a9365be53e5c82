import numpy as np
import pytest

from fedtiny.model.interpreter import BATCH, Interpreter


def quantised_one_by_one(interpreter: Interpreter, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs, hidden = zip(*(interpreter(row[None]) for row in inputs), strict=True)
    return np.concatenate(outputs), np.concatenate(hidden)


@pytest.mark.parametrize("runtime", ["litert", "tflite"])
def test_rounding_does_not_depend_on_how_many_windows_are_run_at_a_time(release, runtime, rng):
    """Windows from well inside the int8 range to far outside, in batches of changing sizes."""
    interpreter = Interpreter(release.data, runtime, release.hidden_tensor)
    spread = np.repeat([0.5, 2, 50], BATCH)[:, None]
    inputs = (spread * rng.normal(size=(len(spread), len(release.manifest.mean)))).astype(np.float32)
    outputs, hidden = quantised_one_by_one(interpreter, inputs)
    for size in (2, 7, BATCH, BATCH + 1, len(inputs), 1):
        parts = [interpreter(inputs[at : at + size]) for at in range(0, len(inputs), size)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), outputs)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), hidden)
        np.testing.assert_array_equal(interpreter.reconstruct(inputs[:size]), outputs[:size])
    assert [part.shape for part in interpreter(inputs[:0])] == [(0, outputs.shape[1]), (0, hidden.shape[1])]


def test_a_result_stays_when_the_next_window_is_run(release, rng):
    interpreter = Interpreter(release.data, "auto", release.hidden_tensor)
    one, other = rng.normal(size=(2, 1, len(release.manifest.mean))).astype(np.float32)
    first, _ = interpreter(one)
    kept = first.copy()
    assert (interpreter(other)[0] != kept).any()
    np.testing.assert_array_equal(first, kept)
