"""The ledger of the devices: when they were seen, and how they stand."""

import json
from collections.abc import Collection, Mapping

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import DeviceRow, Standing


class Devices(Database):
    """Devices by their name. One need not have been seen to be struck or blocked."""

    def saw(self, devices: Mapping[str, tuple[str, str]]) -> None:
        """Note of each device when its newest status came, and that status (JSON)."""
        with self.transaction():
            for device, (now, status) in devices.items():
                self.execute(
                    "INSERT INTO devices (device, first_seen_utc, last_seen_utc, status) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (device) DO UPDATE SET last_seen_utc = excluded.last_seen_utc, "
                    "status = excluded.status, first_seen_utc = coalesce(first_seen_utc, excluded.first_seen_utc)",
                    *(device, now, now, status),
                )

    def device(self, device: str) -> DeviceRow | None:
        """One device."""
        rows = self.execute("SELECT * FROM devices WHERE device = ?", device)
        return DeviceRow(*rows[0]) if rows else None

    def devices(self) -> list[DeviceRow]:
        """All devices in the order of their names."""
        return [DeviceRow(*row) for row in self.execute("SELECT * FROM devices ORDER BY device")]

    def count(self, standing: Standing) -> int:
        """How many devices stand so."""
        return int(self.execute("SELECT count(*) FROM devices WHERE standing = ?", standing)[0][0])

    def set_standing(self, device: str, standing: Standing, reason: str | None) -> None:
        """Let a device take part again, or keep it out; one that takes part again begins without strikes."""
        self.execute(
            "INSERT INTO devices (device, standing, reason) VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
            "standing = excluded.standing, reason = excluded.reason, "
            "strikes = CASE excluded.standing WHEN 'active' THEN 0 ELSE strikes END",
            *(device, standing, reason),
        )

    def strike(self, device: str, reason: str) -> int:
        """Note one more bad update of a device; returns how many that makes."""
        ((strikes,),) = self.execute(
            "INSERT INTO devices (device, reason, strikes) VALUES (?, ?, 1) ON CONFLICT (device) DO UPDATE SET "
            "reason = excluded.reason, strikes = strikes + 1 RETURNING strikes",
            *(device, reason),
        )
        return int(strikes)

    def forgive(self, devices: Collection[str]) -> None:
        """Take the strikes from devices whose updates were good: what counts is how many come running."""
        names = json.dumps(sorted(devices))
        self.execute(
            "UPDATE devices SET strikes = 0 WHERE strikes > 0 AND device IN (SELECT value FROM json_each(?))", names
        )

    def kept_out(self) -> set[str]:
        """The devices that do not take part."""
        return {device for (device,) in self.execute("SELECT device FROM devices WHERE standing <> 'active'")}

    def standings(self) -> dict[str, Standing]:
        """How the devices that do not take part stand."""
        return dict(self.execute("SELECT device, standing FROM devices WHERE standing <> 'active'"))

    def forget(self, device: str) -> None:
        """Remove what the fleet's model still holds of a device: its statistics and the updates that wait.

        The headers of its updates stay, as what the heads were made of; of the device itself only stays that it is
        kept out, where it is.
        """
        with self.transaction():
            self.execute("DELETE FROM statistics WHERE device = ?", device)
            self.execute(
                "UPDATE updates SET fate = 'forgotten', payload = NULL WHERE fate = 'waiting' AND device = ?", device
            )
            self.execute("DELETE FROM devices WHERE device = ? AND standing = 'active'", device)
            self.execute(
                "UPDATE devices SET first_seen_utc = NULL, last_seen_utc = NULL, status = NULL WHERE device = ?", device
            )
