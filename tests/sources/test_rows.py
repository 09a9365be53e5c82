import gzip

import numpy as np
import pytest

from fedtiny.config import load_config
from fedtiny.errors import DataError
from fedtiny.sources import open_source
from fedtiny.sources.rows import Rows

TABLE = "time,rms,kurtosis\n10:00,0.5,3\n10:10,0.25,-1e-3\n\n10:20,2,4\n"


@pytest.fixture
def table(tmp_path):
    """A function: a table with this text, plain or compressed by its name."""

    def write(text: str, name: str = "rows.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_columns_by_name_a_row_a_recording(table, name) -> None:
    told = {"kind": "rows", "path": table("\ufeff" + TABLE, name), "channels": ["kurtosis", "rms"]}
    source = open_source(load_config(None, **{f"source__{key}": value for key, value in told.items()}))
    assert (source.channels, source.sample_rate_hz, source.live) == (("kurtosis", "rms"), 1.0, False)
    found = list(source.recordings())
    np.testing.assert_array_equal(
        np.stack([one.samples for one in found]), np.float32([[[3, 0.5]], [[-1e-3, 0.25]], [[4, 2]]])
    )
    assert found[0].samples.dtype == np.float32
    assert found[0].at is None
    for done, one in enumerate(found, 1):
        assert [one.name for one in source.recordings(one.cursor)] == [one.name for one in found[done:]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "column 'rms' is expected once in the header; found an empty file"),
        ("a,b\n1,2\n", "column 'rms' is expected once in the header; found a, b"),
        ("rms,rms\n1,2\n", "column 'rms' is expected once"),
    ],
)
def test_what_is_refused(table, text, words) -> None:
    with pytest.raises(DataError, match=words):
        list(Rows(table(text), ("rms",)).recordings())


def test_what_cannot_be_read_ends_nothing(table) -> None:
    found = list(Rows(table("t,rms\n1,2\n1,x\n1,nan\n1,1e39\n1\n1,7\n"), ("rms",)).recordings())
    assert [one.samples.tolist() for one in found[::5]] == [[[2.0]], [[7.0]]]
    assert all(np.isnan(one.samples).all() for one in found[1:4])  # the agent calls these a fault of the sensor
    assert (found[4].fault, found[4].cursor) == ("unreadable: row 5 has 1 column, expected 2", "5")


def test_the_time_of_a_row(table, caplog) -> None:
    for text in ("1076581959", "2004-02-12 10:32:39", "2004-02-12T11:32:39+01:00"):
        source = Rows(table(f"rms,when\n1,{text}\n"), time="when")
        assert source.channels == ("rms",)
        assert [one.at for one in source.recordings()] == [1076581959]
    (row,) = Rows(table("rms,when\n1,noon\n"), time="when").recordings()
    assert (row.at, row.samples.tolist()) == (None, [[1.0]])
    assert "time 'noon', expected Unix seconds or ISO 8601" in caplog.text


def test_a_damaged_or_missing_file(table, tmp_path) -> None:
    path = table(TABLE, "a.csv.gz")
    path.write_bytes(path.read_bytes()[:-12])
    for bad in (path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match=r"csv.*: cannot be read"):
            list(Rows(bad, ("rms",)).recordings())
