"""``fedtiny monitor`` on a terminal: the fleet, one device, rounds and events, with the keys to act.

Messages are taken in between refreshes, at most four a second; nothing here waits for the network.
"""

import asyncio
import signal
import time
from contextlib import suppress
from itertools import cycle
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Footer

from fedtiny.config import Config
from fedtiny.monitor import facts, words
from fedtiny.monitor.device_page import device_rows
from fedtiny.monitor.dialogs import AskText, Confirm, Help
from fedtiny.monitor.feed import Feed
from fedtiny.monitor.listing import Listing
from fedtiny.monitor.orders import Orders
from fedtiny.monitor.pages import FleetPage, RoundsPage, log_row, refusals
from fedtiny.monitor.panel import Panel, tabs
from fedtiny.monitor.rows import EMPTY, Row
from fedtiny.monitor.view import DeviceView, FleetView
from fedtiny.plain import plain
from fedtiny.transport import Connected, Disconnected, Event, Published, Received

REFRESH_S = 0.25
TAKE_S = 0.1  # of a refresh for messages; what is left over waits for the next one
SORT_S = 2.0  # rows that move all the time cannot be read
GONE = DeviceView()  # one that was taken away since the rows were put in order
PAGES = {"fleet": "Fleet", "device": "Device", "rounds": "Rounds", "log": "Log"}

CSS = """
ContentSwitcher { height: 1fr; }
#head { height: 4; text-wrap: nowrap; text-overflow: ellipsis; }
#notes { height: auto; max-height: 5; }
#said { height: auto; min-height: 1; max-height: 2; }
ModalScreen { align: center bottom; background: transparent; }
#ask { width: 100%; height: 1; dock: bottom; background: ansi_yellow; color: ansi_black; }
#ask Static { width: auto; }
#ask Input { width: 1fr; }
Help { align: center middle; }
#help { width: auto; height: auto; max-width: 100%; max-height: 100%; border: solid ansi_white; padding: 0 1; }
"""


