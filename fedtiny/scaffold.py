"""A device's ``fedtiny.toml``, written out for its operator: every setting with its default, unit and reason.

Names and defaults come from the models of `fedtiny.config`, the words from `fedtiny.reasons`. A setting that stands
at its default is written behind a ``#`` without a space: taking that away and changing the value is all there is to do.
"""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel

from fedtiny.config import Config, load_config
from fedtiny.errors import ConfigError
from fedtiny.reasons import EXAMPLES, REASONS

HEADER = """\
# fedtiny.toml of one device. "# " begins an explanation, "#" right before a name a setting at its default: take the
# "#" away to change it. A name that does not exist is an error. After a change: fedtiny edge check --config FILE
"""
OTHERS = ("signal", "train", "coordinator")  # sections that no device reads
NOTHING: Mapping[str, Any] = MappingProxyType({})


def source_kinds() -> tuple[str, ...]:
    """The kinds of ``[source]`` that there are."""
    return tuple(source_models())


def write_config(path: Path, given: Mapping[str, Any] = NOTHING, source: str = "replay") -> Config:
    """Write the file of `render` and read it back; ConfigError, and no file, where it exists or is not valid."""
    text = render({key: value for key, value in given.items() if value is not None}, source)
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:  # it may hold a password
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already; not overwritten") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        return load_config(path)
    except ConfigError:
        path.unlink()
        raise


def render(given: Mapping[str, Any] = NOTHING, source: str = "replay") -> str:
    """The file's text. ``given``: values by key ("device", "broker.host"); all others stand at their defaults."""
    if source not in source_models():
        raise ConfigError(f"source kind {source!r}, expected one of {', '.join(source_models())}")
    given = {**given, "source.kind": source}
    lines = [HEADER.rstrip(), *_settings(Config, given)]
    for name, field in Config.model_fields.items():
        if name in OTHERS or not models(field.annotation):
            continue
        if name == "source":
            lines += _table("source", REASONS[f"source.{source}"])
            lines += _settings(source_models()[source], given, f"source.{source}", "source")
        else:
            lines += _table(name, REASONS[name])
            lines += _settings(models(field.annotation)[0], given, name)
    return "\n".join(lines) + "\n"


def models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a field's type: none for a plain value, several for a choice of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def source_models() -> dict[str, type[BaseModel]]:
    """The models of ``[source]`` by their kind."""
    found = models(Config.model_fields["source"].annotation)
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in found}


def _settings(model: type[BaseModel], given: Mapping[str, Any], *places: str) -> Iterator[str]:
    """Lines of the settings of ``model``, the necessary ones first, then of the optional tables within it.

    A setting's words and example are those of the first of ``places`` that has any.
    """
    fields = sorted(model.model_fields.items(), key=lambda field: (field[0] != "kind", not field[1].is_required()))
    for name, field in fields:
        keys = [f"{place}.{name}" for place in places] or [name]
        if models(field.annotation):
            continue
        if set_here := [given[key] for key in keys if key in given]:
            line = f"{name} = {_toml(set_here[0])}"
        elif field.is_required():
            line = f"{name} = {_toml(_first(EXAMPLES, keys))}"
        else:
            line = f"#{name} = {_toml(_first(EXAMPLES, keys) if field.default is None else field.default)}"
        yield from ("", *_wrapped(_first(REASONS, keys)), line)
    for name, field in fields if places else ():
        for table in models(field.annotation):
            section = f"{places[-1]}.{name}"
            yield from _table(section, REASONS[section], "#")
            yield from _settings(table, NOTHING, name)


def _first(words: Mapping[str, Any], keys: list[str]) -> Any:
    return words[next((key for key in keys if key in words), keys[0])]


def _table(name: str, reason: str, sign: str = "") -> Iterator[str]:
    yield from ("", "", *_wrapped(reason), f"{sign}[{name}]")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 112, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON's texts, numbers, truths and lists of these are TOML's too."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
