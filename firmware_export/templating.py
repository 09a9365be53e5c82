"""Text from templates. A placeholder is written ``@{name}``, so that CMake's and C's own signs stay as they are."""

import re
import string
from collections.abc import Mapping
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")


class _Text(string.Template):
    delimiter = "@"
    idpattern = "(?!)"  # names stand in braces: an @ of its own stays what it is
    braceidpattern = "[a-z_A-Z]+"
    flags = re.NOFLAG


def fill(text: str, fields: Mapping[str, str]) -> str:
    """``text`` with every placeholder that ``fields`` knows put in."""
    return _Text(text).safe_substitute(fields)


def fill_template(name: str, fields: Mapping[str, str]) -> str:
    """The same of a file below ``TEMPLATES``."""
    return fill((TEMPLATES / name).read_text(), fields)
