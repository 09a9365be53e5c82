"""Ours beside the LSTM autoencoders of Stoll 2022 and Ahmad 2020."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.common import COLUMNS
from benchmarks.page.section import Picture, Section, floors, table
from benchmarks.page.style import ALARM, FAINT, OTHER, OURS, PEER, axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "ours": "fedtiny, federated, int8",
    "stoll_federated": "Stoll, federated",
    "stoll_central": "Stoll, central",
    "bands_federated": "Stoll on bands, federated",
    "bands_central": "Stoll on bands, central",
    "ahmad_central": "Ahmad, central",
    "bands_federated_whitened": "Stoll on bands, federated, by our score",
    "bands_central_whitened": "Stoll on bands, central, by our score",
}
COLOURS = {"ours": OURS, "stoll_federated": PEER, "bands_federated": OTHER, "ahmad_central": ALARM}
SMALLEST_SHARE = 1e-4  # of wrongly ordered pairs, on the logarithmic axis


def section(results: Mapping[str, Any]) -> Section:
    """The section, from the results file."""
    methods, published = results["methods"], results["published"]
    trained = {name: found for name, found in methods.items() if not name.endswith("_whitened")}  # the rest: the same
    ours, peer, large = methods["ours"], methods["stoll_federated"], methods["ahmad_central"]
    lead = (
        f"On the same windows a client of ours takes {ours['peak_rss_mb']:.0f} MB, {ours['cpu_s']['total']:.1f} s of "
        f"CPU and {_bytes(ours['bytes_a_round']['up'])} up a round; one of the federated LSTM autoencoder of Stoll "
        f"2022 takes {peer['peak_rss_mb']:.0f} MB, {peer['cpu_s']['total']:.0f} s and "
        f"{_bytes(peer['bytes_a_round']['up'])}. Mean AUC {ours['detection']['auc_mean']:.3f} against "
        f"{peer['detection']['auc_mean']:.3f}; the baseline of Ahmad et al. with {large['weights'] / 1e6:.1f} million "
        f"weights: {large['detection']['auc_mean']:.3f}."
    )
    bounds = ", ".join(f"{WORDS[name]} {len(found['losses'])}" for name, found in trained.items() if "losses" in found)
    body = [
        _detection(methods),
        "At the published rule: mean + 4 deviations of the local snapshots, lowest of three scores. All other columns "
        "by the same protocol and the same rule for thresholds as everywhere on this page. Two things differ besides "
        "the network: ours starts from a release that was trained on the base machines, and its score is whitened by "
        "what is normal for the machine; the peers start from random weights and have the plain error, as published. "
        "The rows by our score are no one's method: they are the same trainings on bands, their residuals whitened as "
        f"ours are, and tell the score from the model. {_whitened(methods)}\n",
        _costs(trained),
        f"CPU and memory are those of {ours['measured']}, of one client of the federated peers (all its rounds in a "
        "fresh process with one thread), and of the central process. The total holds the start of the process and the "
        "scoring of the machine's life; the central ones score those of all machines. An agent of ours does all of it "
        "in turns, so that only its total is known. Our release was trained before, "
        f"once for all devices, in {ours['trainer']['cpu_s']:.0f} s and {ours['trainer']['peak_rss_mb']:.0f} MB. The "
        "peers' bytes are those of the pickled float32 weights, as the thesis sends them; a central training needs the "
        "recordings themselves: so many bytes once.\n",
        "### A machine that no one trained on\n",
        "AUC, false alarms and detection where the machine contributed nothing to the model: of a peer, that of the "
        "other nine machines; of ours, the release of the base machines with the head of the other nine. The machine "
        "itself gives its standardisation and its threshold, and by our score the whitening, too.\n",
        _transfer(methods, results["transferred"]),
        "Epochs, or rounds of one epoch, and the machines left out are bounded so that all of it fits a quarter of an "
        f"hour on 2 quiet cores (this run: {results['wall_s'] / 60:.0f} minutes): {bounds}; "
        f"the thesis trained {published['rounds']} rounds. Figures of the thesis itself, on IMS: "
        f"{published['worker_memory_mb']['mean']} MB mean and {published['worker_memory_mb']['max']} MB peak a worker, "
        f"{published['worker_training_s']:,} s of training, "
        f"{_bytes(published['bytes_up_a_round_4_workers'])} up a round for 4 workers.\n",
        floors(results),
    ]
    machine = results["machine"]
    pictures = (
        Picture(
            "stoll",
            "Wrongly ordered pairs (1 - mean AUC) and what a client or the centre costs; bytes up a round, of the "
            "central ones once",
            _sides(trained),
        ),
        Picture(
            "stoll-life", f"Scores over the life of {machine}, in units of the machine's own threshold", _life(results)
        ),
        Picture(
            "stoll-transfer",
            "AUC on machines that no one trained on, beside the same machines as members (hollow)",
            _moved(methods, results["transferred"]),
        ),
        Picture("stoll-loss", "Loss of the peers by epoch or round, in units of that of the first", _losses(trained)),
    )
    figures = {
        "memory": f"{ours['peak_rss_mb']:.0f} MB",
        "memory_peer": f"{peer['peak_rss_mb']:.0f} MB",
        "cpu": f"{ours['cpu_s']['total']:.1f} s",
        "cpu_peer": f"{peer['cpu_s']['total']:.0f} s",
        "bytes_up": _bytes(ours["bytes_a_round"]["up"]),
        "bytes_up_peer": _bytes(peer["bytes_a_round"]["up"]),
        "auc_mean": f"{ours['detection']['auc_mean']:.3f}",
        "auc_mean_peer": f"{peer['detection']['auc_mean']:.3f}",
    }
    return Section("Beside the LSTM autoencoders of Stoll and Ahmad", lead, "\n".join(body), pictures, figures)


def _bytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _whitened(methods: Mapping[str, Any]) -> str:
    """How far our score alone lifts the peer's network."""
    found = [
        f"{words}, from {methods[name]['detection']['auc_mean']:.4f} "
        f"to {methods[name + '_whitened']['detection']['auc_mean']:.4f}"
        for name, words in (("bands_federated", "federated"), ("bands_central", "central"))
    ]
    ours = methods["ours"]["detection"]["auc_mean"]
    return f"It takes the mean AUC of that network, {'; '.join(found)}; ours has {ours:.4f}."


