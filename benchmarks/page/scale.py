"""How many devices one coordinator carries: the section of ``benchmarks.scale.bench``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.page.section import Picture, Section, floors, table
from benchmarks.page.style import ALARM, FAINT, OTHER, OURS, PEER, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = {
    "uploads": ("the updates are sent", FAINT),
    "intake": ("they are judged and kept", OURS),
    "head": ("they become a head", PEER),
    "delivery": ("it comes to all", OTHER),
}
BROKERS = {"embedded": "nats-server (embedded)", "mosquitto": "Mosquitto"}
COLOURS = {"embedded": OURS, "mosquitto": PEER}


def section(results: Mapping[str, Any]) -> Section:
    """The section; ``results``: scale.json."""
    cases, a_device = results["cases"], results["a_device_more"]
    default = _default(cases)
    thousand = next(one for one in default if one["devices"] == 1000)
    most = max(default, key=lambda one: (one["devices"], one["broker"] == "embedded"))
    after = f"{thousand['after_last_upload_s']['median']:.2f} s"
    lead = (
        f"{thousand['devices']:,} devices send {thousand['update_bytes'] / 1e3:.0f} kB each within "
        f"{thousand['steps_s']['uploads']:.2f} s and have the new head {after} after the last of them has sent; "
        f"{most['devices']:,} on {BROKERS[most['broker']]}, sending within {most['steps_s']['uploads']:.1f} s, after "
        f"{most['after_last_upload_s']['median']:.1f} s. Of {sum(one['acknowledged'] for one in cases):,} updates that "
        f"the brokers acknowledged the ledger lacks {sum(one['missing'] for one in cases)}. One device more costs "
        f"{a_device['coordinator_cpu_ms']:.1f} ms of the coordinator's CPU a round and "
        f"{a_device['coordinator_bytes'] / 1e3:.1f} kB of its memory."
    )
    body = [HOW, _seconds_table(cases), _limit(most, a_device), _growth(default, a_device)]
    body += [_memory_table(default), floors(results)]
    return Section(
        "Scale",
        lead,
        "\n".join(body),
        (
            Picture("scale-seconds", "Seconds from the last upload to the new head on all devices.", _seconds(default)),
            Picture("scale-steps", "Where a round's time goes.", _steps(default)),
            Picture("scale-memory", "Largest memory of coordinator and broker.", _memory(default)),
        ),
        {
            "scale_after_upload": after,
            "scale_most_devices": f"{most['devices']:,}",
            "scale_most_after_upload": f"{most['after_last_upload_s']['median']:.1f} s",
            "scale_memory": f"{most['memory']['coordinator']['peak_rss_mb']:.0f} MB",
        },
    )


HOW = """\
Light devices, a TCP connection each, say over MQTT what an agent says and compute nothing; they share the machine's
cores with the broker and with `fedtiny coordinator`, both as they are shipped. All answer as soon as the round comes to
them, without computing; their processes encode and send one update after the other, and *sent in* is how long that
takes, from the round at the first device to the last update at its socket. 5,000 answers in one instant are too much
for the embedded broker: it delivers again what it has delivered, and rounds take a minute and more.
"""


def _default(cases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those federated as shipped, by broker and size."""
    shipped = [one for one in cases if one["strategy"] == "fedavg" and one["screening"]]
    return sorted(shipped, key=lambda one: (one["broker"], one["devices"]))


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['strategy']}{'' if one['screening'] else ', no screening'}, {BROKERS[one['broker']]}"


def _seconds_table(cases: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "",
        "devices",
        "update",
        "round",
        "sent in",
        "after the last upload",
        "p10 to p90",
        "CPU: coordinator",
        "broker",
        "acknowledged",
        "lost",
    )
    rows = []
    for one in cases:
        after, cpu = one["after_last_upload_s"], one["cpu_s_a_round"]
        rows.append(
            (
                _name(one),
                f"{one['devices']:,}",
                f"{one['update_bytes'] / 1e3:.0f} kB",
                f"{one['round_s']['median']:.2f} s",
                f"{one['steps_s']['uploads']:.2f} s",
                f"{after['median']:.2f} s",
                f"{after['p10']:.2f} to {after['p90']:.2f} s",
                f"{cpu['coordinator']:.2f} s",
                f"{cpu['broker']:.2f} s",
                f"{one['acknowledged']:,} of {one['devices'] * one['rounds']:,}",
                str(one["missing"]),
            )
        )
    return table(head, rows)


