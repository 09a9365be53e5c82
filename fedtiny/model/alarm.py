"""Verdicts on windows -> an alarm that is raised and cleared by votes."""

from collections import deque


class AlarmVote:
    """Raise when ``votes`` of the last ``window`` scores reach the threshold; clear when none of them does."""

    def __init__(self, votes: int, window: int, raised: bool = False) -> None:
        self.votes = min(votes, window)
        self.raised = raised
        self._recent: deque[bool] = deque(maxlen=window)

    def add(self, over: bool) -> bool:
        """Take the next window's verdict; True when the alarm's state changed."""
        self._recent.append(over)
        count = sum(self._recent)
        if not self.raised and count >= self.votes:
            self.raised = True
            return True
        if self.raised and count == 0 and len(self._recent) == self._recent.maxlen:
            self.raised = False
            return True
        return False
