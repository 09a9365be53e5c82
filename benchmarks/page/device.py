"""One device: stages of a window, the network beside its peers, memory and start."""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.page.section import Picture, Section, floors, table
from benchmarks.page.style import FAINT, OTHER, OURS, PEER, axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONE, BATCH = "one_window", "batch_of_64"
CASES = {ONE: "one window", BATCH: "64 together"}
TRANSFORMS = {"numpy": "rfft, numpy", "scipy_float32": "rfft, scipy, float32"}
TOTALS = {"window_to_score_us": "**window to score**", "window_to_alarm_us": "**window to alarm**"}
SHADES = ("#cfdde4", OURS, "#9dbccb", "#4d93b0", "#c5d8e0", "#7aacc1", "#e3ecf0")


def section(results: dict[str, Any]) -> Section:
    """The section, from ``device.json``."""
    case, network, floor = results["stages"]["litert"][ONE], results["network"], results["floor"]
    agents, published = results["agent"], results["published"]
    alarm, score = case["window_to_alarm_us"]["p50"], case["window_to_score_us"]["p50"]
    int8, float32 = (network["litert"][ONE][name]["p50"] for name in ("int8", "numpy float32"))
    rss = {name: agent["peak_rss_mb"] for name, agent in agents.items()}
    worker = published["worker_rss_mb_mean"]
    start = statistics.median(agents["litert"]["start_to_first_score_s"])
    lead = (
        f"A window of 2,560 samples x 2 channels becomes a verdict in {alarm:,.0f} us; its score takes "
        f"{case['times_numpy_rfft']:.1f} times numpy's `rfft` of the same window. The whole agent peaks at "
        f"{max(rss.values()):.0f} MB, where the thesis's training worker took {worker:.0f} MB (published)."
    )
    body = [
        floors(results),
        "### From window to alarm\n",
        _stages(results["stages"]),
        "Microseconds a window, median and 99th percentile, one thread. A live device sees one window at a time; "
        "64 together is what it does when it has fallen behind. `rfft` is the transform of the same window alone, "
        "which has to be computed whatever else is.\n",
        "### The network alone\n",
        _network(network),
        f"Microseconds a window, medians; the input put in, run, the output taken out. *As deployed* also quantises "
        f"and dequantises in numpy; delegates are off, so that all runtimes and the firmware round alike. "
        f"{floor['macs']:,} multiply-accumulates at the {floor['core_int8_gmac_per_s']:.0f} GMAC/s that XNNPACK "
        f"reaches on a large int8 layer here would take {floor['floor_us']:.2f} us: {floor['share_one_window']:.0%} of "
        f"LiteRT's int8 step for one window, {floor['share_batch']:.0%} in a batch of 64.\n",
        "### Memory and start\n",
        _memory(results),
    ]
    pictures = (
        Picture("device-stages", "From window to alarm by stage, and the transform alone (medians).", _bars(results)),
        Picture("device-network", "The network alone: microseconds for one window (medians).", _variants(network)),
        Picture(
            "device-memory",
            f"Peak resident memory; the grey bar is published ({published['whose']}), not from this run.",
            _rss(rss, worker, results["start"]),
        ),
    )
    figures = {
        "window_to_alarm": f"{alarm:,.0f} us",
        "window_to_score": f"{score:,.0f} us",
        "times_rfft": f"{case['times_numpy_rfft']:.1f}",
        "times_rfft_batch": f"{results['stages']['litert'][BATCH]['times_numpy_rfft']:.1f}",
        "model_int8": f"{int8:.1f} us",
        "model_numpy": f"{float32:.1f} us",
        "agent_rss": f"{rss['litert']:.0f} MB",
        "published_worker_rss": f"{worker:.0f} MB",
        "rss_ratio": f"{worker / rss['litert']:.0f}",
        "start": f"{start:.1f} s",
    }
    return Section("One device", lead, "\n".join(body), pictures, figures)


