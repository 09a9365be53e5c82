"""The life of an alarm, from verdicts on windows.

            votes of the last ``window`` windows            acknowledge
    clear ----------------------------------------> raised -------------> acknowledged
      ^                                               |                        |
      +---------- the last ``window`` windows are all quiet -------------------+

The states are those of IEC 62682 / ANSI/ISA-18.2 without latching: an alarm clears by itself, acknowledged or not.
Quiet is less than not voting: a score must fall below a share of the threshold, so that one that hovers around it does
not raise again and again (hysteresis).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

AlarmState = Literal["cleared", "raised", "acknowledged"]


@dataclass
class AlarmLife:
    """One alarm. Windows are told to it in time order; it says when its state changed."""

    votes: int
    window: int
    state: AlarmState = "cleared"
    recent: deque[str] = field(default_factory=deque)  # "over", "between", "quiet": newest last, ``window`` at most

    def __post_init__(self) -> None:
        self.votes = min(self.votes, self.window)
        self.recent = deque(self.recent, maxlen=self.window)

    @property
    def standing(self) -> bool:
        """Whether it is raised or acknowledged."""
        return self.state != "cleared"

    def add(self, *, over: bool, quiet: bool) -> bool:
        """Take the next window's verdict; True when the state changed."""
        self.recent.append("over" if over else "quiet" if quiet else "between")
        if not self.standing and self.recent.count("over") >= self.votes:
            self.state = "raised"
            return True
        if self.standing and self.recent.count("quiet") == self.window:
            self.state = "cleared"
            return True
        return False

    def raise_now(self) -> bool:
        """Raise without a vote; True when it was clear."""
        self.recent.clear()
        if self.standing:
            return False
        self.state = "raised"
        return True

    def acknowledge(self) -> bool:
        """Somebody has seen it; True when it was raised."""
        if self.state != "raised":
            return False
        self.state = "acknowledged"
        return True

    def reset(self) -> bool:
        """Forget the votes; True when an alarm stood and is now clear."""
        stood = self.standing
        self.state = "cleared"
        self.recent.clear()
        return stood
