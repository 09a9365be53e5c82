"""A fleet of rotating machines from physics, so that a machine without any data set has a meaningful run.

Each machine has a shaft with its harmonics (unbalance, misalignment, vanes, blades or teeth), a rolling
bearing whose fault frequencies follow from its geometry, and a structure whose resonances colour everything
broadband. The load changes from snapshot to snapshot, the speed a little; sensors differ in gain. In the last
quarter of its life a fault grows:

- on the bearing's outer race, inner race or a ball: each pass strikes the structure, which rings at its
  resonances; strikes slip by 1 to 2 %, and the inner race and the ball move through the load zone (McFadden
  and Smith, "Model for the vibration produced by a single point defect in a rolling element bearing", Journal
  of Sound and Vibration 96, 1984; Randall and Antoni, "Rolling element bearing diagnostics: a tutorial",
  Mechanical Systems and Signal Processing 25, 2011);
- as unbalance: the once-a-turn force grows;
- as slack, a belt or foundation that loosens: load and stiffness are lost and the machine gets *quieter*.

Nothing but the arguments decides the signal, and any snapshot can be made without the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedtiny.signal.fleet import FleetData, Machine
from fedtiny.signal.recording import Recording, Samples

CHANNELS = ("horizontal", "vertical")
KINDS = {"pump": (5, 8), "fan": (7, 13), "gearbox": (17, 32)}  # vanes, blades or teeth: least, most + 1
FAULTS = ("outer", "inner", "unbalance", "ball", "slack")
HEALTHY, FAILING = 0.60, 0.88  # shares of life: label 0 before the first, 1 from the second on
DUTY = 0.4  # the load of a snapshot lies within this share of its mean
STRIKE = 11.0  # a full-grown bearing fault's impacts, against the broadband noise, at 100 samples apart
SLACK = 0.6  # share of the load that a full-grown slack loses

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bearing:
    """A rolling bearing with a fixed outer race.

    Attributes:
        balls: Rolling elements.
        ratio: Ball diameter over pitch diameter.
        angle: Contact angle, radians.
    """

    balls: int
    ratio: float
    angle: float

    @property
    def orders(self) -> dict[str, float]:
        """Events a turn of the shaft: passes over an outer or inner fault, spins of a ball, cage."""
        x = self.ratio * np.cos(self.angle)
        return {
            "outer": self.balls / 2 * (1 - x),
            "inner": self.balls / 2 * (1 + x),
            "ball": (1 - x**2) / (2 * self.ratio),
            "cage": (1 - x) / 2,
        }


@dataclass(frozen=True)
class RotatingMachine:
    """One machine: everything that stays the same over its life.

    Attributes:
        name: A valid device id.
        fault: One of `FAULTS`, growing from `onset` (share of life) on.
        shaft_hz: Mean speed.
        load: Mean load, 1 is nominal.
        orders: Harmonics of the shaft, (harmonics,).
        tones: Their complex amplitudes in g, (channels, harmonics).
        modes_hz: Resonances, (modes,); `damping` their damping ratios.
        gains: What a mode does in a channel, (channels, modes).
        noise: Broadband level in g.
        wander: Phases of the slow changes of load and speed, radians, (6,).
    """

    name: str
    seed: np.random.SeedSequence = field(repr=False)
    sample_rate_hz: float
    fault: str
    onset: float
    shaft_hz: float
    load: float
    bearing: Bearing
    orders: Floats
    tones: NDArray[np.complex128]
    modes_hz: Floats
    damping: Floats
    gains: Floats
    noise: float
    wander: Floats

    def severity(self, life: float) -> float:
        """Of the fault at a share of life: 0 up to `onset`, then growing faster and faster to 1."""
        grown: float = max(0.0, (life - self.onset) / (1 - self.onset)) ** 1.5
        return grown

    def snapshot(self, index: int, life: float, samples: int) -> Samples:
        """Acceleration in g at a share of life, float32 (samples, channels). `index` picks the randomness."""
        worn = self.severity(life)
        slack = worn if self.fault == "slack" else 0.0
        rng, load, shaft_hz = self._running(index, life)
        load *= 1 - SLACK * slack
        turns = rng.random() + shaft_hz / self.sample_rate_hz * np.arange(samples)
        strength = np.where(self.orders < 3.5, (shaft_hz / self.shaft_hz) ** 2, load / self.load)
        strength = strength * (1 - 0.1 * slack) * (1 + 0.04 * rng.standard_normal(len(self.orders)))
        if self.fault == "unbalance":
            strength = strength + worn * (self.orders == 1)
        audible = self.orders * shaft_hz < 0.45 * self.sample_rate_hz
        angle = (2 * np.pi * (np.outer(self.orders[audible], turns) % 1)).astype(np.float32)  # fast sines
        tones = (self.tones * strength)[:, audible]
        tonal = tones.real @ np.cos(angle) - tones.imag @ np.sin(angle)

        frequency = np.fft.rfftfreq(samples, 1 / self.sample_rate_hz)
        force = np.fft.rfft(self.noise * load**1.2 * rng.standard_normal(samples))
        force /= 1 + 10 * frequency / self.sample_rate_hz  # turbulence and friction are duller than impacts
        if self.fault in ("outer", "inner", "ball") and worn:
            force += np.fft.rfft(self._strikes(rng, worn, load, shaft_hz, samples))
        ringing = np.fft.irfft(force * self._response(frequency, 1 - 0.05 * slack), samples)
        hiss = 0.1 * self.noise * rng.standard_normal((len(CHANNELS), samples))
        level = 1 + 0.03 * (life - 0.5) * np.sin(self.wander[0])  # a sensor's slow, harmless drift
        return np.ascontiguousarray((level * (tonal + ringing + hiss)).T, np.float32)

    def speed_hz(self, index: int, life: float) -> float:
        """Of the shaft in a snapshot, as a tachometer would tell it."""
        return self._running(index, life)[2]

    def _running(self, index: int, life: float) -> tuple[np.random.Generator, float, float]:
        """A snapshot's randomness, its load and the speed of its shaft, Hz."""
        stream = np.random.SeedSequence(self.seed.entropy, spawn_key=(*self.seed.spawn_key, index))
        rng = np.random.default_rng(stream)
        cycles = np.array([0.7, 1.9, 4.3])  # of slow change in a life; for the load and for the speed
        slow = np.sin(2 * np.pi * cycles * life + self.wander.reshape(2, 3)) @ [0.6, 0.3, 0.2]
        load = self.load * (1 + DUTY * rng.uniform(-1, 1) + 0.05 * slow[0])
        return rng, load, self.shaft_hz * (1 + 0.006 * slow[1] + 0.003 * rng.standard_normal())

    def _strikes(self, rng: np.random.Generator, worn: float, load: float, shaft_hz: float, samples: int) -> Floats:
        """Force of a bearing fault's impacts, (samples,): a train with slip, modulated by the load zone."""
        rates = self.bearing.orders
        spacing = self.sample_rate_hz / (rates[self.fault] * shaft_hz)
        gaps = spacing * (1 + 0.015 * rng.standard_normal(int(samples / spacing) + 2))
        at = np.cumsum(gaps) - spacing * rng.uniform(0.5, 1.5)
        at = at[(at >= 0) & (at < samples - 1)]
        travel = {"outer": 0.0, "inner": 1.0, "ball": rates["cage"]}[self.fault]  # of the fault, a turn
        place = travel * shaft_hz * at / self.sample_rate_hz + rng.random() * (travel > 0)
        zone = 1 + 0.8 * np.cos(2 * np.pi * place)  # most load at a whole turn
        size = STRIKE * self.noise * np.sqrt(spacing / 100) * worn * load * zone
        size = size * (1 + 0.2 * rng.standard_normal(len(at)))
        whole = at.astype(int)
        force = np.zeros(samples)
        np.add.at(force, whole, size * (1 - (at - whole)))  # an impact between two samples is shared by them
        np.add.at(force, whole + 1, size * (at - whole))
        return force

    def _response(self, frequency: Floats, stiffness: float) -> NDArray[np.complex128]:
        """Acceleration of the channels for a unit force, (channels, bins); `stiffness` shifts the modes."""
        ratio = frequency / (stiffness * self.modes_hz[:, None])
        modes = -(ratio**2) / (1 - ratio**2 + 2j * self.damping[:, None] * ratio)
        return np.asarray(self.gains @ (2 * self.damping[:, None] * modes), np.complex128)


