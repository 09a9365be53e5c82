"""What is asked of the operator, at the foot of the screen."""

from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Static

HELP = """\
1 2 3 4, Tab  fleet, one device, rounds, event log
arrows, Page Up, Page Down, Home, End move
Enter         show the marked device; Left and Right go to the next ones
Escape        back; on the fleet: all devices again
/             only what holds a text: in name, state, alarm; in an event
s             sort: alarms first, name, score / threshold, silent, memory

a  acknowledge: the device's alarms have been seen
b  re-baseline: the device learns anew what is normal, after maintenance
r  roll back: the coordinator brings an older revision of the head back
   Each asks first. What became of it stands above the keys, and in the log.
q  quit

RAISED    alarm of the machine, SENSOR: of its sensor; small: acknowledged
rel/rev   release and revision; yellow where it is behind the fleet's head
own, kept it scores with its own step from that head, or keeps an older one
phase     learn 40%: of the windows it needs; watch 60%: of the promise
All times are UTC. What is shown was published; no device is asked.
Any key closes this."""


Answer = TypeVar("Answer")


class _Dialog(ModalScreen[Answer]):
    """One answer closes it. Keys that were on their way to it by then, as in a paste, say nothing more."""

    def answer(self, answer: Answer) -> None:
        """Give the answer, unless there was one."""
        if self.is_current:
            self.dismiss(answer)


class Help(_Dialog[None]):
    """The keys and words."""

    def compose(self) -> ComposeResult:
        """One box."""
        yield Static(HELP, id="help", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Any key closes it."""
        event.stop()
        self.answer(None)


class Confirm(_Dialog[bool]):
    """A question that y answers with yes, and any other key with no."""

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """One line."""
        yield Static(f"{self._question}   y: yes, any other key: no", id="ask", markup=False)

    def on_key(self, event: events.Key) -> None:
        """The answer."""
        event.stop()
        self.answer(event.key in ("y", "Y"))


class AskText(_Dialog[str | None]):
    """A text, None where the operator thinks better of it. integer: digits only."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, question: str, given: str, *, integer: bool = False) -> None:
        super().__init__()
        self._question, self._given, self._integer = question, given, integer

    def compose(self) -> ComposeResult:
        """Question and text in one line."""
        with Horizontal(id="ask"):
            yield Static(f"{self._question} ", markup=False)
            yield Input(self._given, compact=True, type="integer" if self._integer else "text")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.answer(event.value.strip())

    def action_leave(self) -> None:
        """Escape."""
        self.answer(None)
