from pathlib import Path

import pytest
from pydantic import ValidationError

from fedtiny.config import Config, load_config
from fedtiny.errors import ConfigError


@pytest.fixture
def written(tmp_path):
    """A function: a configuration file with this text."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "fedtiny.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_defaults_the_file_and_flags_over_it(written):
    assert load_config(None) == Config()
    path = written('fleet = "site-2"\n[broker]\nport = 1884\n[train]\nhidden = [32, 8, 32]\n')
    config = load_config(path, broker__port=1885, edge__runtime=None, device="pump-7")
    assert (config.fleet, config.device, config.broker.port) == ("site-2", "pump-7", 1885)
    assert config.broker.host == Config().broker.host
    assert config.train.hidden == (32, 8, 32)
    assert config.edge.runtime == "auto"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        load_config(None).broker.port = 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flet = 1", ["unknown key 'flet'"]),
        ("[broker]\nprot = 1", ["unknown key 'broker.prot'"]),
        ("[brokers]\nport = 1", ["unknown key 'brokers'"]),
        ("broker = 1", ["broker", "found 1"]),
        ("[broker]\nport = 'x'", ["broker.port", "found 'x'", "valid integer"]),
        ("[broker]\nport = 0", ["broker.port", "found 0", "greater than or equal to 1"]),
        ("[broker]\nport = 65536", ["broker.port", "found 65536", "less than or equal to 65535"]),
        ("[signal]\nwindow = 4", ["signal.window", "found 4", "greater than or equal to 8"]),
        ("[signal]\nhop = 0.5", ["signal.hop", "found 0.5", "integer"]),
        ("[coordinator]\ndevices = 2\nquorum = 3", ["coordinator", "devices (2) must not be below the quorum (3)"]),
        ("[train]\nhidden = [64, 0]", ["train.hidden.1", "found 0"]),
        ("[train]\nlearning_rate = nan", ["train.learning_rate", "found nan"]),
        ("[edge]\nfalse_alarm_rate = 1.0", ["edge.false_alarm_rate", "found 1.0", "less than 1"]),
        ("[coordinator]\nmode = 'mean'", ["coordinator.mode", "found 'mean'", "'rounds' or 'buffered'"]),
        ("[coordinator]\nquorum = 3\ninvite = 2", ["coordinator", "invite (2)", "quorum (3)"]),
        ("[broker]\ncertificate = 'c.pem'", ["broker", "certificate and key go together"]),
        ("[broker]\ncertificate = 'c.pem'\nkey = 'k.pem'", ["broker", "needs ca"]),
        ("[trust]\noperator = ['c2hvcnQ=']", ["trust.operator", "32 bytes in base64"]),
        ("[coordinator]\ndeadline_s = 0", ["coordinator.deadline_s", "found 0", "greater than 0"]),
        ("fleet = 'My Plant'", ["'My Plant'", "expected lower-case letters"]),
        ("device = 'a/b'", ["'a/b'", "expected lower-case letters"]),
        ("fleet plant", ["not TOML", "line 1"]),
        ("fleet = 'a'\nfleet = 'b'", ["not TOML", "Cannot overwrite a value"]),
        (b"\xff\xfe", ["not TOML"]),
    ],
)
def test_a_bad_file_is_named_in_one_line(written, text, words):
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_bad_flag_is_named_without_a_file(written):
    with pytest.raises(ConfigError, match=r"^configuration: broker\.port: found 0"):
        load_config(None, broker__port=0)
    with pytest.raises(ConfigError, match="broker: found 'x', expected a table"):
        load_config(written("broker = 'x'"), broker__port=1884)


def test_files_beside_the_configuration_are_found_from_anywhere(written, tmp_path):
    path = written("[broker]\nca = 'ca.pem'\n[trust]\nkey = '/etc/key.pem'\n")
    config = load_config(path)
    assert config.broker.ca == path.parent / "ca.pem"
    assert config.trust.key == Path("/etc/key.pem")
