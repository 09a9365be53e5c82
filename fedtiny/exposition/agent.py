"""What an agent shows to Prometheus."""

from collections.abc import Callable
from functools import partial
from typing import get_args

from fedtiny import __version__
from fedtiny.exposition.agent_snapshot import AgentSnapshot
from fedtiny.exposition.series import Series, Table, Values, by_name, one_of
from fedtiny.health import TROUBLES
from fedtiny.model.watch import Finding
from fedtiny.protocol.messages import AlarmKind

gauge = partial(Series[AgentSnapshot], "gauge")
counter = partial(Series[AgentSnapshot], "counter")


def _info(agent: AgentSnapshot) -> Values:
    status = agent.status
    release = status.base.release_id[:12] if status.base else ""
    return {(__version__, release, status.interpreter): 1}


def _of_last(read: Callable[[Finding], float | None]) -> Callable[[AgentSnapshot], float | None]:
    return lambda agent: read(agent.last) if agent.last else None


def _alarms(agent: AgentSnapshot, *states: str) -> Values:
    return {(kind,): float(agent.status.alarms.get(kind) in states) for kind in get_args(AlarmKind)}


def _throttled(agent: AgentSnapshot) -> Values:
    now = agent.health.throttled_now
    return {} if now is None else {(trouble,): float(trouble in now) for trouble in TROUBLES}


def _megabytes(value: float | None) -> float | None:
    return None if value is None else value * 1e6


