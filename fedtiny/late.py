"""What an agent's imports would load and it never uses: some 6 MB, which is a tenth of all its memory.

numpy 1 loads all of its parts, paho an HTTP client for proxies, pydantic a reader of installed packages to look for
plug-ins that no agent has.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

LATE = frozenset({"numpy.random", "numpy.ma", "numpy.polynomial", "urllib.request", "http.client"})


class _Late(PathFinder):
    """Finds the modules in ``LATE``, to be loaded at their first use."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target) if fullname in LATE else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def spare_imports() -> None:
    """Call it before numpy, paho and pydantic come in; what is there already stays."""
    sys.meta_path.insert(0, _Late)
    plugins = ModuleType("pydantic.plugin._loader")
    plugins.get_plugins = lambda: ()  # type: ignore[attr-defined]
    plugins.__getattr__ = _real_plugins  # type: ignore[method-assign]
    sys.modules.setdefault(plugins.__name__, plugins)


def _real_plugins(name: str) -> Any:
    """Another version of pydantic wants more of its module than we stand in for: it gets the whole of it."""
    if name.startswith("__"):
        raise AttributeError(name)
    del sys.modules["pydantic.plugin._loader"]
    return getattr(importlib.import_module("pydantic.plugin._loader"), name)
