"""The release: how it was trained, and what the gate says of it."""

from collections.abc import Mapping
from typing import Any

from fedtiny.report.curves import curves
from fedtiny.report.html import table
from fedtiny.report.numbers import auc_text, bytes_text, number_text, plain
from fedtiny.report.values import DASH, as_dict, word


def training_figure(run: Mapping[str, Any]) -> str:
    """Loss by epoch."""
    training = as_dict(run, "training")
    lines = {
        "frozen": ("training windows", training.get("loss") or []),
        "federated": ("held-out windows", training.get("validation_loss") or []),
    }
    epochs = list(range(1, 1 + max(len(values) for _, values in lines.values())))
    caption = "Lower is better; held-out loss that rises while training loss falls would be overfitting."
    return curves("Training of the base model", "epoch", epochs, lines, caption)


def gate_table(run: Mapping[str, Any]) -> str:
    """The gate's figures, and what the release was made of."""
    training, gate = as_dict(run, "training"), as_dict(run, "gate")
    verdict = {True: "passed", False: "refused"}.get(gate.get("passed"), DASH)  # type: ignore[arg-type]
    rows = [
        ("Gate, int8 against float", verdict),
        ("Rank correlation of their scores", number_text(gate.get("rank_correlation"), 4)),
        ("AUC, float", auc_text(gate.get("auc_float"))),
        ("AUC, int8", auc_text(gate.get("auc_int8"))),
        ("Trained on", ", ".join(word(name) for name in training.get("machines") or []) or DASH),
        ("Training windows", plain(training.get("windows"))),
        ("Size of the release", bytes_text(training.get("size_bytes"))),
        ("Release", word(training.get("release_id"))[:16]),
    ]
    return f"<div><h3>Gate and release</h3>{table(('', ''), rows)}</div>"