def design_machine(
    number: int, *, seed: int = 0, shaft_hz: tuple[float, float] = (18, 45), sample_rate_hz: float = 12_800
) -> RotatingMachine:
    """Machine `number` (from 0) of a seeded fleet; `shaft_hz` bounds its speed.

    Resonances lie where the sensor sees them, between 5 and 42 % of the sample rate.
    """
    stream = np.random.SeedSequence(seed, spawn_key=(number,))
    rng = np.random.default_rng(stream)
    kind = list(KINDS)[number % len(KINDS)]
    passes = int(rng.integers(*KINDS[kind]))
    orders = np.array([1, 2, 3, 4, passes, 2 * passes], np.float64)
    amplitude = 0.12 * np.array([1, 0.5, 0.25, 0.12, 0.4, 0.15]) * rng.lognormal(0, 0.4, (len(CHANNELS), 6))
    low, high = shaft_hz
    gain = rng.lognormal(0, 0.35)
    return RotatingMachine(
        name=f"{kind}-{number + 1:02d}",
        seed=stream,
        sample_rate_hz=sample_rate_hz,
        fault=FAULTS[number % len(FAULTS)],
        onset=rng.uniform(0.70, 0.76),
        # the golden ratio spreads machines evenly over the range, whatever their count
        shaft_hz=low + (high - low) * ((number * 0.618 + 0.1 * rng.random()) % 1),
        load=rng.uniform(0.6, 1.1),
        bearing=Bearing(int(rng.integers(7, 14)), rng.uniform(0.15, 0.28), rng.uniform(0, 0.26)),
        orders=orders,
        tones=np.asarray(gain * amplitude * np.exp(2j * np.pi * rng.random((len(CHANNELS), 6))), np.complex128),
        modes_hz=sample_rate_hz * rng.uniform([0.05, 0.14, 0.28], [0.12, 0.26, 0.42]),
        damping=rng.uniform(0.02, 0.06, 3),
        gains=rng.uniform(0.4, 1.6, (len(CHANNELS), 3)),
        noise=gain * rng.uniform(0.15, 0.3),
        wander=2 * np.pi * rng.random(6),
    )


