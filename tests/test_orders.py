"""Orders go through the ledger to a coordinator in another process, or wait for one."""

import subprocess
import sys
from contextlib import closing

import pytest

from fedtiny.errors import ConfigError
from fedtiny.ledger import Ledger
from fedtiny.orders import Block, Forget, PinHead, PublishRelease, Receipt, RollbackHead, UnpinHead, give, parse_order

COORDINATOR = """
import sys
from pathlib import Path
from fedtiny.ledger import Ledger
from fedtiny.orders import Block, parse_order
from fedtiny.store import locked
folder = Path(sys.argv[1])
with locked(folder):
    ledger = Ledger(folder)
    print("runs", flush=True)
    while sys.argv[2] == "works":
        row = ledger.next_order()
        if row is not None:
            order = parse_order(row.what)
            with ledger.transaction():
                if isinstance(order, Block):
                    ledger.set_standing(order.device, "blocked", order.reason)
                ledger.finish_order(row.id, ok=isinstance(order, Block), outcome=f"saw {order.order}", now="now")
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    processes = []

    def start(does):
        command = [sys.executable, "-c", COORDINATOR, tmp_path, does]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"runs\n"

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "order",
    [
        PublishRelease(release="ab" * 32),
        PinHead(),
        PinHead(revision=3),
        UnpinHead(),
        Block(device="pump-1", reason="Öl"),
    ],
)
def test_an_order_is_read_as_it_was_given(order):
    assert parse_order(order.model_dump_json()) == order


@pytest.mark.parametrize("what", ["", "{", '{"order":"explode"}', '{"order":"forget","device":"A/B"}', "[]"])
def test_an_order_that_is_not_known_is_said(what):
    with pytest.raises(ConfigError, match="order '") as found:
        parse_order(what)
    assert "\n" not in str(found.value)


def test_an_order_is_carried_out_by_the_coordinator_that_runs(tmp_path, start):
    start("works")
    assert give(tmp_path, Block(device="pump-1", reason="poison"), 30) == Receipt(1, "done", "saw block")
    assert give(tmp_path, RollbackHead(revision=7), 30) == Receipt(2, "refused", "saw roll back head")
    with closing(Ledger(tmp_path, guest=True)) as ledger:
        assert (ledger.device("pump-1").standing, ledger.device("pump-1").reason) == ("blocked", "poison")


def test_an_order_to_a_coordinator_that_is_busy_stays(tmp_path, start):
    start("sleeps")
    receipt = give(tmp_path, Forget(device="pump-1"), 0.1)
    assert (receipt.state, receipt.outcome) == (
        "late",
        "not carried out within 0.1 s; it stays in the ledger as order 1",
    )
    with closing(Ledger(tmp_path, guest=True)) as ledger:
        assert parse_order(ledger.next_order().what) == Forget(device="pump-1")


def test_an_order_without_a_coordinator_waits_for_its_start(tmp_path, start):
    Ledger(tmp_path).close()
    receipt = give(tmp_path, Block(device="pump-1"), 30)
    assert receipt == Receipt(1, "later", f"no coordinator runs on {tmp_path}: carried out when it starts next")
    start("works")
    assert give(tmp_path, Block(device="pump-2"), 30).state == "done"
    with closing(Ledger(tmp_path, guest=True)) as ledger:
        assert [row.device for row in ledger.devices()] == ["pump-1", "pump-2"]


def test_an_order_needs_a_ledger(tmp_path):
    with pytest.raises(ConfigError, match="no ledger here"):
        give(tmp_path, UnpinHead(), 30)
