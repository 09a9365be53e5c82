import re

import numpy as np
import pytest
from page_parser import Page

from fedtiny.report import render_report
from fedtiny.report.scale import envelope

THEN = "2026-01-02T03:04:05+00:00"


def device(name="pump-01", points=120, **changes):
    position = np.linspace(0, 1, points)
    score = np.exp(5 * np.maximum(position - 0.8, 0) * 5)
    return {
        "device": name,
        "position": position.tolist(),
        "label": (position > 0.8).astype(int).tolist(),
        "frozen": (2 * np.ones(points)).tolist(),
        "federated": score.tolist(),
        "threshold": {"frozen": 3.0, "federated": 1.5},
        "alarm_position": 0.83,
        "auc": {"frozen": 0.6, "federated": 0.99, "central": 0.98, "zscore": 0.9},
        "bytes_up": 41_000,
        "bytes_down": 84_000,
        "peak_rss_mb": 68.0,
        **changes,
    }


def summary(frozen=0.7, federated=0.97, zscore=0.9, memory=68.0):
    auc = {"frozen": frozen, "federated": federated, "central": 0.98, "zscore": zscore}
    return {
        "devices": 2,
        "rounds": 2,
        "auc": {
            key: {"per_device_mean": v, "per_device_min": v - 0.1, "one_threshold": v - 0.05} for key, v in auc.items()
        },
        "detection_rate": {key: v - 0.1 for key, v in auc.items()},
        "false_alarm_rate": dict.fromkeys(auc, 0.02),
        "bytes_per_device_round": {"up": 8205, "down": 16640},
        "edge_peak_rss_mb": memory,
        "wall_s": 123.0,
    }


def run(**changes):
    rounds = [
        {"round": i, "revision": i, "participants": names, "answered": len(names), "devices": 2, "loss_before": 0.5 / i}
        | {"loss_after": 0.4 / i, "bytes_up": 16_410, "bytes_down": 33_280, "seconds": 1.5, "closed_utc": THEN}
        | {"opened_utc": THEN, "outcome": f"revision {i}", "missing": ["pump-01"][len(names) - 1 :]}
        for i, names in ((1, ["pump-01", "pump-02"]), (2, ["pump-02"]))
    ]
    judged = {
        "summary": summary(),
        "training": {"windows": 8400, "machines": ["base-1"], "loss": [1.0, 0.5], "validation_loss": [1.1, 0.6]}
        | {"release_id": "ab" * 32, "size_bytes": 48_000},
        "gate": {"rank_correlation": 0.998, "auc_float": None, "auc_int8": None, "passed": True},
        "devices": [device(), device("pump-02")],
    }
    names = [one.get("device") for one in changes.get("devices", judged["devices"])]
    return {
        "title": "fedtiny demo",
        "data": "simulator, seed 0",
        "created_utc": "2026-01-02T03:04:05Z",
        "versions": {"fedtiny": "0.1.0", "interpreter": "litert 2.3.0"},
        "strategy": "fedavg",
        "rounds": rounds,
        "fleet": [{"device": name, "state": "online", "standing": "active", "peak_rss_mb": 68.0} for name in names],
        "evaluation": judged | {key: changes.pop(key) for key in list(changes) if key in judged},
        **changes,
    }


def heights(path):
    return [float(y) for y in re.findall(r"[ML][-\d.]+ ([-\d.]+)", path)]


def test_page_is_well_formed_self_contained_and_every_picture_is_named():
    html = render_report(run())
    page = Page(html)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link|<img", html.replace("</", ""))
    figures = sum(tag == "figure" for tag, _ in page.tags)
    pictures = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert figures == len(pictures) == 7  # 2 machines, gains, memory, loss, bytes, training
    assert all(attrs["aria-label"] for attrs in pictures)
    assert "8.2\u00a0kB" in html
    assert "2 of 2: all" in page.text
    assert "1 of 2: pump-02" in page.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=1>', "a & b"])
def test_hostile_names_stay_text(name):
    rounds = [{"round": 1, "participants": [name]}]
    training = {"machines": [name], "release_id": name}
    page = Page(
        render_report(
            run(
                title=name,
                strategy=name,
                devices=[device(name)],
                rounds=rounds,
                training=training,
                versions={name: name},
            )
        )
    )
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert name in page.text


