"""How firmware learns one machine by itself: the plan of ``runtime/fedtiny_learn.c``, and its twin.

Where no agent has learned the machine, or a new head has made what was learned worthless. It learns as the agent does
(``fedtiny.model.detector``), but streaming, so its residual model knows no directions, and the level that the
standardisation is adapted to comes from windows of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.operating import STILL
from fedtiny.model.scoring import ResidualModel
from fedtiny.model.threshold import CAUTIOUS, calibrate_threshold, tolerance
from fedtiny.model.watch import Rules
from fedtiny.signal.features import FAR, Standardisation, adapt_standardisation, fit_standardisation
from firmware_export.csource import array, number
from firmware_export.machine import Machine
from firmware_export.scoring import check_vote, ctype, to_values

Array = NDArray[np.float32]
LEVEL_SHARE, RESIDUAL_SHARE = 0.2, 0.4  # of the windows; the rest is for the scores
FEWEST, MOST = 5, 1 << 15  # windows
LEAST_THRESHOLD = 1e-3  # normal windows score about 1: less is learned from what never varies
MOST_LARGEST = 64  # scores that are kept for the order statistic


@dataclass(frozen=True)
class Plan:
    """The windows of each phase, and what calibrate_threshold makes of the number of scores.

    largest: at least the so many-th largest score is the threshold, 0: too few for it. by_chance, tolerance: of the
    deviation of log scores. clear: share of the threshold below which a window is quiet. powers: features are log
    powers.
    """

    base: Standardisation
    powers: bool
    rate: float
    clear: float
    windows: tuple[int, int, int]
    blocks: int
    largest: int
    by_chance: float
    tolerance: float

    @property
    def ram_bytes(self) -> int:
        """RAM of the vectors while and after it is learned: ``values`` and ``work`` of fedtiny_learn_begin."""
        return 4 * (5 * len(self.base.mean) + self.largest)


def plan_of(release: Release, rules: Rules) -> Plan:
    """How firmware of ``release`` learns under ``rules``: one operating point, from ``rules.learn`` windows."""
    check_vote(rules.window)
    if not FEWEST <= rules.learn <= MOST:
        raise ConfigError(f"edge.learn_windows: {rules.learn}, expected {FEWEST} to {MOST} in firmware")
    level = max(1, round(LEVEL_SHARE * rules.learn))
    residuals = max(2, round(RESIDUAL_SHARE * rules.learn))
    count = rules.learn - level - residuals
    known = tolerance(count, rules.rate, CAUTIOUS)
    if known.allowed > MOST_LARGEST:
        raise ConfigError(
            f"edge.learn_windows: {rules.learn} windows for a false-alarm rate of {rules.rate:g} would keep "
            f"{known.allowed} scores, at most {MOST_LARGEST} in firmware: take fewer windows"
        )
    return Plan(
        base=release.standardisation,
        powers=release.manifest.feature != "given",
        rate=rules.rate,
        clear=rules.quiet,
        windows=(level, residuals, count),
        blocks=known.blocks,
        largest=known.allowed,
        by_chance=known.by_chance,
        tolerance=known.factor,
    )


def plan_source(plan: Plan, name: str, *, fixed_point: bool) -> str:
    """C text: ``static const fedtiny_plan <name>_plan`` and the release's standardisation."""
    kind, size = ctype(fixed_point=fixed_point), len(plan.base.mean)
    factor = 1 / plan.base.deviation.astype(np.float64)
    vectors = {
        "mean": to_values(plan.base.mean, "release: mean", fixed_point=fixed_point),
        "factor": to_values(factor, "release: 1 / deviation", fixed_point=fixed_point, factor=True),
    }
    arrays = [array(kind, f"{name}_base_{vector}", values) for vector, values in vectors.items()]
    members = [
        f".features = {size}u",
        f".windows = {{ {', '.join(f'{count}u' for count in plan.windows)} }}",
        f".powers = {str(plan.powers).lower()}",
        *(f".{vector} = {name}_base_{vector}" for vector in vectors),
        f".foreign = {number('float', FAR**2)}",
        f".still = {number('float', STILL)}",
        f".blocks = {plan.blocks}u",
        f".largest = {plan.largest}u",
        f".by_chance = {number('float', plan.by_chance)}",
        f".tolerance = {number('float', plan.tolerance)}",
        f".clear = {number('float', plan.clear)}",
    ]
    body = "".join(f"    {member},\n" for member in members)
    return "\n".join([*arrays, f"static const fedtiny_plan {name}_plan = {{\n{body}}};\n"])


def learn(plan: Plan, head: Head, features: Array, reconstruct: Callable[[Array], Array]) -> Machine:
    """What firmware learns from ``features`` (sum of ``plan.windows``, features), by the agent's own functions.

    reconstruct: the network under ``head``, from and to standardised features.
    """
    level, fitted, _ = plan.windows
    scale = adapt_standardisation(plan.base, features[:level])
    z = scale(features[level:])
    residuals = z - reconstruct(z)
    kept_out = fit_diagonal(residuals[:fitted]).score(residuals[fitted:])
    threshold = max(calibrate_threshold(kept_out, plan.rate, CAUTIOUS), LEAST_THRESHOLD)
    return Machine(
        head=head,
        standardisation=scale,
        residuals=fit_diagonal(residuals),
        centre=np.zeros(len(plan.base.mean), np.float32),
        threshold=threshold,
        clear=plan.clear * threshold,
        drift_limit=threshold,
        still_below=float(features.max(axis=1).min()) - STILL if plan.powers else None,
    )


def fit_diagonal(residuals: Array) -> ResidualModel:
    """``fedtiny.model.scoring.fit_residuals`` without directions, from (n, features): features vary for themselves."""
    scale = fit_standardisation(residuals)
    variance = max(float(np.square(scale(residuals)).mean()), 1e-6)
    size = residuals.shape[1]
    gain = (1 / (scale.deviation * np.sqrt(variance))).astype(np.float32)
    return ResidualModel(scale.mean, gain, np.empty((size, 0), np.float32), np.empty(0, np.float32))
