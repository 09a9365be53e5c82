"""The reference of all settings, from the models of `fedtiny.config` and the words of `fedtiny.reasons`.

``python -m fedtiny.settings [--check] FILE``
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fedtiny.config import Config
from fedtiny.made_page import main
from fedtiny.reasons import REASONS
from fedtiny.scaffold import models, source_models

HEADER = """\
# Configure

Made by `make docs` from the code.

A device, the coordinator and an operator have a `fedtiny.toml` each. `fedtiny edge init` and `fedtiny fleet` write it,
with every setting explained. A command takes it by `--config`, and its flags go over it. Every key has a default unless
the table says *required*; an unknown key is an error that names it. A relative path to a certificate or key starts at
the folder of the file, any other path where the command is started.

```toml
fleet = "plant"
device = "pump-07"

[broker]
host = "broker.plant.example"

[source]
kind = "serial"
port = "/dev/ttyUSB0"
sample_rate_hz = 3200
channels = ["x", "y"]

[edge]
learn_windows = 500
false_alarms_per_month = 1
every_s = 10
```

`[source]` and `[edge]` are read by the agent, `[coordinator]` by the coordinator, `[signal]` and `[train]` by `fedtiny
train`; the others by all. After a change: `fedtiny edge check --config fedtiny.toml`, then restart the process.
"""


def reference() -> str:
    """All settings as Markdown."""
    plain = [name for name, field in Config.model_fields.items() if not models(field.annotation)]
    return "\n".join([HEADER, *_section("## At the top", "Above all sections:", Config, plain), *_sections()])


def _sections() -> Iterator[str]:
    for name, field in Config.model_fields.items():
        if name == "source":
            yield from _sources()
        elif tables := models(field.annotation):
            yield from _section(f"## [{name}]", REASONS[name], tables[0], tables[0].model_fields, name)


def _sources() -> Iterator[str]:
    kinds = source_models()
    some = next(iter(kinds.values()))
    shared = [name for name in some.model_fields if all(name in model.model_fields for model in kinds.values())]
    words = "Where the samples come from. `kind` says what else there is: [sources](sources.md). For every kind:"
    yield from _section("## [source]", words, some, [name for name in shared if name != "kind"], "source")
    for kind, model in kinds.items():
        words = REASONS[f"source.{kind}"].removeprefix("Where the samples come from: ")
        own = [name for name in model.model_fields if name not in shared]
        yield from _section(
            f'### kind = "{kind}"', words[0].upper() + words[1:], model, own, f"source.{kind}", "source"
        )


def _section(title: str, words: str, model: type[BaseModel], names: Iterable[str], *places: str) -> Iterator[str]:
    """A row for each of ``names``. A setting's words are those of the first of ``places`` that has any."""
    yield f"{title}\n\n{words}\n\n| setting | default | values | what for |\n|---|---|---|---|"
    properties = model.model_json_schema()["properties"]
    for name in names:
        field = model.model_fields[name]
        keys = [f"{place}.{name}" for place in places] or [name]
        reason = REASONS[next((key for key in keys if key in REASONS), keys[0])]
        default = "*required*" if field.is_required() else _value(field.default)
        yield f"| `{name}` | {default} | {_allowed(properties[name])} | {reason} |"
    yield ""


def _value(default: Any) -> str:
    """A default as TOML writes it."""
    return "not set" if default is None else f"`{json.dumps(default)}`"


def _allowed(schema: dict[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    if "anyOf" in schema:
        return _allowed(next(one for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list, each: {_allowed(schema['items'])}"
    if "$ref" in schema:
        return "table, as [broker](#broker)"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    bounds = [f"{word} {schema[key]:,.10g}" for key, word in limits.items() if key in schema]
    kind = "path" if schema.get("format") == "path" else words.get(schema.get("type", ""), "table of numbers")
    return f"{kind} {', '.join(bounds)}".rstrip()


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv, Path(sys.argv[-1]), reference()))
