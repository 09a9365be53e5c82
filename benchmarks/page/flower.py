"""The fleet beside Flower: rounds, bytes, memory, and how soon the same AUC is there."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from benchmarks.page.section import Picture, Section, floors, table
from benchmarks.page.style import FAINT, OURS, PEER, axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIGHT = {OURS: "#9dbccb", PEER: "#e6c29f"}
SIDES = {"fedtiny": OURS, "flower": PEER}


def section(results: dict[str, Any]) -> Section:
    """The section, from ``flower.json``."""
    ours, peer = results["fedtiny"], results["flower"]
    name, clients = f"Flower {results['flower_version']}", ours["clients"]
    over = [side["overhead_s"]["median"] for side in (ours, peer)]
    kilobytes = [_bytes(side, "round") / 1e3 for side in (ours, peer)]
    peak = [side["memory_peak"]["pss_mb"] for side in (ours, peer)]
    resident = [side["memory_peak"]["rss_mb"] for side in (ours, peer)]
    few = [results["few"][side] for side in SIDES]
    few_over = [side["overhead_s"]["median"] for side in few]
    lead = (
        f"With {clients} clients, the same head, data and local step, a round's overhead is {over[0]:.2f} s where "
        f"{name} takes {over[1]:.1f} s; with {few[0]['clients']} clients it is {few_over[0]:.2f} s and "
        f"{few_over[1]:.1f} s. Of the {clients}, a client sends and receives {kilobytes[0]:.0f} kB a round "
        f"({kilobytes[1]:.0f}) and peaks at {peak[0]:.0f} MB of PSS ({peak[1]:.0f}), "
        f"{resident[0]:.0f} MB of RSS ({resident[1]:.0f})."
    )
    soon = (
        "The AUC of both sides is that of the same int8 agent under the head of each round; the one to reach, "
        f"{results['auc_target']:.4f}, is ours after five rounds less 0.001; the release's own head has "
        f"{results['auc_before']:.4f}."
    )
    shared = (
        f"All {clients} clients share this machine's cores, and Flower starts a process for each of them in every "
        f"round: {peer['client_cpu_s_per_round']:.1f} s of CPU a client. On machines of their own its rounds are "
        f"shorter, as they are with {few[0]['clients']} clients; between these starts it polls every 3 s. A "
        "client of ours is the whole agent, one of Flower's only what is federated. "
        "PSS divides what several processes map by their number."
    )
    body = [floors(results), _table(ours, peer, name), shared + "\n", _few_table(few, name), soon + "\n"]
    pictures = (
        Picture(
            "flower-costs",
            "A round's seconds (logarithmic), a client's bytes a round, its memory at the peak (PSS).",
            _bars(results, name),
        ),
        Picture(
            "flower-auc",
            f"{results['data']}: mean AUC over the seconds since the first round began.",
            _auc(results, name),
        ),
    )
    figures = {
        "round": f"{ours['round_s']['median']:.2f} s",
        "flower_round": f"{peer['round_s']['median']:.1f} s",
        "round_2": f"{few[0]['round_s']['median']:.2f} s",
        "flower_round_2": f"{few[1]['round_s']['median']:.1f} s",
        "overhead_ratio": f"{over[1] / over[0]:.0f}",
        "bytes": f"{kilobytes[0]:.0f} kB",
        "flower_bytes": f"{kilobytes[1]:.0f} kB",
        "memory": f"{peak[0]:.0f} MB",
        "flower_memory": f"{peak[1]:.0f} MB",
        "memory_rss": f"{ours['memory_peak']['rss_mb']:.0f} MB",
        "flower_memory_rss": f"{peer['memory_peak']['rss_mb']:.0f} MB",
        "seconds_to_auc": _seconds(ours["seconds_to_auc"]),
        "flower_seconds_to_auc": _seconds(peer["seconds_to_auc"]),
        "flower_version": results["flower_version"],
        "clients": str(clients),
    }
    return Section("A fleet beside Flower", lead, "\n".join(body), pictures, figures)


def _bytes(side: Mapping[str, Any], span: str) -> float:
    return float(side[f"bytes_up_per_{span}"] + side[f"bytes_down_per_{span}"])


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.3g} s"


def _spread(side: Mapping[str, Any], key: str) -> str:
    one = side[key]
    return f"{one['median']:.3g} ({one['p10']:.3g} to {one['p90']:.3g}, {one['n']})"


def _few_table(sides: Sequence[Mapping[str, Any]], name: str) -> str:
    """Rounds of few clients, a core for each."""
    peaks = [side["memory_peak"] for side in sides]
    rows = [
        ("a round, s: median (p10 to p90, rounds)", *(_spread(side, "round_s") for side in sides)),
        ("of it overhead, s", *(_spread(side, "overhead_s") for side in sides)),
        ("bytes of a client a round, both ways", *(f"{_bytes(side, 'round'):,.0f}" for side in sides)),
        ("memory of a client at its peak, PSS / RSS, MB", *(f"{p['pss_mb']:.0f} / {p['rss_mb']:.0f}" for p in peaks)),
        ("CPU of a client a round, s", *(f"{side['client_cpu_s_per_round']:.3f}" for side in sides)),
    ]
    count = sides[0]["clients"]
    return table(("", f"fedtiny, {count} clients", f"{name}, {count} clients"), rows)


def _table(ours: Mapping[str, Any], peer: Mapping[str, Any], name: str) -> str:
    def both(side: Mapping[str, Any], key: str, digits: str = ",.0f") -> str:
        return f"{side['memory_' + key]['pss_mb']:{digits}} / {side['memory_' + key]['rss_mb']:{digits}}"

    def ways(side: Mapping[str, Any], span: str) -> str:
        return f"{side['bytes_up_per_' + span]:,.0f} / {side['bytes_down_per_' + span]:,.0f}"

    sides = (ours, peer)
    rows = [
        ("a round, s: median (p10 to p90, rounds)", *(_spread(side, "round_s") for side in sides)),
        ("of it overhead, s", *(_spread(side, "overhead_s") for side in sides)),
        ("bytes of a client a round, up / down", *(ways(side, "round") for side in sides)),
        ("bytes of a client an idle minute, up / down", *(ways(side, "idle_minute") for side in sides)),
        ("memory of a client at its peak, PSS / RSS, MB", *(both(side, "peak") for side in sides)),
        ("memory of a client idle, PSS / RSS, MB", *(both(side, "idle") for side in sides)),
        ("processes of a client at its peak", *(str(side["memory_peak"]["processes"]) for side in sides)),
        ("CPU of a client a round, s", *(f"{side['client_cpu_s_per_round']:.3f}" for side in sides)),
        ("CPU of a client an idle minute, s", *(f"{side['cpu_s_per_idle_minute']:.3f}" for side in sides)),
        ("rounds to the AUC", *(str(side["rounds_to_auc"] or "not reached") for side in sides)),
        ("time to the AUC", *(_seconds(side["seconds_to_auc"]) for side in sides)),
        ("start to the first round, s", *(f"{side['start_s']:.1f}" for side in sides)),
    ]
    return table(("", "fedtiny", name), rows)


def _bars(results: Mapping[str, Any], name: str) -> "Figure":
    figure, (seconds, traffic, memory) = axes(3, 2.5)
    names, colours = ("fedtiny", name), tuple(SIDES.values())
    sides = [results[side] for side in SIDES]
    rounds = [side["round_s"]["median"] for side in sides]
    seconds.bar_label(seconds.bar(names, rounds, color=colours), [f"{s:.2g} s" for s in rounds], padding=2)
    seconds.set_yscale("log")
    seconds.set_ylim(min(rounds) / 10, max(rounds) * 4)
    seconds.set_title("a round")
    total = [_bytes(side, "round") / 1e3 for side in sides]
    traffic.bar_label(traffic.bar(names, total, color=colours), [f"{kb:.0f} kB" for kb in total], padding=2)
    up = [side["bytes_up_per_round"] / 1e3 for side in sides]
    traffic.bar(names, up, color=[LIGHT[colour] for colour in colours])
    traffic.set_title("bytes a round (light: up)")
    peak = [side["memory_peak"]["pss_mb"] for side in sides]
    memory.bar_label(memory.bar(names, peak, color=colours), [f"{mb:.0f} MB" for mb in peak], padding=2)
    idle = [side["memory_idle"]["pss_mb"] for side in sides]
    memory.plot(names, idle, "_", color="black", ms=30)
    memory.set_title("PSS of a client (line: idle)")
    for plot in (traffic, memory):
        plot.margins(y=0.15)
    return figure


def _auc(results: Mapping[str, Any], name: str) -> "Figure":
    figure, (plot,) = axes(1, 2.5)
    for side, colour in SIDES.items():
        one = results[side]
        label = "fedtiny" if side == "fedtiny" else name
        plot.plot(list(accumulate(one["all_rounds_s"])), one["auc"], "o-", color=colour, ms=4, label=label)
    plot.axhline(results["auc_target"], color=FAINT, linestyle="--", zorder=0)
    plot.set_xscale("log")
    plot.set_xlabel("seconds since the first round began (logarithmic)")
    plot.set_ylabel("mean AUC")
    plot.legend(loc="lower right")
    return figure
