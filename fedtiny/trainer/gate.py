"""The gate: a release is refused when int8 does not say what float says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ReleaseError
from fedtiny.metrics import auc, rank_correlation
from fedtiny.model.artifact import Gate, Release
from fedtiny.model.interpreter import Interpreter
from fedtiny.model.scoring import fit_residuals
from fedtiny.signal.features import Standardisation
from fedtiny.trainer.autoencoder import Trained

Array = NDArray[np.float32]
LARGEST_AUC_LOSS = 0.005
SMALLEST_RANK_CORRELATION = 0.98
FEWEST_RANKED = 50


@dataclass(frozen=True)
class GateMachine:
    """One base machine's features: those trained on, held-out later ones, and anomalous ones (may be none)."""

    fitted: Array
    held_out: Array
    anomalous: Array


def measure(release: bytes, trained: Trained, scale: Standardisation, machines: list[GateMachine]) -> Gate:
    """Score every machine's held-out and anomalous windows in float and in int8, with the score of the devices.

    Ranks are compared on held-out windows; with fewer than ``FEWEST_RANKED`` of them, on those trained on as well.
    """
    opened = Release(release)
    interpreter = Interpreter(release, "auto", opened.hidden_tensor)
    scores: dict[str, tuple[list[Array], list[Array], list[Array]]]
    scores = {"float": ([], [], []), "int8": ([], [], [])}
    for machine in machines:
        parts = [scale(part) for part in (machine.fitted, machine.held_out, machine.anomalous)]
        for kind, (normal, anomalous, fitted) in scores.items():
            if kind == "float":
                residuals = [z - trained.reconstruct(z) if len(z) else z for z in parts]
            else:
                residuals = [z - interpreter(z)[0] for z in parts]
            model = fit_residuals(residuals[0])
            normal.append(model.score(residuals[1]))
            anomalous.append(model.score(residuals[2]))
            fitted.append(model.score(residuals[0]))
    pooled = {kind: [np.concatenate(part) for part in parts] for kind, parts in scores.items()}
    ranked = {kind: parts[0] for kind, parts in pooled.items()}
    if len(ranked["float"]) < FEWEST_RANKED:  # one swap among six windows would be a correlation of 0.94
        ranked = {kind: np.concatenate([parts[0], parts[2]]) for kind, parts in pooled.items()}
    return Gate(
        rank_correlation=rank_correlation(ranked["float"], ranked["int8"]),
        windows=len(ranked["float"]),
        auc_float=auc(*pooled["float"][:2]),
        auc_int8=auc(*pooled["int8"][:2]),
    )


def decide(figures: Gate) -> None:
    """Raise ReleaseError, with the figures, when int8 and float disagree."""
    if figures.auc_float is not None and figures.auc_int8 is not None:
        loss = figures.auc_float - figures.auc_int8
        if not loss <= LARGEST_AUC_LOSS:  # so that NaN is refused, too
            raise ReleaseError(
                f"gate: AUC falls from {figures.auc_float:.4f} (float) to {figures.auc_int8:.4f} (int8), "
                f"at most {LARGEST_AUC_LOSS:.3f} may be lost: no release"
            )
    if not figures.rank_correlation >= SMALLEST_RANK_CORRELATION:
        raise ReleaseError(
            f"gate: rank correlation of float and int8 scores is {figures.rank_correlation:.4f} on "
            f"{figures.windows} windows, at least {SMALLEST_RANK_CORRELATION} expected: no release"
        )