def _stages(stages: Mapping[str, Any]) -> str:
    columns = [(one["interpreter"], CASES[case], one[case]) for one in stages.values() for case in CASES]

    def cell(row: Mapping[str, float]) -> str:
        return f"{row['p50']:.1f} ({row['p99']:.0f})"

    rows = [(stage, *(cell(c["stages_us"][stage]) for *_, c in columns)) for stage in columns[0][2]["stages_us"]]
    rows += [(words, *(cell(c[key]) for *_, c in columns)) for key, words in TOTALS.items()]
    rows += [
        (words, *(cell(c["rfft_us"][key]) for *_, c in columns))
        for key, words in TRANSFORMS.items()
        if all(key in c["rfft_us"] for *_, c in columns)
    ]
    rows.append(("window to score : numpy's rfft", *(f"{c['times_numpy_rfft']:.2f}" for *_, c in columns)))
    return table(("", *(f"{name}, {case}" for name, case, _ in columns)), rows)


def _variant(runtime: str, name: str) -> str:
    """numpy's turns are taken beside each interpreter's."""
    return f"{name}, beside {runtime}" if name.startswith("numpy") else f"{runtime}, {name}"


def _network(network: Mapping[str, Any]) -> str:
    rows = [
        (_variant(runtime, name), f"{row['p50']:.2f}", f"{cases[BATCH][name]['p50']:.2f}")
        for runtime, cases in network.items()
        for name, row in cases[ONE].items()
    ]
    return table(("", *CASES.values()), rows)


def _memory(results: Mapping[str, Any]) -> str:
    rows = []
    for runtime, agent in results["agent"].items():
        first, bare = agent["start_to_first_score_s"], results["start"][runtime]["peak_rss_mb"]
        cells = (agent["peak_rss_mb"], agent["peak_rss_mb_as_typed"], bare)
        rows.append((runtime, *(f"{mb:.1f}" for mb in cells), f"{statistics.median(first):.2f}"))
    windows = next(iter(results["agent"].values()))["windows"]
    parts = next(iter(results["start"].values()))
    loaded = ", ".join(f"{name} {ms:.0f}" for name, ms in parts.items() if name != "peak_rss_mb")
    head = ("", "agent, as its unit starts it, MB", "as typed, MB", "without a network, MB", "start to first score, s")
    return (
        table(head, rows)
        + f"\nPeak resident memory of `fedtiny edge run` over {windows:,} windows with rounds, and of a process with "
        f"interpreter and model alone. What a start is made of, milliseconds in a fresh process: {loaded}.\n"
    )


def _bars(results: Mapping[str, Any]) -> "Figure":
    figure, (plot,) = axes(1, 2.9)
    rows = [(f"{name}, {CASES[case]}", one[case]) for name, one in results["stages"].items() for case in CASES][::-1]
    left = [0.0] * len(rows)
    for shade, stage in zip(SHADES, rows[0][1]["stages_us"], strict=True):
        values = [case["stages_us"][stage]["p50"] for _, case in rows]
        plot.barh([name for name, _ in rows], values, left=left, color=shade, height=0.55, label=stage)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for i, (_, case) in enumerate(rows):
        at = case["rfft_us"]["numpy"]["p50"]
        plot.plot([at, at], [i - 0.4, i + 0.4], color=PEER, linewidth=2.5, label=None if i else "numpy's rfft alone")
    plot.set_xlabel("microseconds a window")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _variants(network: Mapping[str, Any]) -> "Figure":
    figure, (plot,) = axes(1, 2.9)
    rows = [
        (_variant(runtime, name), row["p50"]) for runtime, cases in network.items() for name, row in cases[ONE].items()
    ][::-1]
    colours = [PEER if "numpy" in name else OURS if "int8" in name else OTHER for name, _ in rows]
    bars = plot.barh([name for name, _ in rows], [value for _, value in rows], color=colours)
    plot.bar_label(bars, [f"{value:.1f}" for _, value in rows], padding=3)
    plot.set_xlabel("microseconds")
    return figure


def _rss(rss: Mapping[str, float], worker: float, start: Mapping[str, Any]) -> "Figure":
    figure, (plot,) = axes(1, 2.0)
    rows = [("training worker (published)", worker, FAINT)]
    for name, value in rss.items():
        rows.append((f"{name}: interpreter and model", start[name]["peak_rss_mb"], "#9dbccb"))
        rows.append((f"{name}: whole agent", value, OURS))
    bars = plot.barh([name for name, *_ in rows], [mb for _, mb, _ in rows], color=[colour for *_, colour in rows])
    plot.bar_label(bars, [f"{mb:.0f} MB" for _, mb, _ in rows], padding=3)
    plot.set_xlim(0, 1.15 * worker)
    plot.set_xlabel("peak resident memory, MB")
    return figure
