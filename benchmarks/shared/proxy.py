"""A TCP proxy between devices and their server that counts what passes and can be told to be a bad network."""

import asyncio
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal

Trouble = Literal["cut", "black hole", "half open", "slow"]
Way = Literal["up", "down"]  # towards the broker, towards the device
CHUNK = 4096
SLOW_DELAY_S, SLOW_BYTES_PER_S = 0.4, 4_000.0


class Link:
    """One device's connection.

    cut: both sides end at once. black hole: nothing moves, and nobody is told. half open: the broker's side ends, the
    device's stays and is silent. slow: each chunk is late, and the line is narrow.
    """

    def __init__(self, device: asyncio.StreamWriter, broker: asyncio.StreamWriter, carried: dict[Way, int]) -> None:
        self._device, self._broker, self._carried = device, broker, carried
        self._passing = asyncio.Event()
        self._passing.set()
        self._slow = self._half_open = False

    async def run(self, from_device: asyncio.StreamReader, from_broker: asyncio.StreamReader) -> None:
        """Until it ends on either side."""
        up = asyncio.create_task(self._pump(from_device, self._broker, "up"))
        down = asyncio.create_task(self._pump(from_broker, self._device, "down"))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        if self._half_open:
            await up  # the device goes on speaking to nobody
        for task in (up, down):
            task.cancel()
        self.cut()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._passing.wait()
                if self._slow:
                    await asyncio.sleep(SLOW_DELAY_S + len(data) / SLOW_BYTES_PER_S)
                if not writer.is_closing():
                    self._carried[way] += len(data)
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass

    def cut(self) -> None:
        for writer in (self._device, self._broker):
            writer.transport.abort()

    def suffer(self, trouble: Trouble) -> None:
        """Begin with it."""
        if trouble == "cut":
            self.cut()
        elif trouble == "half open":
            self._half_open = True
            self._broker.transport.abort()
        elif trouble == "black hole":
            self._passing.clear()
        else:
            self._slow = True

    def recover(self) -> None:
        """From what passes: what was cut or is half open stays so."""
        self._passing.set()
        self._slow = False


class Proxy:
    """A context manager: listens on ``port`` of loopback in its own thread and passes all on to ``broker_port``.

    carried: bytes that it has passed on since it began, over all connections, without the headers of TCP and IP.
    """

    def __init__(self, port: int, broker_port: int) -> None:
        self._port, self._broker_port = port, broker_port
        self._loop = asyncio.new_event_loop()
        self._links: set[Link] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0
        self.carried: dict[Way, int] = {"up": 0, "down": 0}
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def trouble(self, what: Trouble, links: int, seconds: float, chance: random.Random) -> int:
        """Let up to ``links`` connections suffer for ``seconds``; returns how many.

        A black hole swallows those that are made meanwhile as well: they are accepted and never answered.
        """

        def begin() -> int:
            found = chance.sample(sorted(self._links, key=id), min(links, len(self._links)))
            for link in found:
                link.suffer(what)
                self._loop.call_later(seconds, link.recover)
            if what == "black hole":
                self._silent_until = self._loop.time() + seconds
            return len(found)

        return self._call(begin)

    def heal(self) -> None:
        """From now on a good network."""

        def recover() -> int:
            self._silent_until = 0.0
            for link in self._links:
                link.recover()
            return 0

        self._call(recover)

    def _call(self, function: Callable[[], int]) -> int:
        async def called() -> int:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    async def _serve(self, from_device: asyncio.StreamReader, device: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            await asyncio.sleep(max(0.0, self._silent_until - self._loop.time()))
            from_broker, broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
            link = Link(device, broker, self.carried)
            self._links.add(link)
            try:
                await link.run(from_device, from_broker)
            finally:
                self._links.discard(link)
        except (OSError, asyncio.CancelledError):  # the broker is away; the end
            device.transport.abort()
        finally:
            self._handlers.discard(task)

    async def _end(self) -> None:
        self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers)
