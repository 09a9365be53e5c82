"""Whom a device believes: who signs with a pinned key, and sends nothing older than what was seen.

A message may be signed and still be one of the past that somebody sends again. The coordinator counts what it
publishes, so the newest number seen of each kind refuses what is older. Commands come from several operators and have
no common count: those that were carried out are remembered, and what is older than all of them may have been one.
"""

from collections.abc import Mapping
from typing import Any, Literal

from fedtiny.config import Trust
from fedtiny.errors import ProtocolError
from fedtiny.protocol import signing
from fedtiny.protocol.messages import Command, FleetCommand

COMMANDS = 64  # that are remembered


class Guard:
    """What the keys of ``trust`` let through; where none are pinned, all is believed and nothing counts as a replay.

    saved: what ``saved()`` gave in an earlier life. Numbers count on while a key that was pinned then still is; a
    coordinator that was set up anew, with a key of its own, begins at 1.

    Attributes:
        unsaved: Whether something has been seen that the disk does not know yet.
    """

    def __init__(self, trust: Trust, saved: Mapping[str, Any]) -> None:
        self._coordinator, self._operator = trust.coordinator, trust.operator
        pinned_before = saved.get("coordinator", ())
        self._newest: dict[str, tuple[int, ...]] = {}
        if not set(trust.coordinator).isdisjoint(pinned_before):
            self._newest.update({kind: tuple(number) for kind, number in saved["newest"].items()})
        self._commands: list[tuple[int, str]] = [
            (issued_ms if trust.operator else 0, command_id) for issued_ms, command_id in saved.get("commands", ())
        ]
        self.unsaved = False

    def saved(self) -> dict[str, Any]:
        """What must survive a restart, as JSON values."""
        return {"coordinator": self._coordinator, "newest": self._newest, "commands": self._commands}

    def body(self, kind: str, topic: str, payload: bytes) -> bytes:
        """The body of a message of ``kind`` that came on ``topic``; ProtocolError "signature: ..."."""
        keys = {
            "release": self._coordinator,
            "head": self._coordinator,
            "round": self._coordinator,
            "command": self._operator,
        }.get(kind)
        return signing.verify(topic, payload, keys) if keys else payload

    def see(self, kind: Literal["release", "head", "round"], *number: int) -> None:
        """Note the number of what has come; ProtocolError "replay: ..." where there was a newer one."""
        newest = self._newest.get(kind, (0,) * len(number))
        if not self._coordinator or number == newest:
            return
        if number < newest:
            said, known = (" ".join(map(str, numbers)) for numbers in (number, newest))
            raise ProtocolError(f"replay: {kind} {said}, {known} has been seen")
        self._newest[kind] = number
        self.unsaved = True

    def has_done(self, command: Command | FleetCommand) -> bool:
        """Whether it has been carried out; ProtocolError "replay: ..." where that cannot be told any more."""
        if command.id and command.id in (command_id for _, command_id in self._commands):
            return True
        if self._operator and not command.id:
            raise ProtocolError("replay: a command without an id could come again and again")
        if self._operator and len(self._commands) == COMMANDS and command.issued_ms <= self._commands[0][0]:
            raise ProtocolError(f"replay: a command older than the last {COMMANDS}")
        return False

    def done(self, command: Command | FleetCommand) -> None:
        """Remember that it was carried out, and forget the oldest."""
        if command.id:
            self._commands.append((command.issued_ms if self._operator else 0, command.id))
            self._commands = sorted(self._commands, key=lambda one: one[0])[-COMMANDS:]