def _detection(methods: Mapping[str, Any]) -> str:
    rows = []
    for name, found in methods.items():
        seen = found["detection"]
        cells = [f"{seen[key]:.1%}" if key.endswith("_rate") else f"{seen[key]:.4f}" for key in COLUMNS]
        rule = f"{seen['published_false_alarm_rate']:.1%} / {seen['published_detection_rate']:.1%}"
        rows.append((WORDS[name], *cells, rule))
    head = ("", *(words for words, _ in COLUMNS.values()), "false alarms / detected at the published rule")
    return table(head, rows)


def _costs(methods: Mapping[str, Any]) -> str:
    rows = []
    for name, found in methods.items():
        seconds, traffic = found["cpu_s"], found["bytes_a_round"]
        moved = f"{_bytes(traffic['up'])} / {_bytes(traffic['down'])}" if traffic else "–"
        once = _bytes(found["recordings_bytes"]) if found.get("recordings_bytes") else "–"
        cpu = (f"{seconds[key]:.2f}" if key in seconds else "–" for key in ("total", "training", "scoring"))
        rows.append((WORDS[name], *cpu, f"{found['peak_rss_mb']:.0f}", moved, once, _bytes(found["model_bytes"])))
    head = ("", "CPU s", "training", "scoring", "peak MB", "up / down a round", "recordings up", "model")
    return table(head, rows)


