"""MQTT 3.1.1, and the only import of paho. Its callbacks convert and enqueue, nothing more.

One network thread owns paho's client; other threads hand it orders (publish, acknowledge) and take events.
That leaves no race between a publish and its acknowledgement, and no exception of paho or of a callback ends
the thread: it becomes a Disconnected event and a new attempt.

Delivery: a QoS 1 message keeps its token from publish() until Published brings it back, across any number of
connections. What had no acknowledgement when a connection was lost is sent again on the next one, in the order of
publish() and before anything newer; nothing is published again by whoever asked for it once. So a spool publishes each
message once in the life of a process, deletes it at Published and does nothing at Disconnected; the next process
begins again at the oldest. That is at least once and in order: the broker gets a message twice, as part of a repeated
run, where only its acknowledgement was lost.

Limits, so that neither side can exhaust memory:

- Out: QoS 1 messages wait in memory, offline ones too, up to 16 MiB; then publish() raises TransportError.
  They die with the process. QoS 0 messages that are published while offline are dropped.
- In: nothing is dropped. Above 4 MiB of unread messages the thread stops reading from the socket, so that
  the broker queues the rest; a consumer that reads nothing for a minute loses the connection (keep-alive)
  and, where the session is persistent, gets its unacknowledged messages again afterwards.
"""

import functools
import itertools
import logging
import queue
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fedtiny import config, tls
from fedtiny.errors import TransportError

MAX_OUTSTANDING_BYTES = 16 * 1024 * 1024
MAX_UNREAD_BYTES = 4 * 1024 * 1024
MESSAGE_OVERHEAD_BYTES = 512  # what a message costs beside its payload; also bounds how many there can be
KEEPALIVE_S = 30
CONNACK_TIMEOUT_S = 10.0
MAX_BACKOFF_S = 60.0

log = logging.getLogger(__name__)
P = ParamSpec("P")


@dataclass(frozen=True)
class Connected:
    """The broker accepted us; the subscriptions are on their way to it."""

    session_present: bool


@dataclass(frozen=True)
class Disconnected:
    """No connection any more, or none yet; trying again. ``reason`` names host and port."""

    reason: str


@dataclass(frozen=True)
class Received:
    """A message. ``connection`` counts connections: an acknowledgement is only good on the one it came by."""

    topic: str
    payload: bytes
    retained: bool
    mid: int
    qos: int
    connection: int = 0


@dataclass(frozen=True)
class Published:
    """The broker has taken over the QoS 1 publish that got ``token``."""

    token: int


Event = Connected | Disconnected | Received | Published


@dataclass(frozen=True)
class _Outgoing:
    token: int
    topic: str
    payload: bytes
    qos: int
    retain: bool


def _guarded(callback: Callable[P, None]) -> Callable[P, None]:
    """A callback whose exception is counted and logged (the first one), never raised into paho's loop."""

    @functools.wraps(callback)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception as error:
            connection = args[0]
            assert isinstance(connection, Connection)
            connection.faults += 1
            if connection.faults == 1:
                log.warning("%s: %s: %s", callback.__name__.strip("_"), type(error).__name__, error)

    return guarded


