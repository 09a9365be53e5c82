"""What an operator reads who tells a device something; that it obeys is in integration/test_agent."""

import socket
import threading
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedtiny.config import Config, Trust, load_config
from fedtiny.errors import ConfigError, TransportError
from fedtiny.protocol.signing import public_key
from fedtiny.provisioning.fleet import add_device, init_fleet
from fedtiny.tell import tell


@pytest.mark.parametrize("name", ["coordinator", "devices/pump-07"])
def test_only_an_operator_is_obeyed_and_nobody_else_sends(tmp_path, name):
    init_fleet(tmp_path / "fleet", "plant", "nowhere.invalid")
    add_device(tmp_path / "fleet", "pump-07")
    home = tmp_path / "fleet" / name
    with pytest.raises(ConfigError, match=rf"{name}/key\.pem: this key is none of trust\.operator"):
        tell(load_config(home / "fedtiny.toml"), "pump-07", "acknowledge")


def test_no_key_where_devices_ask_for_one():
    trust = Trust(operator=(public_key(Ed25519PrivateKey.generate()),))
    with pytest.raises(ConfigError, match=r"trust\.key: not set"):
        tell(Config(trust=trust), "pump-07", "acknowledge")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x20\x02\x00\x05", "refused the connection: not authorized; nothing was sent"),
        (b"\x20\x02\x00\x00", "connection lost .*; it is not known whether the broker has the command"),
    ],
)
def test_a_broker_that_goes(answer, words):
    """Before it has let us in, and after the command has left us."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with suppress(OSError), server.accept()[0] as client:
                client.recv(1024)
                client.sendall(answer)
                client.recv(1024)

        broker = threading.Thread(target=serve)
        broker.start()
        with pytest.raises(TransportError, match=words):
            tell(load_config(None, broker__port=server.getsockname()[1]), "pump-07", "acknowledge")
        broker.join()
