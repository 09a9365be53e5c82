"""What a user types, and what comes back."""

import json

import click
import numpy as np
import pytest
from click.testing import CliRunner

from fedtiny.cli import main
from fedtiny.signal.fleet import open_fleet


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def commands(command, path=()):
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_has_help_with_an_example(path):
    found = run(*path, "--help")
    assert found.exit_code == 0
    assert f"Example: fedtiny {' '.join(path)}" in found.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect", "nope.tflite"], 1, "nope.tflite: cannot be read: No such file"),
        (["train", "--data", "nope"], 1, "nope: no such file or folder"),
        (["train", "--config", "nope.toml"], 1, "nope.toml: cannot be read"),
        (["edge", "run"], 2, "give this device an id"),
        (["edge", "run", "--device", "A b"], 1, "id 'A b': expected lower-case letters"),
        (["edge", "run", "--device", "press-9"], 1, "machine 'press-9' is not in the simulator: it has fan-02"),
        (["edge", "run", "--device", "fan-08", "--port", "99999"], 1, "broker.port: found 99999"),
        (["edge", "run", "--seed", "-1"], 2, "-1 is not in the range"),
        (["edge", "score", "nope"], 2, "give --release, or --state"),
        (["coordinator", "--release", "nope"], 1, "nope: cannot be read"),
        (["demo", "--data", "nope"], 1, "nope: no such file or folder"),
        (["monitor", "--once", "--port", "1", "--timeout", "5"], 1, "127.0.0.1:1 cannot be reached"),
    ],
)
def test_a_mistake_gets_one_clear_line(arguments, code, words):
    found = run(*arguments)
    assert (found.exit_code, found.exception.__class__) == (code, SystemExit)
    assert words in found.output.splitlines()[-1]


def test_inspect_tells_what_is_in_a_release(release_path, release):
    assert release.id in run("inspect", release_path).output
    told = json.loads(run("inspect", release_path, "--json").output)
    assert told["id"] == release.id
    assert [layer["trainable"] for layer in told["layers"]] == [False, False, False, True]
    assert told["manifest"]["gate"]["rank_correlation"] >= 0.98


def test_score_learns_from_the_first_recordings_and_names_the_failing_ones(release_path, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    labels = []
    for number, recording in enumerate(open_fleet(None).machines["fan-08"].recordings()):
        if recording.label >= 0:
            np.savetxt(folder / f"{number}.csv", recording.samples, delimiter=",", fmt="%.6g")
            labels.append(recording.label)
    found = run("edge", "score", folder, "--release", release_path, "--learn-windows", 40, "--json")
    rows = [json.loads(line) for line in found.output.splitlines()]
    assert len(rows) == len(labels)
    assert all(row["anomalous"] is None for row in rows[:40])
    later = [(row["anomalous"], label) for row, label in zip(rows[40:], labels[40:], strict=True)]
    assert np.mean([anomalous for anomalous, label in later if label == 1]) > 0.5
    assert np.mean([anomalous for anomalous, label in later if label == 0]) < 0.2


def test_score_says_how_many_windows_are_missing(release_path, tmp_path):
    np.savetxt(tmp_path / "one.csv", np.ones((2048, 2)), delimiter=",")
    found = run("edge", "score", tmp_path / "one.csv", "--release", release_path)
    assert found.exit_code == 1
    assert "hold 1 windows of 2048 samples, but 60 of one operating point are needed" in found.output