def _transfer(methods: Mapping[str, Any], machines: list[str]) -> str:
    rows = []
    for name, found in methods.items():
        if moved := found.get("transfer"):
            cells = [
                f"{seen['auc_mean']:.4f}, {seen['false_alarm_rate']:.1%}, {seen['detection_rate']:.1%}"
                if (seen := moved.get(machine))
                else "–"
                for machine in machines
            ]
            rows.append((WORDS[name], *cells))
    every = methods["ours"]["transfer"]
    lowest = min(every, key=lambda name: every[name]["auc_mean"])
    mean = sum(found["auc_mean"] for found in every.values()) / len(every)
    return (
        table(("", *machines), rows)
        + f"\nOurs, each of the {len(every)} machines left out in turn: mean AUC {mean:.4f}, lowest "
        f"{every[lowest]['auc_mean']:.4f} ({lowest}).\n"
    )


def _sides(methods: Mapping[str, Any]) -> "Figure":
    figure, plots = axes(5, 2.4)
    names = list(methods)[::-1]
    panels = {
        "1 - AUC": [max(1 - methods[name]["detection"]["auc_mean"], SMALLEST_SHARE) for name in names],
        "CPU s": [methods[name]["cpu_s"]["total"] for name in names],
        "peak MB": [methods[name]["peak_rss_mb"] for name in names],
        "bytes up": [_up(methods[name]) for name in names],
        "model bytes": [methods[name]["model_bytes"] for name in names],
    }
    for plot, (title, values) in zip(plots, panels.items(), strict=True):
        plot.scatter(values, names, color=[OURS if name == "ours" else PEER for name in names], zorder=2)
        plot.grid(axis="y", color=FAINT, lw=0.6)
        plot.set_xscale("log")
        plot.minorticks_off()
        plot.set_xlim(min(values) / 5, max(values) * 5)
        plot.set_title(title)
        plot.set_yticks(names, [WORDS[name] for name in names] if plot is plots[0] else [""] * len(names))
    return figure


def _up(found: Mapping[str, Any]) -> float:
    """A round's bytes, or where there are none the recordings'."""
    return float(found["bytes_a_round"]["up"] if found["bytes_a_round"] else found["recordings_bytes"])


def _life(results: Mapping[str, Any]) -> "Figure":
    figure, (plot,) = axes(1, 2.8)
    for name in ("stoll_federated", "ahmad_central", "ours"):
        plot.plot(results["positions"], results["methods"][name]["life"], color=COLOURS[name], lw=1, label=WORDS[name])
    failing = [at for at, label in zip(results["positions"], results["labels"], strict=True) if label == 1]
    if failing:
        plot.axvspan(min(failing), max(failing), color=FAINT, lw=0, label="labelled failing")
    plot.axhline(1, color=OTHER, lw=0.8, ls="--")
    plot.set_yscale("log")
    plot.set_xlabel("share of life")
    plot.set_ylabel("score / threshold")
    plot.legend(fontsize=8)
    return figure


def _moved(methods: Mapping[str, Any], machines: list[str]) -> "Figure":
    figure, (plot,) = axes(1, 2.4)
    for i, name in enumerate(COLOURS):
        moved, member = methods[name]["transfer"], methods[name]["per_device"]
        shown = [(number, machine) for number, machine in enumerate(machines) if machine in moved]
        at = [number + 0.15 * (i - (len(COLOURS) - 1) / 2) for number, _ in shown]
        plot.plot(at, [member[machine] for _, machine in shown], "o", mfc="none", color=COLOURS[name], ms=8)
        plot.plot(at, [moved[m]["auc_mean"] for _, m in shown], "o", color=COLOURS[name], ms=5, label=WORDS[name])
    plot.set_xticks(range(len(machines)), machines)
    plot.set_ylim(min(0.95, plot.get_ylim()[0]), 1.005)
    plot.set_ylabel("AUC")
    plot.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _losses(methods: Mapping[str, Any]) -> "Figure":
    figure, (plot,) = axes(1, 2.4)
    for name, found in methods.items():
        if losses := found.get("losses"):
            style = "-" if found["bytes_a_round"] else "--"
            colour = ALARM if name.startswith("ahmad") else PEER if name.startswith("stoll") else OTHER
            plot.plot(
                range(1, len(losses) + 1), [one / losses[0] for one in losses], style, color=colour, label=WORDS[name]
            )
    plot.set_xlabel("epoch or round")
    plot.set_ylabel("loss / first")
    plot.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
