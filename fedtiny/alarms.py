"""A device's alarms as it tells of them: numbered, with what stands after each change."""

import uuid
from collections import deque
from typing import Any

from fedtiny.protocol.messages import Alarm, AlarmEvent, AlarmKind, StandingAlarm

SPANS = 32  # of scores, in the trend


class AlarmBook:
    """What stands, since when and why. The lives themselves are kept by whoever judges windows."""

    def __init__(self, device: str, saved: dict[str, Any] | None = None) -> None:
        saved = saved or {}
        self._device = device
        self.number: int = saved.get("number", 0)
        self.epoch: str = saved.get("epoch") or uuid.uuid4().hex[:8]
        self.standing = {key: StandingAlarm.model_validate(value) for key, value in saved.get("standing", {}).items()}
        self.evidence: dict[str, str] = saved.get("evidence", {})
        self.trend: deque[float] = deque(saved.get("trend", ()), maxlen=SPANS)

    def saved(self) -> dict[str, Any]:
        """As JSON, for the store."""
        return {
            "number": self.number,
            "epoch": self.epoch,
            "standing": {kind: alarm.model_dump() for kind, alarm in self.standing.items()},
            "evidence": self.evidence,
            "trend": list(self.trend),
        }

    def tell(
        self, kind: AlarmKind, state: AlarmEvent, at_utc: str, reason: str, evidence: str = "", **details: Any
    ) -> Alarm:
        """The message that an alarm is now in ``state``. ``evidence``: name of the file that keeps the raw windows."""
        self.number += 1
        old = self.standing.get(kind)
        raised_utc = old.raised_utc if old else at_utc
        if evidence:
            self.evidence[kind] = evidence
        evidence = self.evidence.get(kind, "")
        if state == "cleared":
            self.standing.pop(kind, None)
            self.evidence.pop(kind, None)
        elif state != "held":
            why = old.reason if old else reason
            self.standing[kind] = StandingAlarm(kind=kind, state=state, raised_utc=raised_utc, reason=why)
        return Alarm(
            device=self._device,
            number=self.number,
            epoch=self.epoch,
            kind=kind,
            state=state,
            at_utc=at_utc,
            raised_utc=raised_utc,
            reason=reason,
            trend=tuple(self.trend) if kind == "machine" else (),
            evidence=evidence or None,
            standing=tuple(self.standing.values()),
            **details,
        )