class Connection:
    """A connection that is made again whenever it is lost.

    broker: where to, and with which certificates; ConfigError when these cannot be used. subscriptions: (filter, QoS)
    pairs, made again at each connect. will: (topic, payload) that the broker publishes, retained and with QoS 1, when
    we vanish. persistent: the broker keeps our subscriptions and queues QoS 1 messages while we are away. manual_ack:
    a QoS 1 message is delivered again, at the latest on the next connection, until acknowledge().

    What we may not do: a refused subscription is logged; a publish that the broker does not let through comes back
    as Published like any other, for MQTT 3.1.1 has no word for it.
    """

    def __init__(
        self,
        broker: config.Broker,
        client_id: str,
        *,
        subscriptions: Sequence[tuple[str, int]],
        will: tuple[str, bytes] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
    ) -> None:
        context = tls.client_context(broker)
        self.bytes_up = 0
        self.bytes_down = 0
        self.faults = 0
        self._where = f"broker {broker.host}:{broker.port}"
        self._broker = broker
        self._subscriptions = list(subscriptions)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._orders: deque[_Outgoing | Received] = deque()
        self._changed = threading.Condition()  # guards the next three
        self._outstanding: dict[int, int] = {}  # token of an unacknowledged QoS 1 publish -> bytes
        self._outstanding_bytes = 0
        self._unread_bytes = 0
        self._next_token = itertools.count(1)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        # only the network thread touches the rest
        self._sock: Any = None  # of the connection that is, or was last
        self._connected = False
        self._number = 0
        self._reason = ""
        self._refusal = ""
        self._tokens: dict[int, int] = {}  # paho's message id -> our token
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=not persistent,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        if broker.username is not None:
            self._client.username_pw_set(broker.username, broker.password)
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        if context is not None:
            self._client.tls_set_context(context)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    def start(self) -> None:
        """Start connecting, with jittered backoff from 1 to 60 s; never raises for a broker out of reach."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def next_event(self, timeout_s: float) -> Event | None:
        """The oldest unread event; waits at most ``timeout_s`` seconds for one, then None."""
        try:
            event = self._events.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None
        if isinstance(event, Received):
            with self._changed:
                was_paused = self._unread_bytes > MAX_UNREAD_BYTES
                self._unread_bytes -= len(event.payload) + MESSAGE_OVERHEAD_BYTES
            if was_paused:
                self._wake()
        return event

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Queue a message and return its token; Published brings it back once the broker has it (QoS 1)."""
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"topic {topic!r}: expected a name without wildcards")
        if self._stopping.is_set():
            raise TransportError(f"{self._where}: publish after stop")
        token = next(self._next_token)
        if qos == 0 and not self._connected:
            return token
        if qos > 0:
            size = len(payload) + MESSAGE_OVERHEAD_BYTES
            with self._changed:
                if self._outstanding_bytes + size > MAX_OUTSTANDING_BYTES:
                    raise TransportError(
                        f"{self._where}: {len(self._outstanding)} messages wait for their acknowledgement; "
                        f"{len(payload)} bytes more exceed the limit of {MAX_OUTSTANDING_BYTES}"
                    )
                self._outstanding[token] = size
                self._outstanding_bytes += size
        self._orders.append(_Outgoing(token, topic, payload, qos, retain))
        self._wake()
        return token

    def acknowledge(self, received: Received) -> None:
        """Tell the broker that a QoS 1 message was processed (manual_ack); ignored on a later connection."""
        self._orders.append(received)
        self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged every QoS 1 publish; False when it had not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outstanding, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Drain for at most ``timeout_s``, disconnect cleanly (no will is sent), end the thread."""
        if self._stopping.is_set():
            return
        if self._thread is None:
            self._stopping.set()
            self._wake_in.close()
            self._wake_out.close()
            return
        if not self.drain(timeout_s):
            log.warning("%s: stopped with %d messages unacknowledged", self._where, len(self._outstanding))
        self._stopping.set()
        self._wake()
        self._thread.join(timeout=2.0)

    def _wake(self) -> None:
        with suppress(OSError):  # full: awake anyway; closed: stopped
            self._wake_in.send(b"\0")

    # ---- the network thread

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                reason = self._one_connection()
            except Exception as error:
                log.exception("%s: network thread", self._where)
                reason = f"{self._where}: connection given up: {type(error).__name__}: {error}"
            self._connected = False
            if self._stopping.is_set():
                break
            if reason != self._reason:
                self._reason = reason
                self._events.put(Disconnected(reason))
            attempt = 0 if time.monotonic() - began > MAX_BACKOFF_S else min(attempt + 1, 6)
            self._stopping.wait(random.uniform(1.0, min(MAX_BACKOFF_S, 2.0**attempt)))
        self._wake_in.close()
        self._wake_out.close()

    def _one_connection(self) -> str:
        """Connect and serve until the connection ends; returns why it ended."""
        self._number += 1
        try:
            self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            why = tls.handshake_failure(error, self._broker)
            why = why or f"cannot be reached: {getattr(error, 'strerror', None) or error}"
            return f"{self._where} {why}"
        if self._client.socket() is None:
            return f"{self._where} {self._no_answer()}"
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_out, selectors.EVENT_READ)
            code = self._serve(selector, self._sock)
        if not self._connected:
            return self._refusal or f"{self._where} {self._no_answer()}"
        return f"{self._where}: connection lost ({mqtt.error_string(code).rstrip('.').lower()})"

    def _no_answer(self) -> str:
        """Why a connection may have ended before the broker's CONNACK."""
        if isinstance(self._sock, tls.TlsSocket):
            return tls.refusal(self._sock, self._broker)
        return "does not answer as an MQTT broker; if it wants TLS on this port, set ca in [broker]"

    def _serve(self, selector: selectors.BaseSelector, sock: Any) -> MQTTErrorCode:
        """Move packets until the connection ends or stop() asks for its end."""
        self._refusal = ""
        number = sock.fileno()
        connack_by = time.monotonic() + CONNACK_TIMEOUT_S
        lost = mqtt.MQTT_ERR_CONN_LOST
        watched = 0
        while not self._stopping.is_set():
            writing = selectors.EVENT_WRITE if self._client.want_write() else 0
            reading = selectors.EVENT_READ if self._unread_bytes <= MAX_UNREAD_BYTES else 0
            if watched != writing | reading:
                if watched:
                    selector.unregister(number)
                if watched := writing | reading:
                    selector.register(number, watched)
            # bytes that TLS has decrypted already do not show at the socket
            decrypted = bool(reading) and isinstance(sock, tls.TlsSocket) and sock.pending() > 0
            ready = {key.fd: mask for key, mask in selector.select(timeout=0.0 if decrypted else 1.0)}
            if self._wake_out.fileno() in ready:
                with suppress(BlockingIOError):
                    self._wake_out.recv(4096)
            readable = decrypted or ready.get(number, 0) & selectors.EVENT_READ
            if readable and (code := self._client.loop_read()):
                return code
            if ready.get(number, 0) & selectors.EVENT_WRITE and (code := self._client.loop_write()):
                return code
            if code := self._client.loop_misc():
                return code
            if self._connected:
                self._send_orders()
            elif time.monotonic() > connack_by:
                return lost
            if self._client.socket() is None:
                return lost
        self._send_orders()
        self._client.disconnect()
        while self._client.want_write() and selector.select(timeout=1.0):
            self._client.loop_write()
        return lost

    def _send_orders(self) -> None:
        """Give paho what waits, as long as the socket takes it."""
        while self._connected and self._orders and not self._client.want_write():
            order = self._orders.popleft()
            if isinstance(order, Received):
                if order.connection == self._number:
                    self._client.ack(order.mid, order.qos)
                continue
            info = self._client.publish(order.topic, order.payload, order.qos, order.retain)
            self.bytes_up += len(order.topic.encode()) + len(order.payload)
            if order.qos > 0:
                self._tokens[info.mid] = order.token

    def _on_socket_open(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        self._sock = sock
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @_guarded
    def _on_connect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"{self._where} refused the connection: {str(reason).lower()}"
            return
        self._connected = True
        self._reason = ""
        if self._subscriptions:
            client.subscribe(self._subscriptions)
        self._events.put(Connected(flags.session_present))

    @_guarded
    def _on_subscribe(
        self,
        client: mqtt.Client,
        userdata: Any,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        for (topic, _), reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                log.warning("%s refused the subscription to %s", self._where, topic)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        faults = self.faults
        self._take(message)
        if self.faults > faults:  # nobody can process it: do not have it delivered for ever
            client.ack(message.mid, message.qos)

    @_guarded
    def _take(self, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        received = Received(
            message.topic, payload, message.retain, message.mid, message.qos, self._number
        )  # .topic raises when it is not UTF-8
        self.bytes_down += len(message.topic.encode()) + len(payload)
        with self._changed:
            self._unread_bytes += len(payload) + MESSAGE_OVERHEAD_BYTES
        self._events.put(received)

    @_guarded
    def _on_publish(
        self, client: mqtt.Client, userdata: Any, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        token = self._tokens.pop(mid, None)
        if token is None:  # QoS 0
            return
        with self._changed:
            self._outstanding_bytes -= self._outstanding.pop(token)
            self._changed.notify_all()
        self._events.put(Published(token))
