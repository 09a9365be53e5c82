import socket

import pytest

from fedtiny.config import load_config
from fedtiny.preflight import preflight


@pytest.fixture
def broker_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def findings(**settings) -> dict[str, tuple[bool, str]]:
    return {one.what: (one.fine, one.text) for one in preflight(load_config(None, **settings))}


def test_a_device_that_can_start(broker_port, tmp_path):
    found = findings(device="fan-08", state=tmp_path / "state", broker__port=broker_port)
    assert list(found) == ["device", "state", "interpreter", "source", "broker"]
    assert all(fine for fine, _ in found.values()), found
    assert found["broker"][1] == f"127.0.0.1:{broker_port} answers"
    assert "Hz" in found["source"][1]
    assert list((tmp_path / "state").iterdir()) == []


def test_each_thing_that_is_wrong_is_named(tmp_path):
    (tmp_path / "file").touch()
    found = findings(state=tmp_path / "file", broker__host="nowhere.invalid", source__data="none.npz")
    assert found["device"] == (False, 'not set; device = "..." in the configuration')
    assert not found["state"][0]
    assert str(tmp_path / "file") in found["state"][1]
    assert found["interpreter"][0]
    assert not found["source"][0]
    assert found["broker"] == (False, "nowhere.invalid:1883: no such host")


def test_a_broker_that_refuses():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening
        port = unused.getsockname()[1]
        assert findings(device="fan-08", broker__port=port)["broker"] == (
            False,
            f"127.0.0.1:{port}: Connection refused",
        )
