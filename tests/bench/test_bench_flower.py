"""What the comparison with Flower says stands on these: the same local step, honest counts, the section."""

import importlib.util
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

import benchmarks
from benchmarks.flower.bench import floors
from benchmarks.flower.side import Instant, Side, figures, of_rounds
from benchmarks.page.flower import section
from benchmarks.page.style import save
from benchmarks.shared.proxy import Proxy
from benchmarks.shared.site import free_port
from benchmarks.shared.tree import Memory, Tree, end
from fedtiny.federation.local import fit_head
from fedtiny.model.head import Head

APP = Path(benchmarks.__file__).parent / "flower" / "app"
PARENT = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print('ready', flush=True); input()"], stdin=subprocess.PIPE)
child.wait()
"""


def instant(at, bytes_up, cpu_s):
    return Instant(at, {"up": bytes_up, "down": 2 * bytes_up}, cpu_s)


@pytest.fixture
def side():
    """Two clients, three rounds of 9, 2 and 4 s; the first is for warming up."""
    head = Head(np.zeros((2, 3), np.float32), -1.0, 1.0)
    return Side(
        2,
        start_s=5.0,
        bounds=[100.0, 109.0, 111.0, 115.0],
        heads=[head] * 3,
        counted=[instant(109, 1000, 1.0), instant(115, 5000, 2.0)],
        idle=[instant(115, 5000, 2.0), instant(145, 5300, 2.5)],
        memory_idle=Memory(30.0, 60.0, 1),
        memory_peak=Memory(40.0, 70.0, 1),
    )


def results(side, slower):
    one = figures(side, [0.9, 0.95, 0.96], 0.01, 0.95)
    other = figures(side, [0.9, 0.91, 0.92], 0.01, 0.95)
    other |= {"overhead_s": one["overhead_s"] | {"median": slower * one["overhead_s"]["median"]}}
    about = {"data": "FEMTO", "flower_version": "1.41.0", "auc_target": 0.95, "auc_before": 0.8}
    few = {"fedtiny": of_rounds(side, 0.01), "flower": of_rounds(side, 0.01)}
    few["flower"] |= {"overhead_s": other["overhead_s"], "round_s": other["round_s"] | {"median": 8.0}}
    return about | {"fedtiny": one, "flower": other, "few": few}


@pytest.mark.parametrize("proximal", [0.3, 1e-3])
def test_flowers_clients_compute_what_the_devices_compute(rng, proximal):
    spec = importlib.util.spec_from_file_location("step", APP / "head" / "step.py")
    step = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(step)
    hidden, targets = (rng.normal(size=(50, size)).astype(np.float32) for size in (8, 12))
    head = rng.normal(size=(12, 9)).astype(np.float32)
    ours = fit_head(head, hidden, targets, 30, proximal)
    assert np.allclose(step.fit_head(head, hidden, targets, 30, proximal), ours, rtol=1e-4, atol=1e-6)
    assert not np.allclose(ours, head)


def test_figures_leave_the_warm_up_out_and_count_for_one_client_and_one_minute(side):
    found = figures(side, [0.9, 0.95, 0.96], 0.5, target=0.95)
    assert found["round_s"]["median"] == 3.0
    assert found["overhead_s"]["median"] == 2.5
    assert (found["bytes_up_per_round"], found["bytes_down_per_round"]) == (1000, 2000)
    assert found["client_cpu_s_per_round"] == 0.5
    assert (found["bytes_up_per_idle_minute"], found["cpu_s_per_idle_minute"]) == (300, 1.0)
    assert (found["rounds_to_auc"], found["seconds_to_auc"]) == (2, 11.0)


def test_an_auc_that_is_never_reached_is_none(side):
    found = figures(side, [0.9, 0.91, 0.92], 0.5, target=0.95)
    assert found["rounds_to_auc"] is None
    assert found["seconds_to_auc"] is None


def test_the_floor_of_the_overhead_is_a_tenth_of_flowers(side):
    assert [floor.met for floor in floors(results(side, slower=11))] == [True] * 4
    assert [floor.met for floor in floors(results(side, slower=9))] == [False, False, True, True]


def test_the_section_says_what_was_not_reached_and_draws_itself(side, tmp_path):
    made = section(results(side, slower=11))
    assert made.figures["seconds_to_auc"] == "11 s"
    assert made.figures["flower_seconds_to_auc"] == "not reached"
    assert made.figures["overhead_ratio"] == "11"
    assert (made.figures["round_2"], made.figures["flower_round_2"]) == ("3.00 s", "8.0 s")
    assert "Flower 1.41.0" in made.lead
    for picture in made.pictures:
        save(picture.figure, tmp_path / picture.name)
        assert (tmp_path / picture.name).stat().st_size > 1000


def test_a_tree_counts_children_and_ends_with_them():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        tree = Tree(parent.pid)
        members, memory = tree.members(), tree.memory()
        end([parent.pid])
    assert len(members) == memory.processes == 2
    assert 1 < memory.pss_mb < memory.rss_mb
    assert not any(psutil.pid_exists(member.pid) for member in members)


def test_the_proxy_counts_what_passes_each_way():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                received = b""
                while len(received) < 9000:
                    received += connection.recv(4096)
                connection.sendall(b"x" * 500)
                connection.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        port = free_port()
        with Proxy(port, server.getsockname()[1]) as proxy:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"y" * 9000)
                answered = 0
                while answered < 500:
                    answered += len(client.recv(4096))
                carried = dict(proxy.carried)
            thread.join(10)
    assert carried == {"up": 9000, "down": 500}
