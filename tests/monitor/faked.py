"""The monitor's screen on a connection that a test plays."""

import asyncio
import time
from collections import deque

from hearsay import status

from fedtiny.config import Config
from fedtiny.monitor.app import MonitorApp
from fedtiny.monitor.feed import Feed
from fedtiny.monitor.view import FleetView
from fedtiny.protocol import codec, topics
from fedtiny.transport import Connected, Received


class PlayedConnection:
    """Gives the events that a test puts in; keeps what is published."""

    def __init__(self):
        self.events, self.sent = deque([Connected(session_present=False)]), []

    def start(self):
        pass

    def stop(self, timeout_s=5.0):
        pass

    def next_event(self, timeout_s):
        return self.events.popleft() if self.events else None

    def publish(self, topic, payload, *, qos=1, retain=False):
        assert (qos, retain) == (1, False)
        self.sent.append((topic, payload))
        return len(self.sent)

    def hear(self, device, message, kind, retained=False):
        topic = topics.device_topic("plant", device, kind) if device else topics.fleet_topic("plant", kind)
        self.events.append(Received(topic, codec.encode(message), retained, mid=0, qos=0))


class Screen:
    """A running MonitorApp."""

    def __init__(self, app, link, pilot):
        self.app, self.link, self.pilot = app, link, pilot

    async def press(self, *keys):
        await self.pilot.press(*keys)

    async def heard(self):
        """All that was put in is on the screen."""
        while self.link.events:
            self.app.tick()
        self.app.tick()
        await self.pilot.pause()

    @property
    def lines(self):
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def said(self):
        """What stands above the keys, in one line or two."""
        return " ".join(self.lines[-3:-1])

    @property
    def devices(self):
        """First words of the rows of the fleet's table."""
        rows = self.lines[5 : self.app.size.height - 2]
        return [row.split()[0] for row in rows if row]


def on_screen(test, devices=(), size=(80, 24), config=None):
    """Run the coroutine function ``test`` with a Screen that has heard a status of ``devices``."""

    async def run():
        link, view = PlayedConnection(), FleetView()
        app = MonitorApp(config or Config(), view, Feed("broker b:1", link, time.time))
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, link, pilot)
            for device in devices:
                link.hear(device, status(device), "status")
            await screen.heard()
            await test(screen)

    asyncio.run(run())