class MonitorApp(App[None]):
    """The screen. timeout_s: ends by itself after so long."""

    ENABLE_COMMAND_PALETTE = False
    CSS = CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"page('{name}')", show=False) for number, name in enumerate(PAGES, 1)),
        Binding("tab", "turn", show=False, priority=True),
        Binding("enter", "open", "Device"),
        Binding("left", "step(-1)", show=False),
        Binding("right", "step(1)", show=False),
        Binding("escape", "leave", "Back"),
        Binding("a", "tell('acknowledge')", "Ack"),
        Binding("b", "tell('re-baseline')", "Re-baseline"),
        Binding("r", "roll_back", "Roll back"),
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, config: Config, view: FleetView, feed: Feed, timeout_s: float | None = None) -> None:
        super().__init__()
        self.theme = "ansi-dark"  # the terminal's own colours
        self._config, self._view, self._feed, self._timeout_s = config, view, feed, timeout_s
        self._orders = Orders(config, feed, self._say)
        self._page, self._device = "fleet", ""
        self._chosen = False  # by the operator; until then it is the first one
        self._names: list[str] = []  # the devices that are shown, in their order
        self._sorts = cycle(words.ORDERS)
        self._sort = next(self._sorts)
        self._text = ""
        self._sort_due = 0.0
        self._said: Row = EMPTY

    def compose(self) -> ComposeResult:
        """Head, pages, notes, what was said last, keys."""
        yield Panel(id="head")
        with ContentSwitcher(initial="fleet"):
            yield Listing(id="fleet", cursor=True)
            yield Listing(id="device")
            yield Listing(id="rounds")
            yield Listing(id="log", follow=True)
        yield Panel(id="notes")
        yield Panel(id="said")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin."""
        self._lists = {name: self.query_one(f"#{name}", Listing) for name in PAGES}
        self._head, self._notes, self._last = (self.query_one(f"#{name}", Panel) for name in ("head", "notes", "said"))
        self._switcher = self.query_one(ContentSwitcher)
        self._feed.start()
        with suppress(NotImplementedError, RuntimeError):  # not in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        if self._timeout_s is not None:
            self.set_timer(self._timeout_s, self.exit)
        self.set_interval(REFRESH_S, self.tick)
        self.action_page("fleet")

    def on_unmount(self) -> None:
        """End; a command that was just given may still go out."""
        self._feed.stop(timeout_s=1.0)

    @property
    def failure(self) -> Exception | None:
        """The error that ended the screen, where one has."""
        return self._exception

    def _fatal_error(self) -> None:
        """End. Textual's own method also prints the values of all variables, pages of them."""
        self._close_messages_no_wait()

    # --- what comes in ---

    def tick(self) -> None:
        """Take in what has come, and show it."""
        for event in self._feed.waiting(TAKE_S):
            self._take(event)
        self._orders.heard(self._view.status)
        self.draw()

    def _take(self, event: Event) -> None:
        match event:
            case Received():
                self._view.apply(event.topic, event.payload, event.retained, time.time())
            case Published(token):
                self._orders.published(token)
            case Connected():
                self._view.note(time.time(), str(self._feed))
            case Disconnected(reason):
                self._view.note(time.time(), f"{reason}; trying again", "trouble")
                self._orders.lost()

    def _say(self, text: str, well: bool) -> None:
        self._view.note(time.time(), text, "" if well else "trouble")
        self._said = ((str(self._view.log[-1]), "bold green" if well else "bold red"),)

    # --- what is shown ---

    def draw(self) -> None:
        """Bring the screen up to date."""
        now, width = time.time(), self.size.width
        self._arrange()
        self._head.show([tabs(PAGES, self._page, str(self._feed), self._feed.connected, width), *self._facts()])
        self._draw_page(now, width)
        self._last.show([self._said])

    def _facts(self) -> list[Row]:
        shown = f"   {len(self._names)} with '{plain(self._text)}'" if self._text else ""
        return [
            ((f"{facts.fleet_line(self._view, self._config.fleet)}   sorted: {self._sort}{shown}", ""),),
            ((facts.coordinator_line(self._view), ""),),
            ((facts.round_line(self._view), ""),),
        ]

    def _arrange(self) -> None:
        """Put the devices in order, where it is time for it; keys act on none that the page does not show."""
        devices = self._view.devices
        if self._view.urgent or time.monotonic() >= self._sort_due:
            self._view.urgent, self._sort_due = False, time.monotonic() + SORT_S
            key = words.ORDERS[self._sort]
            shown = (item for item in devices.items() if not self._text or words.fits(self._text, *item))
            self._names = [name for name, _ in sorted(shown, key=lambda item: key(*item))]
        if not (self._chosen and self._device in (devices if self._page == "device" else self._names)):
            self._device = self._names[0] if self._names else ""

    def _draw_page(self, now: float, width: int) -> None:
        view, listing, notes = self._view, self._lists[self._page], list[Row]()
        if self._page == "fleet":
            page, names = FleetPage(view, width), self._names
            cursor = names.index(self._device) if self._device in names else 0
            listing.show(
                page.heading(), len(names), lambda i: page.row(names[i], view.devices.get(names[i], GONE), now), cursor
            )
            notes += [((text, "bold red"),) for text in [facts.conflicts(view)] if text]
            notes += [((text, "yellow"),) for text in facts.troubles(view)]
        elif self._page == "device":
            self._draw_device(listing, now, width)
        elif self._page == "rounds":
            rounds = list(view.rounds.values())[::-1]
            listing.show(RoundsPage(width).heading(), len(rounds), lambda i: RoundsPage(width).row(rounds[i]))
            notes += refusals(view)
        else:
            entries = [one for one in view.log if self._text.lower() in one.text.lower()]
            listing.show((("events, newest last", "bold"),), len(entries), lambda i: log_row(entries[i]))
        self._notes.show(notes)

    def _draw_device(self, listing: Listing, now: float, width: int) -> None:
        device = self._view.devices.get(self._device)
        if device is None:
            listing.show((("no device: choose one on the fleet's screen", "dim"),), 0, lambda _: EMPTY)
            return
        heading, *rows = device_rows(self._device, device, width - 2, listing.size.height, now)
        listing.show(heading, len(rows), rows.__getitem__)

    # --- keys ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys do something on the page that is shown."""
        pages = {"open": "fleet", "sort": "fleet", "tell": "fleet device", "filter": "fleet log", "step": "device"}
        if action == "leave":
            return self._page != "fleet" or bool(self._text)
        return self._page in pages.get(action, self._page).split()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """The mark is on another device."""
        if event.row < len(self._names):
            self._device, self._chosen = self._names[event.row], True
            self.draw()  # a refresh in between has put the mark back

    def action_page(self, name: str) -> None:
        """Show a page."""
        self._page = self._switcher.current = name
        self._lists[name].focus()
        self.refresh_bindings()
        self.draw()

    def action_turn(self) -> None:
        """Show the next page."""
        names = list(PAGES)
        self.action_page(names[(names.index(self._page) + 1) % len(names)])

    def action_open(self) -> None:
        """Show the marked device."""
        if self._device:
            self._chosen = True
            self.action_page("device")

    def action_leave(self) -> None:
        """To the fleet; all of it, where that is shown."""
        if self._page == "fleet":
            self._seek("")
        self.action_page("fleet")

    def action_step(self, by: int) -> None:
        """Show the device that comes next in the order, or the one before."""
        if self._names:
            at = self._names.index(self._device) if self._device in self._names else -by
            self._device, self._chosen = self._names[(at + by) % len(self._names)], True
            self.draw()

    def action_sort(self) -> None:
        """Put the devices into the next order."""
        self._sort, self._sort_due = next(self._sorts), 0.0
        self.draw()

    def action_filter(self) -> None:
        """Ask for a text."""
        self.push_screen(AskText("only what holds (empty: all):", self._text), self._seek)

    def _seek(self, text: str | None) -> None:
        if text is not None:
            self._text, self._sort_due = text, 0.0
            self.refresh_bindings()
            self.draw()

    def action_tell(self, action: str) -> None:
        """Ask, then send a command to the device."""
        device = self._device
        if device not in self._view.devices:
            return
        meant = {
            "acknowledge": f"{device}: acknowledge its alarms?",
            "re-baseline": f"{device}: forget what is normal and learn it anew?",
        }[action]

        def answered(yes: bool | None) -> None:
            if yes:
                self._orders.tell(device, action)
                self.draw()

        self.push_screen(Confirm(meant), answered)

    def action_roll_back(self) -> None:
        """Ask for a revision, then send the command to the coordinator."""
        head = self._view.head
        if head is None:
            self._say("roll back: not sent, no revision of the head has been seen", False)
            self.draw()
            return

        def answered(text: str | None) -> None:
            if text:
                self._orders.roll_back(text, head)
                self.draw()

        question = f"roll back from revision {head.revision} (Enter: do it, Escape: leave it) to revision"
        self.push_screen(AskText(question, str(max(head.revision - 1, 0)), integer=True), answered)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())