def test_missing_and_non_finite_numbers_are_dashes_and_gaps():
    nan, inf = float("nan"), float("inf")
    broken = device(
        points=5,
        position=[0.0, 0.2, None, 0.6, 1.0],
        federated=[1.0, nan, 2.0, inf, 3.0],
        frozen=[None] * 5,
        threshold={"frozen": None, "federated": -inf},
        alarm_position=None,
        auc={"frozen": nan, "federated": None},
        peak_rss_mb=nan,
    )
    other = {"device": "bare"}
    html = render_report(
        run(
            devices=[broken, other],
            rounds=[{"round": None, "participants": None, "loss_before": nan, "bytes_up": None}],
            summary={"auc": None, "edge_peak_rss_mb": inf},
            gate=None,
            training={"loss": [nan, None, 1.0]},
        )
    )
    page = Page(html)
    assert not re.search(r"\b(nan|inf|None)\b", html)
    assert "cannot be said" in page.text
    assert page.paths("line federated")[1].count("M") == 2  # [0] is the legend; null position 0.4 is dropped
    assert "–" in page.text


@pytest.mark.parametrize("changes", [{"rounds": []}, {"devices": []}, {"devices": [device(points=1)]}])
def test_small_runs(changes):
    Page(render_report(run(**changes)))


def test_an_empty_run_is_a_page():
    assert "Fleet report" in Page(render_report({})).text


@pytest.mark.parametrize(
    ("figures", "lead"),
    [
        ({"frozen": 0.7, "federated": 0.97}, "Federated learning helped."),
        ({"frozen": 0.97, "federated": 0.7}, "Federated learning made detection worse."),
        ({"frozen": 0.97, "federated": 0.972}, "Federated learning changed little."),
    ],
)
def test_verdict_follows_the_numbers(figures, lead):
    assert lead in Page(render_report(run(summary=summary(**figures)))).text


def test_verdict_names_what_went_wrong():
    mixed = summary()
    mixed["detection_rate"]["federated"] = 0.1
    lost = device("pump-09", auc={"frozen": 0.95, "federated": 0.9})
    text = Page(render_report(run(summary=mixed, devices=[device(), lost]))).text
    assert "mixed result" in text
    assert "detection of anomalous windows fell from" in text
    assert "1 lost: pump-09 (−0.050)" in text
    text = Page(render_report(run(summary=summary(zscore=0.99, memory=81.0)))).text
    assert "does not earn its place" in text
    assert "81\u00a0MB, above the promised" in text.replace("81 MB", "81\u00a0MB")


def test_gains_are_sorted_and_machines_without_faults_are_counted():
    aucs = {"small": (0.9, 0.95), "large": (0.5, 0.99), "loser": (0.9, 0.8), "unlabelled": (None, None)}
    devices = [device(n, auc={"frozen": a, "federated": b}) for n, (a, b) in aucs.items()]
    html = render_report(run(devices=devices))
    picture = html[html.index("AUC before and after") : html.index("Not shown: 1 without labelled faults")]
    places = [picture.index(f">{name}<") for name in ("large", "small", "loser")]
    assert places == sorted(places)
    assert ">unlabelled<" not in picture


def test_peaks_survive_in_the_picture():
    points, rng = 100_000, np.random.default_rng(0)
    quiet = rng.uniform(1, 2, points)
    peak = quiet.copy()
    peak[41_237] = 1000.0  # a single window
    dip = quiet.copy()
    dip[70_001] = 1e-3
    page = Page(render_report(run(devices=[device(points=points, frozen=dip.tolist(), federated=peak.tolist())])))
    federated, frozen = page.paths("line federated")[1], page.paths("line frozen")[1]
    assert len(federated) < 20_000
    ys = sorted(heights(federated))
    assert ys[1] - ys[0] > 50  # the peak alone, far above (smaller y) the rest
    ys = sorted(heights(frozen))
    assert ys[-1] - ys[-2] > 50


def test_envelope_keeps_extremes_order_and_gaps():
    x = np.linspace(0, 10, 5000)
    y = np.random.default_rng(1).normal(size=5000)
    y[1000:2000] = np.nan
    kept_x, kept_y = envelope(x, y, 100)
    assert kept_x.size <= 200
    assert np.all(np.diff(kept_x) > 0)
    assert np.nanmax(kept_y) == np.nanmax(y)
    assert np.nanmin(kept_y) == np.nanmin(y)
    assert np.isnan(kept_y[(kept_x > 2.1) & (kept_x < 3.9)]).all()
    assert np.isfinite(kept_y[kept_x < 1.9]).all()