def simulate_fleet(
    seed: int = 0,
    *,
    machines: int = 14,
    base: int = 4,
    snapshots: int = 120,
    sample_rate_hz: float = 12_800,
    snapshot_samples: int = 2_048,
) -> FleetData:
    """A fleet of `machines`; the first `base` of them run at 25 to 30 Hz, the others at 18 to 45 Hz.

    Label 0 up to 60 % of life, 1 over the last 12 %, -1 between. The same arguments give the same signal.
    """
    if not 0 < base < machines or min(snapshots, snapshot_samples) < 2 or not sample_rate_hz > 0:
        raise ValueError("expected 0 < base < machines, at least 2 snapshots of 2 samples, a sample rate above 0")
    fleet: dict[str, Machine] = {}
    for number in range(machines):
        speeds = (25.0, 30.0) if number < base else (18.0, 45.0)
        model = design_machine(number, seed=seed, shaft_hz=speeds, sample_rate_hz=sample_rate_hz)
        fleet[model.name] = Machine(model.name, partial(_life, model, snapshots, snapshot_samples))
    ordered = dict(sorted(fleet.items()))
    names = tuple(sorted(list(fleet)[:base]))
    return FleetData(float(sample_rate_hz), CHANNELS, names, ordered, snapshot_samples)


def _life(model: RotatingMachine, snapshots: int, samples: int, first: int = 0) -> Iterator[Recording]:
    for index in range(first, snapshots):
        life = index / (snapshots - 1)
        label = 0 if life < HEALTHY else 1 if life >= FAILING else -1
        yield Recording(
            f"{model.name} snapshot {index + 1}",
            model.snapshot(index, life, samples),
            label,
            life,
            speed_hz=model.speed_hz(index, life),
        )
