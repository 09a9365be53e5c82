"""Detection: FEMTO, gearbox and IMS side by side, and the strategies against each other."""

from collections.abc import Mapping
from typing import Any

from benchmarks.common import COLUMNS, METHODS
from benchmarks.page.section import Picture, Section, floors, table
from benchmarks.page.style import FAINT, OURS, PEER, axes

WORDS = {
    "frozen": "frozen base, plain error",
    "calibrated": "frozen base, score learned locally",
    "fedavg": "**`fedavg`, int8, 5 rounds**",
    "ridge": "**`ridge`, int8, one round**",
    "fedavg_float": "`fedavg`, float throughout",
    "central": "central training of the whole model, float",
    "zscore": "z-score of the features, no model",
}
STRATEGY_COLUMNS = ("loss", "auc_mean", "auc_min", "auc_one_threshold")
AT = "5"  # rounds, in the table of strategies


def section(femto: Mapping[str, Any], ims: Mapping[str, Any], strategies: Mapping[str, Any]) -> Section:
    """The section, from the results files of the three benchmarks."""
    ours, plain = femto["fedavg"], femto["zscore"]
    lead = (
        f"On ten FEMTO bearings that the trainer never saw, the federated int8 model has a mean AUC of "
        f"{ours['auc_mean']:.3f} ({femto['frozen']['auc_mean']:.3f} as shipped, {plain['auc_mean']:.3f} for a z-score "
        f"without a model, {femto['central']['auc_mean']:.3f} for a float model trained on everybody's data); with "
        f"one threshold for all {ours['auc_one_threshold']:.3f} ({plain['auc_one_threshold']:.3f} for the z-score)."
    )
    body = [
        "### FEMTO: ten bearings of two operating conditions, never seen by the trainer\n",
        _detection(femto),
        "Medians of three seeds. False alarms and detected: shares of normal and of failing windows at each machine's "
        "own threshold for a budget of 1 %. The last 40 % of each machine's normal windows and all failing ones fit "
        "and calibrate nothing.\n",
        "### Gearbox, channel a2: loads that the trainer never saw\n",
        _detection(femto["gearbox_a2"]),
        "### IMS: when does a failing bearing raise its alarm?\n",
        _ims(ims),
        "### The strategies against each other on FEMTO\n",
        f"After {AT} rounds, and after as many updates where they arrive in any order (buffered).\n",
        _strategies(strategies),
        floors(femto),
    ]
    pictures = (
        Picture("quality", "AUC on FEMTO: mean of the machines, weakest machine, one threshold for all", _bars(femto)),
        Picture(
            "strategies",
            f"FEMTO after {AT} rounds: loss on windows kept out of the fit, and AUC, by strategy",
            _dots(strategies),
        ),
    )
    figures = {
        "auc_mean": f"{ours['auc_mean']:.3f}",
        "auc_one_threshold": f"{ours['auc_one_threshold']:.3f}",
        "zscore_auc_mean": f"{plain['auc_mean']:.3f}",
        "zscore_auc_one_threshold": f"{plain['auc_one_threshold']:.3f}",
        "central_auc_mean": f"{femto['central']['auc_mean']:.3f}",
        "central_auc_one_threshold": f"{femto['central']['auc_one_threshold']:.3f}",
    }
    return Section("Quality", lead, "\n".join(body), pictures, figures)


def _detection(rows: Mapping[str, Any]) -> str:
    def cells(row: Mapping[str, float]) -> list[str]:
        return [f"{row[key]:.1%}" if key.endswith("_rate") else f"{row[key]:.4f}" for key in COLUMNS]

    return table(("", *(words for words, _ in COLUMNS.values())), [(WORDS[m], *cells(rows[m])) for m in METHODS])


def _ims(ims: Mapping[str, Any]) -> str:
    rows = []
    for name, test in ims["tests"].items():
        for bearing, rules in test["bearings"].items():
            if int(bearing) in test["failing"]:
                found = (rules["reference"], rules["own"]["lasting"])
                plain = (rules["z-score, reference"], rules["z-score, own"]["lasting"])
                words = [
                    f"{name}, bearing {bearing}, {test['rows']:,} snapshots",
                    *("–" if value is None else f"{value:,.0f}" for value in found + plain),
                ]
                rows.append(words)
    false = [
        f"{name}: {found['own'].get('before_it', '–'):g} (z-score {found['z-score, own']['before_it']:g})"
        for name, test in ims["tests"].items()
        if (found := test["false_alarms_of_healthy"])["own"]
    ]
    head = ("", "mean + 4 deviations", "own rule, lasting", "z-score, mean + 4 dev.", "z-score, own rule, lasting")
    references = "; ".join(f"{name}: {index}" for name, index in ims["references"].items())
    return (
        table(head, rows)
        + f"\nThe snapshot of the alarm. Published for test 2 under mean + 4 deviations: {references}. False alarms of "
        f"healthy bearings before the end phase, own rule: {', '.join(false)}.\n"
    )


def _strategies(strategies: Mapping[str, Any]) -> str:
    rows = [
        (method, *(f"{row[AT][column]:.4f}" for column in STRATEGY_COLUMNS))
        for method, row in strategies["rows"].items()
    ]
    return table(("", "loss", "AUC mean", "AUC min", "AUC, one threshold"), rows)


def _bars(femto: Mapping[str, Any]) -> Any:
    figure, plots = axes(3, 2.7)
    methods = [m for m in METHODS if m != "fedavg_float"]
    colours = {"fedavg": OURS, "ridge": OURS, "zscore": PEER, "central": PEER}
    names = {"frozen": "frozen", "calibrated": "frozen, local score", "zscore": "z-score"}
    for plot, column in zip(plots, ("auc_mean", "auc_min", "auc_one_threshold"), strict=True):
        values = [femto[m][column] for m in methods][::-1]
        bars = plot.barh(
            [names.get(m, m) for m in methods][::-1], values, color=[colours.get(m, FAINT) for m in methods][::-1]
        )
        plot.bar_label(bars, [f"{value:.3f}" for value in values], padding=2, fontsize=8)
        plot.set_xlim(0, 1.25)
        plot.set_xticks([0, 0.5, 1])
        plot.set_title(COLUMNS[column][0], fontsize=9)
        if plot is not plots[0]:
            plot.set_yticklabels([])
    return figure


def _dots(strategies: Mapping[str, Any]) -> Any:
    figure, plots = axes(2, 3.4)
    rows = strategies["rows"]
    methods = [m for m in rows if "," not in m][::-1]
    for plot, column, words in zip(plots, ("loss", "auc_one_threshold"), ("loss", "AUC, one threshold"), strict=True):
        for kind, colour, mark in (("", OURS, "o"), (", buffered", PEER, "D")):
            found = [rows[m + kind][AT][column] if m + kind in rows else float("nan") for m in methods]
            plot.plot(found, methods, mark, color=colour, ms=5, label="buffered" if kind else "rounds")
        plot.grid(axis="y", color=FAINT, linewidth=0.5)
        plot.set_title(words)
        if plot is not plots[0]:
            plot.set_yticklabels([])
    plots[0].legend(loc="lower right")
    return figure
