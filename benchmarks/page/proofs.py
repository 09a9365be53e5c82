"""What takes longer than a bench: a year of windows, kills, chaos, hostile input, poisoners, firmware."""

from collections.abc import Mapping
from typing import Any

from benchmarks.page.section import Section, table

FILES = ("soak", "femto_live", "kills", "coordinator-kills", "chaos", "fuzz", "overhead", "poison", "firmware")
POISONS = ("none", "flip x10", "scale x100", "random", "failing data")
POISONED = ("fedavg", "fedavg, screened", "multi-krum", "ridge", "ridge, screened")


def section(*results: Mapping[str, Any]) -> Section:
    """The section, from the results of ``FILES`` in their order."""
    soak, live, kills, coordinator, chaos, fuzz, overhead, poison, firmware = results
    lives = [coordinator[name] for name in ("rounds", "buffered", "ridge")]
    killed, delivered = sum(life["kills"] for life in lives), sum(life["updates_delivered"] for life in lives)
    lost = sum(sum(life["wrong"].values()) for life in (*lives, coordinator["hardship"]))
    lead = (
        f"Agents killed {kills['kills']} times and a coordinator {killed} times: of {kills['alarm_messages']} alarm "
        f"messages and {delivered:,} acknowledged updates {sum(kills['wrong'].values()) + lost} were lost, repeated or "
        f"counted twice. `make proofs`; some of it takes a quarter of an hour."
    )
    rows = [
        *_soak(soak),
        *_live(live),
        ("`kills`: an agent killed, its broker coming and going", f"{kills['kills']} times"),
        ("alarm messages lost, reordered or with two contents", f"{sum(kills['wrong'].values())}"),
        ("`coordinator-kills`: killed at random instants", f"{killed} times"),
        ("acknowledged updates lost or counted twice, of", f"{lost} of {delivered:,}"),
        *_chaos(chaos),
        *_fuzz(fuzz),
        *_overhead(overhead),
    ]
    body = [
        table(("", ""), rows),
        "### Two of ten FEMTO devices poison\n",
        "AUC of the eight honest ones, mean / weakest / one threshold, the device's own trial of heads switched off.\n",
        _poison(poison),
        "### The exported C beside TensorFlow Lite Micro with CMSIS-NN\n",
        "Instructions under QEMU 7.2, arm-none-eabi-gcc 12.2 -O2. TFLM's figures were measured once under the same "
        "compiler and emulator and are kept as constants: it cannot be built from packages.\n",
        _firmware(firmware),
    ]
    m4 = firmware["network"]["128-64-16-64-128"]["M4"]["-O2"]["instructions"]
    figures = {
        "soak_mb": f"{soak['litert']['peak_rss_mb']:.0f} MB",
        "killed": f"{kills['kills'] + killed}",
        "lost": f"{sum(kills['wrong'].values()) + lost}",
        "kept_of": f"{kills['alarm_messages'] + delivered:,}",
        "m4": f"{m4:,}",
        "m4_tflm": f"{firmware['network']['128-64-16-64-128']['M4']['beside_tflm']['instructions']['tflm']:,}",
    }
    return Section("Endurance, hostility and firmware", lead, "\n".join(body), figures=figures)


def _soak(soak: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = soak["litert"]
    return [
        ("`soak`: windows through one agent", f"{found['windows']:,}"),
        (
            "its memory at most, LiteRT / tflite-runtime",
            f"{found['peak_rss_mb']:.1f} / {soak['tflite']['peak_rss_mb']:.1f} MB",
        ),
        ("growth of its memory over a million windows", f"{found['slope_mb_per_million']:.2f} MB"),
        ("its state on disk at most", f"{found['state_mb_most']:.1f} MB"),
    ]


def _live(live: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = live["median"]
    return [
        ("`femto-live`: bearings with an alarm that lasts to their end", f"{found['alarmed']:g} of 10"),
        ("alarms before half of life, all bearings", f"{found['alarms_before_half']:g}"),
        ("windows over the threshold before half of life (promised 1 %)", f"{found['over_before_half']:.1%}"),
    ]


def _chaos(chaos: Mapping[str, Any]) -> list[tuple[str, str]]:
    kills = chaos["kills"]
    return [
        (
            "`chaos`: agents / coordinator / broker ended by SIGKILL",
            f"{kills['agent']} / {kills['coordinator']} / {kills['broker']}",
        ),
        ("connections cut, delayed or gone silent", f"{sum(chaos['connections_troubled'].values())}"),
        ("acknowledged updates; without a fate", f"{chaos['updates_delivered']:,}; {sum(chaos['wrong'].values())}"),
        ("all on the newest revision, once left alone, after", f"{chaos['quiet_after_s']:.0f} s"),
    ]


def _fuzz(fuzz: Mapping[str, Any]) -> list[tuple[str, str]]:
    live = fuzz["live"]
    return [
        (
            "`fuzz`: hostile messages; at live processes",
            f"{fuzz['in_process']['messages'] + live['messages']:,}; {live['messages']:,}",
        ),
        ("messages over half a second of CPU", f"{len(fuzz['in_process']['wrong'])}"),
    ]


def _overhead(overhead: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            "`overhead`: a round on ten agents, from its opening to the new head",
            f"{overhead['plain']['median_s']:.2f} s",
        ),
        ("with TLS and signatures", f"{overhead['secured']['median_s']:.2f} s"),
    ]


def _poison(poison: Mapping[str, Any]) -> str:
    def cell(row: Mapping[str, Any]) -> str:
        return " / ".join(f"{row['global'][key]:.3f}" for key in ("auc_mean", "auc_min", "auc_one_threshold"))

    rows = [(f"`{name}`", *(cell(poison["rows"][name][kind]) for kind in POISONS)) for name in POISONED]
    return table(("", "nobody", *POISONS[1:]), rows)


def _firmware(firmware: Mapping[str, Any]) -> str:
    rows = []
    for shape, boards in firmware["network"].items():
        for board, found in boards.items():
            beside = found["beside_tflm"]["instructions"]
            rows.append(
                (
                    f"{shape}, Cortex-{board}",
                    f"{beside['ours']:,}",
                    f"{beside['tflm']:,}",
                    f"{beside['share']:.2f}",
                    f"{found['-O2']['program_bytes']:,}",
                    f"{found['ram_bytes']:,}",
                    f"{found['-O2']['stack_bytes']:,}",
                )
            )
    head = ("", "instructions a window", "TFLM", "ratio", "program, B", "RAM, B", "stack, B")
    return table(head, rows)
