"""``benchmarks/REPORT.md`` and the README's table of figures, from the results files: ``make bench-page``.

``--check`` compares the README's table with what the results say, and writes nothing.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from benchmarks.common import RESULTS
from benchmarks.page import device, flower, proofs, quality, scale, stoll
from benchmarks.page.section import Section, table
from benchmarks.page.style import save

ROOT = RESULTS.parents[1]
README, REPORT, PICTURES = ROOT / "README.md", ROOT / "benchmarks" / "REPORT.md", ROOT / "benchmarks" / "pictures"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
SECTIONS: dict[str, tuple[Callable[..., Section], tuple[str, ...]]] = {
    "device": (device.section, ("device",)),
    "flower": (flower.section, ("flower",)),
    "stoll": (stoll.section, ("stoll",)),
    "scale": (scale.section, ("scale",)),
    "quality": (quality.section, ("femto", "ims", "strategies")),
    "proofs": (proofs.section, proofs.FILES),
}

README_ROWS = (
    (
        "AUC on machines that the trainer never saw (FEMTO), mean / one threshold for all",
        "**{quality.auc_mean} / {quality.auc_one_threshold}**, int8, federated",
        "z-score, no model: {quality.zscore_auc_mean} / {quality.zscore_auc_one_threshold}; float, all data in one "
        "place: {quality.central_auc_mean} / {quality.central_auc_one_threshold}",
    ),
    (
        "the same data, federated LSTM autoencoder (Stoll 2022): AUC mean",
        "**{stoll.auc_mean}**",
        "{stoll.auc_mean_peer}",
    ),
    ("its memory, a client", "**{stoll.memory}**", "{stoll.memory_peer}"),
    ("its CPU, a client, whole training", "**{stoll.cpu}**", "{stoll.cpu_peer}"),
    ("its bytes up, a client a round", "**{stoll.bytes_up}**", "{stoll.bytes_up_peer}"),
    (
        "a round on 2 clients; on {flower.clients}, all on two cores",
        "**{flower.round_2}; {flower.round}**",
        "Flower {flower.flower_version}: {flower.flower_round_2}; {flower.flower_round}",
    ),
    (
        "memory of a client, RSS (PSS where ten share a machine)",
        "**{flower.memory_rss}** ({flower.memory})",
        "Flower: {flower.flower_memory_rss} ({flower.flower_memory})",
    ),
    ("bytes of a client a round, both ways", "**{flower.bytes}**", "Flower: {flower.flower_bytes}"),
    (
        "a window from samples to alarm, 2 x 2,560 samples",
        "**{device.window_to_alarm}**",
        "its model alone: {device.model_int8} int8, {device.model_numpy} float in numpy",
    ),
    (
        "1,000 devices, 20 kB each: from the last upload to the new head on all",
        "**{scale.scale_after_upload}**",
        "asked for: 2 s",
    ),
    (
        "instructions a window of the exported network, Cortex-M4",
        "**{proofs.m4}**",
        "TensorFlow Lite Micro with CMSIS-NN: {proofs.m4_tflm}",
    ),
    (
        "alarms and acknowledged updates lost in {proofs.killed} SIGKILLs",
        "**{proofs.lost}** of {proofs.kept_of}",
        "",
    ),
)


def read(name: str) -> dict[str, Any]:
    """One results file; a missing one ends the program with the command that makes it."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        sys.exit(f"{path.relative_to(ROOT)} is missing: make bench-{name}")
    return dict(json.loads(path.read_text()))


def sections() -> dict[str, Section]:
    """All of them, in the order of the page."""
    return {name: make(*map(read, files)) for name, (make, files) in SECTIONS.items()}


def page(found: dict[str, Section]) -> str:
    """The page as Markdown; pictures are in ``pictures/`` beside it."""
    results = {name: read(files[0]) for name, (_, files) in SECTIONS.items()}
    kept = [floor["met"] for _, files in SECTIONS.values() for name in files for floor in read(name).get("floors", ())]
    parts = [
        "# What fedtiny measures\n",
        "Made by `make bench` from [results](results). Peers ran on the same machine in the same run, unless a line "
        "says that a figure is published or was measured before. "
        f"Of {len(kept)} figures that were asked for {sum(kept)} are met; the others say **short**.\n",
        *(f"- [{one.title}](#{_anchor(one.title)}): {one.lead}" for one in found.values()),
        "",
    ]
    for one in found.values():
        parts += [f"## {one.title}\n", one.body]
        parts += [
            f"![{picture.caption}](pictures/{picture.name}.svg)\n\n*{picture.caption}*\n" for picture in one.pictures
        ]
    parts += ["## Where and with what\n", _where(results)]
    return "\n".join(parts)


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def _where(results: dict[str, dict[str, Any]]) -> str:
    about = {name: one["versions"] for name, one in results.items()}
    keys = dict.fromkeys(key for one in about.values() for key in one)
    rows = [
        ("measured (UTC)", *(one.get("measured_utc", "–")[:16] for one in results.values())),
        ("load before", *(str(one.get("load_before", "–")) for one in results.values())),
    ]
    rows += [(key, *(one.get(key, "–") for one in about.values())) for key in keys]
    return table(("", *results), rows)


def readme_table(found: dict[str, Section]) -> str:
    """The README's table: figures of the sections, beside those of the peers."""
    named = {name: SimpleNamespace(**(one.figures or {})) for name, one in found.items()}
    return table(("", "fedtiny", "beside it"), [[cell.format_map(named) for cell in row] for row in README_ROWS])


def main(check: bool) -> None:
    """Write all, or compare the texts."""
    found = sections()
    before, rest = README.read_text().split(BEGIN)
    texts = {
        README: f"{before}{BEGIN}\n{readme_table(found)}{END}{rest.split(END)[1]}",
        REPORT: page(found),
    }
    if check:
        for path, text in texts.items():
            if not path.exists() or path.read_text() != text:
                sys.exit(f"{path.name}: its figures are not those of benchmarks/results: run make bench-page")
        return
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for one in found.values():
        for picture in one.pictures:
            save(picture.figure, PICTURES / f"{picture.name}.svg")
    for path, text in texts.items():
        path.write_text(text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:] == ["--check"])
