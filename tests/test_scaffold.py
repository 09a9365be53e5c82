import re
import tomllib
from typing import get_args

import pytest

from fedtiny.config import Config, load_config
from fedtiny.errors import ConfigError
from fedtiny.scaffold import OTHERS, models, render, source_kinds, write_config

GIVEN = {"device": "pump-07", "broker.host": "broker.example"}
SETTING = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


def settings(model, chosen: str) -> dict:
    """All settings of a model: name -> default (None where it has none), tables as dictionaries."""
    found = {}
    for name, field in model.model_fields.items():
        inner = models(field.annotation)
        if len(inner) > 1:
            inner = [one for one in inner if chosen in get_args(one.model_fields["kind"].annotation)]
        default = None if field.is_required() else field.default
        found[name] = settings(inner[0], chosen) if inner else default
    return found


def leaves(tree: dict, above: str = "") -> dict:
    """A tree of dictionaries as dotted name -> value; lists as TOML gives them."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{above}{name}.")
        else:
            found[above + name] = list(value) if isinstance(value, tuple) else value
    return found


@pytest.mark.parametrize("kind", source_kinds())
def test_every_setting_of_a_device_stands_there_with_its_default(kind):
    expected = leaves({name: value for name, value in settings(Config, kind).items() if name not in OTHERS})
    written = leaves(tomllib.loads(SETTING.sub("", render(GIVEN, kind))))
    assert written.keys() == expected.keys()
    assert {key: written[key] for key in GIVEN} == GIVEN
    for key, default in expected.items():
        if default is not None and key not in GIVEN:
            assert written[key] == default, key


@pytest.mark.parametrize("kind", source_kinds())
def test_the_file_can_be_used_as_it_stands_and_with_every_setting_taken_up(kind, tmp_path):
    config = write_config(tmp_path / "fedtiny.toml", GIVEN, kind)
    assert (config.device, config.broker.host, config.source.kind) == ("pump-07", "broker.example", kind)
    assert config.edge == Config().edge
    full = tmp_path / "full.toml"
    full.write_text(SETTING.sub("", render(GIVEN, kind)))
    assert load_config(full).device == "pump-07"


def test_explanations_are_short_lines_of_text():
    for kind in source_kinds():
        for line in render(GIVEN, kind).splitlines():
            assert len(line) <= 120
            assert not line.startswith("# ") or line.isascii()


def test_an_existing_file_is_left_alone(tmp_path):
    path = tmp_path / "fedtiny.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; not overwritten"):
        write_config(path, GIVEN)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "source", "words"),
    [
        ({"device": "Pump 7"}, "iio", "'Pump 7': expected lower-case letters"),
        ({"broker.port": 0}, "iio", "broker.port: found 0"),
        ({}, "can", "source kind 'can', expected one of replay, folder, iio"),
    ],
)
def test_a_mistake_is_named_and_leaves_no_file(tmp_path, given, source, words):
    with pytest.raises(ConfigError, match=words):
        write_config(tmp_path / "fedtiny.toml", GIVEN | given, source)
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_survives_the_way_through_toml(tmp_path):
    password = "q\"u\\o'te #ü"
    assert write_config(tmp_path / "fedtiny.toml", GIVEN | {"broker.password": password}).broker.password == password