AGENT: Table[AgentSnapshot, None] = Table(
    age="fedtiny_agent_snapshot_age_seconds",
    series=(
        gauge(
            "fedtiny_agent_info",
            "1; its labels say what runs.",
            _info,
            ("version", "release", "interpreter"),
        ),
        gauge(
            "fedtiny_agent_phase",
            "1 for the phase it is in, of waiting, learning and watching.",
            lambda agent: one_of(agent.status.phase, "waiting", "learning", "watching"),
            ("phase",),
        ),
        gauge(
            "fedtiny_agent_learned_ratio",
            "Share of the windows that scoring waits for.",
            lambda agent: agent.status.learned,
        ),
        gauge(
            "fedtiny_agent_promised_ratio",
            "Share of the windows after which the threshold keeps the false-alarm budget; 1: it is a promise.",
            lambda agent: agent.status.promised,
        ),
        gauge(
            "fedtiny_agent_revision",
            "Revision of the fleet's head that it is at.",
            lambda agent: agent.status.base.revision if agent.status.base else None,
        ),
        gauge(
            "fedtiny_agent_head_in_use",
            "1 for the head it scores with: global, personal, or kept from an older revision.",
            lambda agent: one_of(agent.status.head.use if agent.status.head else None, "global", "personal", "kept"),
            ("use",),
        ),
        counter(
            "fedtiny_agent_windows",
            "Windows since the state folder was made.",
            lambda agent: agent.status.windows,
        ),
        counter(
            "fedtiny_agent_sensor_fault_windows",
            "Windows in which the sensor had a fault.",
            lambda agent: agent.status.sensor_faults,
        ),
        counter(
            "fedtiny_agent_unknown_windows",
            "Windows at an operating point that is not known; they are not scored.",
            lambda agent: agent.status.unknown,
        ),
        counter(
            "fedtiny_agent_window_processing_seconds",
            "Seconds spent on windows, from the sensor's check to the verdict, since the process started.",
            lambda agent: agent.busy_s,
        ),
        gauge(
            "fedtiny_agent_last_window_timestamp_seconds",
            "When the last window came, seconds since 1970.",
            lambda agent: agent.last_window,
        ),
        gauge("fedtiny_agent_score", "Anomaly score of the last window.", _of_last(lambda last: last.score)),
        gauge(
            "fedtiny_agent_threshold",
            "Threshold that the last window stood under.",
            _of_last(lambda last: last.threshold),
        ),
        gauge(
            "fedtiny_agent_score_ratio",
            "The last score as a share of its threshold; from 1 on the window votes for an alarm.",
            _of_last(lambda last: last.score / last.threshold if last.threshold else None),
        ),
        gauge(
            "fedtiny_agent_level",
            "Distance of the last window from what was learned; unlike the score it does not follow slow drift.",
            _of_last(lambda last: last.level),
        ),
        gauge(
            "fedtiny_agent_drift_ratio",
            "Share of the drift's bound that is used up, of the operating point with most.",
            lambda agent: max((point.drift for point in agent.status.points.values()), default=None),
        ),
        gauge(
            "fedtiny_agent_alarm_standing",
            "1 while the alarm stands, acknowledged or not.",
            lambda agent: _alarms(agent, "raised", "acknowledged"),
            ("kind",),
        ),
        gauge(
            "fedtiny_agent_alarm_unacknowledged",
            "1 while the alarm stands and nobody has acknowledged it.",
            lambda agent: _alarms(agent, "raised"),
            ("kind",),
        ),
        gauge(
            "fedtiny_agent_examples",
            "Windows that an update would be fitted on.",
            lambda agent: agent.status.examples,
        ),
        gauge(
            "fedtiny_agent_fresh_windows",
            "Normal windows since the last update.",
            lambda agent: agent.status.fresh,
        ),
        counter(
            "fedtiny_agent_updates_delivered",
            "Updates that the broker has taken, since the process started.",
            lambda agent: agent.updates,
        ),
        gauge(
            "fedtiny_agent_answered_round",
            "Number of the newest round that it has answered.",
            lambda agent: agent.answered,
        ),
        counter(
            "fedtiny_agent_rejected",
            "What it has refused, by reason, since the process started.",
            lambda agent: by_name(agent.status.rejected),
            ("reason",),
        ),
        gauge("fedtiny_agent_broker_connected", "1 while the broker is there.", lambda agent: agent.online),
        gauge(
            "fedtiny_agent_messages_waiting",
            "Messages that the broker does not have yet.",
            lambda agent: agent.health.backlog,
        ),
        counter(
            "fedtiny_agent_messages_lost",
            "Messages that waited until newer ones pushed them out.",
            lambda agent: agent.health.lost,
        ),
        counter(
            "fedtiny_agent_sent_bytes",
            "Topics and payloads sent, since the process started.",
            lambda agent: agent.status.bytes_up,
        ),
        counter(
            "fedtiny_agent_received_bytes",
            "Topics and payloads received, since the process started.",
            lambda agent: agent.status.bytes_down,
        ),
        gauge(
            "fedtiny_agent_lag_seconds",
            "How far it is behind a live source.",
            lambda agent: agent.health.lag_s,
        ),
        gauge(
            "fedtiny_agent_source_ended",
            "1 when the source is at its end: a replay that is over.",
            lambda agent: agent.status.source_done,
        ),
        gauge(
            "fedtiny_agent_conflict",
            "1 while another agent uses this device's id.",
            lambda agent: agent.status.conflict is not None,
        ),
        gauge(
            "fedtiny_agent_peak_memory_bytes",
            "Most resident memory that the process has had.",
            lambda agent: _megabytes(agent.status.peak_rss_mb),
        ),
        gauge(
            "fedtiny_agent_temperature_celsius",
            "The hottest sensor of the computer.",
            lambda agent: agent.health.temperature_c,
        ),
        gauge(
            "fedtiny_agent_throttled",
            "1 while a Raspberry Pi's firmware says so.",
            _throttled,
            ("cause",),
        ),
        gauge(
            "fedtiny_agent_disk_free_bytes",
            "Free on the disk of the state folder.",
            lambda agent: agent.health.disk_free_bytes,
        ),
        gauge(
            "fedtiny_agent_state_bytes",
            "Content of the state folder.",
            lambda agent: agent.health.state_bytes,
        ),
    ),
)
