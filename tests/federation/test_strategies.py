import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fedtiny.errors import ConfigError
from fedtiny.federation.strategies import BUILT_IN, strategy

DOCS = Path(__file__).parents[2] / "docs" / "aggregators.md"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_strategy_runs_with_its_defaults_and_is_in_the_documentation(name):
    made = strategy(name, {})
    assert (made.name, made.kind) == (name, "statistics" if name == "ridge" else "delta")
    assert f"| `{name}` |" in DOCS.read_text()


def test_options_are_laid_over_the_defaults():
    assert strategy("fedadam", {"server_lr": 1}).options == {"server_lr": 1.0, "beta1": 0.5, "beta2": 0.99, "tau": 0.03}
    assert strategy("ridge", {"pull": 0.5}).options == {"pull": 0.5}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fedsgd", {}, "unknown 'fedsgd'; there is: clipping, fedadam, fedavg, .*ridge"),
        ("fedadam", {"lr": 1.0}, "fedadam: unknown option 'lr'; there is: beta1, beta2, server_lr, tau"),
        ("fedavg", {"lr": 1.0}, "fedavg: unknown option 'lr'; there is: none"),
        ("fedadam", {"beta1": "0.9"}, "fedadam: beta1: found '0.9', expected a number"),
        ("fedadam", {"beta1": 1.5}, "fedadam: beta1 1.5, expected at least 0 and below 1"),
        ("fedadam", {"tau": float("nan")}, "fedadam: tau nan, expected"),
        ("krum", {"share": 0.5}, "krum: share 0.5, expected at least 0 and below 0.5"),
        ("ridge", {"pull": 0.0}, "ridge: pull 0, expected at least"),
    ],
)
def test_what_cannot_work_is_said_before_any_round(name, options, message):
    with pytest.raises(ConfigError, match=message):
        strategy(name, options)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Write a distribution with one module and its entry points to where Python finds it."""

    def install(module: str, code: str, entries: str) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fedtiny.aggregators]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    for name in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[name]


def test_the_example_of_the_documentation_works_from_another_package(installed):
    code, entry = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS.read_text(), re.DOTALL)[1:3]
    assert len(code.strip().splitlines()) <= 10
    module = re.search(r'"(\w+):', entry)[1]
    installed(module, code, re.search(r"^(\S+) = ", entry, re.MULTILINE)[0] + re.search(r'"(\w+:\w+)"', entry)[1])
    made = strategy("signs", {"size": 0.5})
    deltas = [(np.full((2, 3), value, np.float32), 1) for value in (-1, 3, 4)]
    step, _ = made.function(deltas, {}, **made.options)
    np.testing.assert_array_equal(step, np.full((2, 3), 0.5))
    with pytest.raises(ConfigError, match=r"there is: clipping.*signs"):
        strategy("other", {})
    sys.modules.pop(module)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nowhere", "their_module:theirs cannot be loaded: No module named 'nowhere'"),
        ("theirs = lambda updates, state: (next(iter(updates))[0][0], state)", r"a step of shape \(3,\)"),
        ("def theirs(updates): return 0", "theirs.* positional argument"),
        (
            "def theirs(updates, state, *, most: int = 3): return next(iter(updates))[0], state",
            "most: found 0.5, expected a whole number",
        ),
    ],
    ids=["import", "shape", "signature", "whole number"],
)
def test_what_is_wrong_with_another_packages_aggregator_is_said(installed, code, message):
    installed("their_module", code, "theirs = their_module:theirs")
    with pytest.raises(ConfigError, match=message):
        strategy("theirs", {"most": 0.5} if "most" in code else {})
    if "most" in code:
        assert strategy("theirs", {"most": 4.0}).options == {"most": 4}