def _limit(most: Mapping[str, Any], a_device: Mapping[str, float]) -> str:
    """What is busiest, and what a device more costs."""
    cores = most["cores"]
    busiest = max(("coordinator", "broker"), key=lambda key: cores[key])
    shares = ", ".join(f"{key} {share:.2f}" for key, share in cores.items())
    return (
        f"With {most['devices']:,} devices and {BROKERS[most['broker']]} the {busiest} uses the most CPU of the two; "
        "cores in use during a round: "
        f"{shares}. "
        f"{most['until_all_are_ready_s']:.0f} s pass from the start of the broker until all have connected and have "
        f"the release; {most['thrown_out']} connections were lost and "
        f"{most['subscriptions_refused']} subscriptions refused. One device more, with the embedded broker: "
        f"{a_device['round_ms']:.1f} ms a round, of CPU {a_device['coordinator_cpu_ms']:.1f} ms for the coordinator "
        f"and {a_device['broker_cpu_ms']:.1f} ms for the broker.\n"
    )


def _growth(cases: Sequence[Mapping[str, Any]], a_device: Mapping[str, float]) -> str:
    """How memory goes with the devices."""
    by_size = sorted(cases, key=lambda one: (one["devices"], one["broker"]))
    peaks = ", ".join(
        f"{one['memory']['coordinator']['peak_rss_mb']:.0f} MB with {one['devices']:,}" for one in by_size
    )
    return (
        f"No growth of the coordinator's memory with the devices was asked for; its peak RSS is {peaks}. "
        f"Over all these sizes that is {a_device['coordinator_bytes'] / 1e3:.2f} kB for one device more; the "
        f"bound for it below is our own. The embedded broker takes {a_device['broker_bytes'] / 1e3:.0f} kB more.\n"
    )


def _memory_table(cases: Sequence[Mapping[str, Any]]) -> str:
    head = ("", "devices", "coordinator before", "most", "PSS after", "broker before", "most", "PSS after")
    rows = []
    for one in cases:
        row = [BROKERS[one["broker"]], f"{one['devices']:,}"]
        for name in ("coordinator", "broker"):
            memory = one["memory"][name]
            row += [f"{memory[key]:.0f} MB" for key in ("before_rss_mb", "peak_rss_mb", "after_pss_mb")]
        rows.append(row)
    return table(head, rows)


def _seconds(cases: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, (plot,) = axes()
    for broker, colour in COLOURS.items():
        own = [one for one in cases if one["broker"] == broker]
        middle = [one["after_last_upload_s"]["median"] for one in own]
        low = [one["after_last_upload_s"]["median"] - one["after_last_upload_s"]["p10"] for one in own]
        high = [one["after_last_upload_s"]["p90"] - one["after_last_upload_s"]["median"] for one in own]
        devices = [one["devices"] for one in own]
        plot.errorbar(devices, middle, [low, high], color=colour, marker="o", capsize=3, label=BROKERS[broker])
    plot.plot([1000], [2.0], color=ALARM, marker="_", markersize=24, markeredgewidth=2, linestyle="none")
    plot.annotate("asked for", (1000, 2.0), (14, -10), textcoords="offset points", ha="left", color=ALARM)
    plot.set(xscale="log", yscale="log", ylabel="s")
    _by_devices(plot, cases)
    return figure


def _steps(cases: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, (plot,) = axes()
    names = [f"{one['devices']:,}\n{BROKERS[one['broker']].split(' ')[0]}" for one in cases]
    begun = [0.0] * len(cases)
    for step, (label, colour) in STEPS.items():
        shares = [one["steps_s"][step] / sum(one["steps_s"].values()) for one in cases]
        plot.bar(names, shares, bottom=begun, color=colour, label=label, width=0.6)
        begun = [a + b for a, b in zip(begun, shares, strict=True)]
    plot.set(ylabel="share of the round", ylim=(0, 1))
    plot.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _memory(cases: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, plots = axes(2)
    for plot, name in zip(plots, ("coordinator", "broker"), strict=True):
        for broker, colour in COLOURS.items():
            own = [one for one in cases if one["broker"] == broker]
            peaks = [one["memory"][name]["peak_rss_mb"] for one in own]
            plot.plot([one["devices"] for one in own], peaks, color=colour, marker="o", label=BROKERS[broker])
        most = max(one["memory"][name]["peak_rss_mb"] for one in cases)
        plot.set(xscale="log", ylabel="MB", title=name, ylim=(0, 1.1 * most))
        _by_devices(plot, cases)
    return figure


def _by_devices(plot: "Axes", cases: Sequence[Mapping[str, Any]]) -> None:
    """The axis of the devices, with the sizes that were measured and no others."""
    sizes = sorted({one["devices"] for one in cases})
    plot.set_xlabel("devices")
    plot.set_xticks(sizes, [f"{size:,}" for size in sizes])
    plot.set_xticks([], minor=True)
    plot.legend()
