"""What messages are thrown at: a real coordinator, a real agent and a monitor's view, without a broker between them.

A message goes through what it would go through behind the connection: topic, signature, codec, and all that acts on
it. What is said on a global topic comes to the coordinator as the broker's retained message, as to one that connects.
What either of them publishes is thrown away. They are begun anew from time to time, each time of another fleet:
strategies that take deltas and statistics, with pinned keys and without.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cryptography.x509 import load_der_x509_certificate

from benchmarks.hardship.fuzz_messages import CA, CERTIFICATES, FLEET, KEYS, VICTIM, Hostile, Now
from fedtiny import config
from fedtiny.coordinator import Coordinator
from fedtiny.device import Device
from fedtiny.edge import Agent, Run
from fedtiny.errors import DataError, FedTinyError, ProtocolError, ReleaseError, StorageError
from fedtiny.ledger import Ledger
from fedtiny.model.artifact import Release
from fedtiny.monitor import FleetView
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import ReleaseMessage
from fedtiny.protocol.signing import public_key
from fedtiny.provisioning.certificates import certificate_pem, key_pem
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.recording import Source
from fedtiny.transport import Received

# strategy, quorum, whether keys are pinned and updates signed
Fleet = tuple[str, int, bool]
Receive = Callable[[Received], None]
FLEETS: tuple[Fleet, ...] = (
    ("fedavg", 1, False),
    ("ridge", 1, False),
    ("median", 6, False),
    ("ridge", 6, True),
    ("fedadam", 6, True),
    ("multi-krum", 6, False),
)
AGENT_TAKES = (ProtocolError, ReleaseError, DataError, StorageError)  # what its loop counts and goes on from
COORDINATOR_TAKES = (ProtocolError, ReleaseError)
MACHINE = "pump-07"


def prepare(folder: Path, release: Release) -> None:
    """Make what fleets begin from: a CA, keys, a certificate, and an agent's state that has learned its machine."""
    (folder / "ca.pem").write_bytes(certificate_pem(CA))
    for role in ("device", "staff"):
        (folder / f"{role}.pem").write_bytes(key_pem(KEYS[role]))
        (folder / f"{role}.pem").chmod(0o600)
    (folder / "certificate.pem").write_bytes(certificate_pem(load_der_x509_certificate(CERTIFICATES[VICTIM])))
    (folder / "learned").mkdir()
    device = Device(settings_of(folder, folder / "learned", FLEETS[0]), folder / "learned", VICTIM)
    opened = device.open_release(ReleaseMessage(release_id=release.id, tflite=release.data))
    assert opened is not None
    device.use_network(device.accept_release(opened))
    assert device.watch is not None
    for row in machine_features(open_fleet(None), MACHINE, release.features).normal:
        device.watch.take(row[None])
    device.participant.learned()
    device.settle_head()
    device.save()
    device.close()


def settings_of(folder: Path, state: Path, fleet: Fleet, role: Literal["device", "staff"] = "device") -> config.Config:
    """Of the agent, or of those who sign what the fleet follows."""
    strategy, quorum, pinned = fleet
    key = public_key(KEYS["staff"])
    trust = config.Trust(
        coordinator=(key,),
        operator=(key,),
        devices=folder / "ca.pem",
        key=folder / f"{role}.pem",
        certificate=folder / "certificate.pem",
    )
    return config.Config(
        fleet=FLEET,
        device=VICTIM,
        state=state,
        source=config.ReplaySource(machine=MACHINE, speed=0),
        edge=config.Edge(learn_windows=40, buffer_windows=80, evidence_files=0),
        # buffered: its steps depend on no clock; nobody is kept out, so that everybody's updates are looked at
        coordinator=config.Coordinator(strategy=strategy, mode="buffered", quorum=quorum, strikes=10**9, rounds=0),
        trust=trust if pinned else config.Trust(),
    )


class Receivers:
    """One fleet's coordinator, agent and monitor. release: the fleet's; prepared: what ``prepare`` has made."""

    def __init__(self, prepared: Path, folder: Path, release: Release, source: Source, fleet: Fleet) -> None:
        settings = settings_of(prepared, folder / "agent", fleet)
        shutil.copytree(prepared / "learned", folder / "agent")
        self.agent = Agent(settings, source, Run())
        self._ledger = Ledger(folder / "coordinator")
        self.coordinator = Coordinator(settings_of(prepared, folder, fleet, "staff"), release, self._ledger)
        self._view = FleetView()
        self.fleet = fleet
        self.heads = 0
        self.refused = ""
        self._step()

    @property
    def now(self) -> Now:
        """What is open."""
        rounds = self.coordinator._keeper.rounds
        return Now(rounds.base, max(rounds.number, 1), "statistics" if self.fleet[0] == "ridge" else "delta")

    def take(self, message: Hostile) -> bool:
        """Give ``message`` to everybody; returns whether anybody took it. Raises whatever they do not expect."""
        taken = self._view_takes(message)
        if message.runs:  # what an interpreter makes of a model that its trainer meant to be bad is not ours to catch
            taken |= self._release_opens(message)
        elif "/global/" in message.topic or VICTIM in message.topic:
            taken |= self._expecting(AGENT_TAKES, self.agent._receive, message)
        kept = "/global/" in message.topic and not message.topic.endswith("/command")
        retained = replace(message, retained=message.retained or kept)
        with self._ledger.transaction():
            taken |= self._expecting(COORDINATOR_TAKES, self.coordinator._receive, retained)
        self._step()
        return taken

    def _expecting(self, errors: tuple[type[FedTinyError], ...], receive: Receive, message: Hostile) -> bool:
        try:
            receive(Received(message.topic, message.payload, message.retained, mid=1, qos=1))
        except errors as error:
            self.refused = str(error)
            return False
        return True

    def _view_takes(self, message: Hostile) -> bool:
        event = self._view.apply(message.topic, message.payload, message.retained)
        json.dumps(event)  # as it is printed
        return event is not None

    def _release_opens(self, message: Hostile) -> bool:
        try:
            release = Release(codec.decode(ReleaseMessage, message.payload).tflite)
            release.patched(release.head)
        except (ProtocolError, ReleaseError):
            return False
        return True

    def _step(self) -> None:
        """What the coordinator does after each batch; heads that it makes go to the agent."""
        coordinator = self.coordinator
        coordinator._desk.work()
        coordinator._adopt()
        coordinator._keeper.step()
        for kind, payload in coordinator._outgoing:
            if kind == "head":
                self.heads += 1
                topic = topics.fleet_topic(FLEET, kind)
                self._expecting(AGENT_TAKES, self.agent._receive, Hostile(topic, payload))
        coordinator._outgoing.clear()

    def close(self) -> None:
        """Let go of the files."""
        self.agent._device.close()
        self.agent._connection.stop(timeout_s=0)
        self.coordinator._connection.stop(timeout_s=0)
        self._ledger.close()
