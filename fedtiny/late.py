"""Modules that are only loaded when they are used: numpy 1 imports some at once that cost a device 4 MB."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


def import_late(*names: str) -> None:
    """From now on the modules ``names`` come in at their first use. Call it before anything imports them."""
    late = frozenset(names)

    class Late(PathFinder):
        @classmethod
        def find_spec(
            cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None:
            spec = super().find_spec(fullname, path, target) if fullname in late else None
            if spec is not None and spec.loader is not None:
                spec.loader = LazyLoader(spec.loader)
            return spec

    sys.meta_path.insert(0, Late)
