"""Messages of a fleet, as the tests of the monitor tell them."""

from fedtiny.protocol import codec, messages, topics

RELEASE = "3fa2" * 16
BASE = messages.Base(release_id=RELEASE, revision=2)
HEAD = messages.HeadMessage(release_id=RELEASE, revision=3, weights=bytes(400), output_min=-4, output_max=5, devices=8)


def alarm(device, reason="3 of 5 windows above the threshold", standing=None):
    standing = (stands(),) if standing is None else standing
    return messages.Alarm(
        device=device,
        state="raised",
        window=412,
        at_utc="2026-11-23T11:00:01Z",
        score=7.31,
        threshold=1.25,
        reason=reason,
        standing=standing,
    )


def stands(kind="machine", state="raised"):
    return messages.StandingAlarm(kind=kind, state=state, raised_utc="2026-11-23T11:00:01Z")


def status(device, state="online", **fields):
    return messages.DeviceStatus(
        **{
            "device": device,
            "state": state,
            "phase": "learning",
            "learned": 0.45,
            "base": BASE,
            "threshold": 1.25,
            "peak_rss_mb": 61.2,
        }
        | fields
    )


def tell(view, device, message, kind, at=1_000.0, retained=False):
    topic = topics.device_topic("plant", device, kind) if device else topics.fleet_topic("plant", kind)
    return view.apply(topic, codec.encode(message), retained, at)


def round_message(**fields):
    given = {"round_number": 4, "state": "open", "base": BASE, "strategy": "krum", "deadline_s": 60.0, "quorum": 3}
    return messages.RoundMessage(**given | {"opened_utc": "2026-11-23T11:00:01+00:00"} | fields)
