"""The asynchronous mode again, one plain Python object per unit, as the reference of the suite.

Written from docs/asynchronous.md alone, for reading and not for speed: a queue of events, and units
that hold all they know. The numbers are meant to be the same bits as the kernels', so every sum is
taken in the order of its inputs. Of the package only the polynomials behind exp and log and the
random numbers are used, which have tests of their own.

Conventions
-----------
time        integers, TICKS of them a period, from the moment the observation is presented
unit        number in its team from the first hidden unit, layer by layer
layer       1 ... L; layer L is the output
projection  0 joins layers 1 and 2, and so on up to L - 2
direction   UP: values, DOWN: error packets
together    the units that share one clock: one unit, or all outcomes of a softmax output
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from oracle import Array, Settings, State, annealed_alpha

from neurosim.kernels import activation, elementary, rng

TICKS = 2**20  # units of time in a period

# Events at one time are ordered by these; a sampling timer runs out after that time's deliveries.
DELIVERY, TIMER, BROADCAST, ERROR_TICK, VALUE_TICK = range(5)

UP, DOWN = range(2)
NAMES = ("value", "error")

# Streams of random numbers.
NOISE = 0
CLOCK = 3
UNIT = 4
PACKET_DELAY = (5, 6)  # of values, of errors
LOSS = (7, 8)
SYNAPSE = (9, 10)
BROADCAST_LOSS = 11
FEEDBACK = 12

# Events of the stream UNIT.
PHASE, RATE = 0, 1
OWN_DELAY = (2, 3)  # of values, of errors

Name = tuple[str, int, int]  # of a packet: "value" or "error", sender, number
Row = tuple[int, str, int, str, float, int, Name | None]
PerUnit = float | Sequence[float | Sequence[float]]
PerProjection = float | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The keys of ``[timing]`` for one team, in periods; see the table in docs/asynchronous.md."""

    clock: str = "synchronous"
    rate: PerUnit = 1.0
    rate_spread: float = 0.0
    phase: float | str = "random"
    jitter: float = 0.0
    error_clock: str = "antiphase"
    window: float | None = None  # None: N
    delay: PerProjection = 0.25
    error_delay: PerProjection | None = None  # None: delay
    unit_delay: float = 0.0
    packet_delay: float = 0.0
    synapse_delay: float = 0.0
    reorder: str = "latest_arrival"
    loss: PerProjection = 0.0
    error_loss: PerProjection | None = None  # None: loss
    loss_per: str = "packet"
    sampling: str = "dataflow"
    sampling_timer: float | None = None
    send_on_delta: float = 0.0
    quantize: int = 0
    feedback: str = "symmetric"
    feedback_alignment: float = 1.0
    feedback_decay: float = 0.0
    broadcast_delay: PerUnit = 0.0
    broadcast_loss: PerUnit = 0.0
    silent_until_first_tick: bool = False
    trace_after: int = 0

    def __post_init__(self) -> None:
        """Reject what the page does not allow."""
        choices = {
            "clock": ("synchronous", "periodic", "poisson"),
            "error_clock": ("antiphase", "with_value"),
            "reorder": ("latest_arrival", "newest"),
            "loss_per": ("packet", "synapse"),
            "sampling": ("dataflow", "timer"),
            "feedback": ("symmetric", "kolen_pollack", "sign_symmetric", "random"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")
        if self.per_synapse and (self.packet_delay > 0.0 or self.reorder == "newest"):
            raise ValueError("packet_delay and newest are not available per synapse")
        if self.sampling == "timer" and self.sampling_timer is None:
            raise ValueError("sampling by a timer needs sampling_timer")

    @property
    def per_synapse(self) -> bool:
        """Whether every synapse has a slot of its own."""
        return self.synapse_delay > 0.0 or self.loss_per == "synapse"


def duration(periods: float) -> int:
    """A duration of a model file as an integer."""
    return round(periods * TICKS)


def of_each_unit(x: PerUnit, layer: int, index: int) -> float:
    """The entry of a unit in a number, a list of layers, or a list of layers of lists of units."""
    if isinstance(x, Sequence):
        of_layer = x[layer - 1]
        return of_layer[index] if isinstance(of_layer, Sequence) else of_layer
    return x


def of_each_projection(x: PerProjection, projection: int) -> float:
    """The entry of a projection in a number or a list of projections."""
    return x[projection] if isinstance(x, Sequence) else x


def rounded(x: float, bits: int) -> float:
    """x rounded to so many significant bits (Veltkamp); 0 bits leave it as it is."""
    if bits == 0:
        return x
    p = x * (2.0 ** (53 - bits) + 1.0)
    return p - (p - x)


def power(beta: float, n: int) -> float:
    """``beta ** n`` by squaring."""
    result = 1.0
    while n > 0:
        if n % 2 == 1:
            result *= beta
        beta *= beta
        n //= 2
    return result


def mean_and_slope(name: str, p: float) -> tuple[float, float]:
    """``f(p)`` and ``f'(p)``."""
    if name == "softplus":
        return activation.softplus(p)
    if name == "sigmoid":
        return activation.sigmoid(p)
    if name == "tanh":
        return activation.tanh(p)
    if name == "relu":
        return (0.0, 0.0) if p <= 0.0 else (p, 1.0)
    return p, 1.0


def softmax(p: list[float], T: float) -> list[float]:
    """Probabilities of the outcomes."""
    largest = p[0]
    for x in p[1:]:
        largest = x if x > largest else largest
    probabilities = []
    total = 0.0
    for x in p:
        probabilities.append(elementary.exp((x - largest) / T))
        total += probabilities[-1]
    return [x / total for x in probabilities]


def gate(difference: float, floor: float) -> float:
    """``1 / (A - mu)``, with the size held at or above the floor and the smallest normal double."""
    floor = max(floor, 2.2250738585072014e-308)
    if abs(difference) < floor:
        difference = floor if difference >= 0.0 else -floor
    return 1.0 / difference


# --- one unit ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """What is on the wire."""

    direction: int
    sender: Unit
    n: int
    payload: float

    @property
    def name(self) -> Name:
        """How the log calls it."""
        return NAMES[self.direction], self.sender.number, self.n


@dataclass
class Mailbox:
    """A slot for each sender: the payload, and the number of its packet, -1 if of an older pass."""

    payload: list[float]
    n: list[int]

    @classmethod
    def of(cls, senders: int) -> Mailbox:
        """A mailbox in which nothing has arrived yet."""
        return cls([0.0] * senders, [-1] * senders)

    def new_pass(self) -> None:
        """What it holds is from now on of an older pass."""
        self.n = [-1] * len(self.n)

    @property
    def complete(self) -> bool:
        """Whether something of this pass has arrived from every sender."""
        return all(n >= 0 for n in self.n)


@dataclass
class Parameters:
    """Numbers that a unit learns, with their traces and Adam's moments."""

    w: list[float]
    z: list[float] = field(default_factory=list)
    m: list[float] = field(default_factory=list)
    v: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Traces and moments begin at 0."""
        for x in (self.z, self.m, self.v):
            x.extend([0.0] * (len(self.w) - len(x)))

    def adam(self, settings: Settings, td_error: float, alpha: float, t: int) -> None:
        """Update number t: up ``td_error * z``."""
        corrected = t < settings.bias_correction_until
        correction1 = 1.0 - power(settings.beta1, t) if corrected else 1.0
        correction2 = 1.0 - power(settings.beta2, t) if corrected else 1.0
        step, scale = alpha / correction1, 1.0 / correction2
        for i in range(len(self.w)):
            gradient = td_error * self.z[i]
            self.m[i] = settings.beta1 * self.m[i] + (1.0 - settings.beta1) * gradient
            self.v[i] = settings.beta2 * self.v[i] + (1.0 - settings.beta2) * (gradient * gradient)
            self.w[i] += step * self.m[i] / (math.sqrt(self.v[i] * scale) + settings.epsilon)

    def scale(self, factor: float) -> None:
        """Multiply the numbers by a factor."""
        for i in range(len(self.w)):
            self.w[i] *= factor


@dataclass(frozen=True)
class Moment:
    """What a unit puts into its traces: its g, and what it held and had sent at that time."""

    g: float
    values: list[float]
    errors: list[float]
    value: float


@dataclass(eq=False, kw_only=True)
class Unit:
    """One unit: all it knows.

    W, b : its row of weights and its bias. B : its feedback weights, one for each unit above.
    values, errors : its mailbox. sent, last : packets sent in this pass and the last payload, of
    values and of errors. ticked : whether a value tick of this pass has found it armed.
    """

    number: int
    layer: int
    index: int
    var: float
    rate: float
    W: Parameters
    b: Parameters
    B: Parameters
    values: Mailbox
    errors: Mailbox
    updates: int
    h: float = 0.0
    sampled: float = 0.0
    mu: float = 0.0
    slope: float = 1.0
    has_sampled: bool = False
    ticked: bool = False
    error_ticks: int = 0
    sent: list[int] = field(default_factory=lambda: [0, 0])
    last: list[float] = field(default_factory=lambda: [0.0, 0.0])
    moment: Moment | None = None

    def new_pass(self) -> None:
        """Forget what belongs to the last pass."""
        self.values.new_pass()
        self.errors.new_pass()
        self.has_sampled = False
        self.ticked = False
        self.error_ticks = 0
        self.sent = [0, 0]
        self.moment = None

    def potential(self) -> float:
        """``b + w . mailbox``."""
        p = self.b.w[0]
        for w, x in zip(self.W.w, self.values.payload, strict=True):
            p += w * x
        return p

    def feedback(self) -> float:
        """``feedback weights . errors in the mailbox``."""
        f = 0.0
        for w, g in zip(self.B.w, self.errors.payload, strict=True):
            f += w * g
        return f

    def clear_traces(self) -> None:
        """Traces are 0 at the start of an episode."""
        for parameters in (self.W, self.b, self.B):
            parameters.z = [0.0] * len(parameters.z)


# --- events --------------------------------------------------------------------------------------


class Queue:
    """Events in the order (time, kind, unit, team, sequence)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def push(
        self, time: int, kind: int, unit: int, team: int, call: Callable[..., None], *what: Any
    ) -> None:
        """At that time call it with the time and with what it is about."""
        heapq.heappush(self._heap, (time, kind, unit, team, self._sequence, call, what))
        self._sequence += 1

    def run_one(self) -> None:
        """Let the next event happen."""
        time, _, _, _, _, call, what = heapq.heappop(self._heap)
        call(time, *what)

    def run_all(self) -> None:
        """Let everything happen that is still to come."""
        while self._heap:
            self.run_one()


# --- one team ------------------------------------------------------------------------------------


class Team:
    """The units of a team and the wires between them.

    Parameters
    ----------
    name : "actor" or "critic".
    settings, state, timing : as of the team; the state is copied.
    key : Philox key of the run's seed.
    queue, rows : events of the agent and its log.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        state: State,
        timing: Timing,
        key: Any,
        queue: Queue,
        rows: list[Row],
    ) -> None:
        if settings.stale_first_mean:
            raise ValueError("stale_first_mean is not available in asynchronous mode")
        self.name, self.code = name, ("actor", "critic").index(name)
        self.settings, self.timing = settings, timing
        self.key, self.queue, self.rows = key, queue, rows
        self.window = duration(settings.N if timing.window is None else timing.window)
        self.passes = 0  # feed-forward passes made
        self.deadline: float = math.inf  # T + window
        self.sampled_at: int | None = None
        self.observation: list[float] = [0.0] * settings.sizes[0]
        self.counters: dict[str, Any] = {}
        self.layers = self._build(state)
        self.units = [unit for layer in self.layers for unit in layer]
        self._initial_feedback_weights()
        self.reset_counters()

    # --- building

    def _build(self, state: State) -> list[list[Unit]]:
        sizes = self.settings.sizes
        layers: list[list[Unit]] = []
        number = 0
        for layer in range(1, self.settings.L + 1):
            n_in, n_above = sizes[layer - 1], sizes[layer + 1] if layer < self.settings.L else 0
            units = []
            for i in range(sizes[layer]):
                W = [x[layer - 1][i].tolist() for x in (state.W, state.zW, state.mW, state.vW)]
                b = [[float(x[layer - 1][i])] for x in (state.b, state.zb, state.mb, state.vb)]
                unit = Unit(
                    number=number,
                    layer=layer,
                    index=i,
                    var=1.0 if self._softmax_layer(layer) else float(self.settings.var[layer - 1]),
                    rate=self._rate(number, layer, i),
                    W=Parameters(*W),
                    b=Parameters(*b),
                    B=Parameters([0.0] * n_above),
                    values=Mailbox.of(n_in),
                    errors=Mailbox.of(n_above),
                    updates=state.updates,
                )
                units.append(unit)
                number += 1
            layers.append(units)
        return layers

    def _rate(self, number: int, layer: int, index: int) -> float:
        rate, s = float(of_each_unit(self.timing.rate, layer, index)), self.timing.rate_spread
        if s != 0.0:
            x = rng.normal(self.key, RATE, number, self._where(UNIT))
            rate = rate * elementary.exp(s * x - s * s / 2)
        return rate

    def _initial_feedback_weights(self) -> None:
        kind, a = self.timing.feedback, self.timing.feedback_alignment
        for unit in self.units:
            for k, above in enumerate(self.above(unit)):
                if kind == "kolen_pollack":
                    w = above.W.w[unit.index]
                    if a != 1.0:
                        w = a * w + math.sqrt(1.0 - a * a) * self._independent(unit, k)
                    unit.B.w[k] = w
                elif kind == "random":
                    unit.B.w[k] = self._independent(unit, k)
                else:
                    self._follow(unit, k, above)

    def _independent(self, unit: Unit, k: int) -> float:
        """A feedback weight that knows nothing of the weight above."""
        n_in, n_out = self.settings.sizes[unit.layer], self.settings.sizes[unit.layer + 1]
        a = math.sqrt(6.0 / (n_in + n_out))
        return (2.0 * a) * self.uniform(FEEDBACK, k, unit.number) - a

    def _follow(self, unit: Unit, k: int, above: Unit) -> None:
        """Symmetric and sign-symmetric feedback weights follow the weights above."""
        w = above.W.w[unit.index]
        if self.timing.feedback == "symmetric":
            unit.B.w[k] = w
        elif self.timing.feedback == "sign_symmetric":
            unit.B.w[k] = math.copysign(self._independent(unit, k), w)

    # --- who is where

    def _softmax_layer(self, layer: int) -> bool:
        return layer == self.settings.L and self.settings.output == "softmax"

    def above(self, unit: Unit) -> list[Unit]:
        """Units of the layer above."""
        return self.layers[unit.layer] if unit.layer < self.settings.L else []

    def below(self, unit: Unit) -> list[Unit]:
        """Units of the layer below; none below layer 1."""
        return self.layers[unit.layer - 2] if unit.layer > 1 else []

    def hidden(self, unit: Unit) -> bool:
        """Whether it is no output unit."""
        return unit.layer < self.settings.L

    def together(self, layer: int) -> list[list[Unit]]:
        """The units of a layer, those with one clock together."""
        units = self.layers[layer - 1]
        return [units] if self._softmax_layer(layer) else [[unit] for unit in units]

    def all_together(self) -> list[list[Unit]]:
        """All units from the first on, those with one clock together."""
        return [units for l in range(1, self.settings.L + 1) for units in self.together(l)]

    # --- chance

    def _where(self, stream: int, more: int = 0) -> Any:
        return np.uint64(256 * self.code + stream + more)

    def uniform(self, stream: int, event: int, unit: int, more: int = 0) -> float:
        """A number in (0, 1)."""
        return float(rng.uniform(self.key, event, unit, self._where(stream, more)))

    def _event(self, n: int) -> int:
        """Event number of tick or packet n of this pass."""
        return self.latest_pass * 2**20 + n

    @property
    def latest_pass(self) -> int:
        """Number of the pass, from 0."""
        return self.passes - 1

    # --- log and counters

    def log(
        self,
        time: int,
        unit: int,
        kind: str,
        value: float,
        source: int = -1,
        packet: Packet | None = None,
    ) -> None:
        """One row of the log."""
        name = None if packet is None else packet.name
        self.rows.append((time, self.name, unit, kind, float(value), source, name))

    def reset_counters(self) -> None:
        """All counters of a step begin at 0."""
        projections = self.settings.L - 1
        self.counters = {
            name: [[0] * projections, [0] * projections]
            for name in ("sent", "delivered", "lost", "discarded", "in_flight")
        }
        self.counters["ticks"] = [0, 0, 0]

    def _count(self, name: str, packet: Packet, n: int = 1) -> None:
        self.counters[name][packet.direction][self._projection(packet)] += n

    def _projection(self, packet: Packet) -> int:
        return packet.sender.layer - (1 if packet.direction == UP else 2)

    # --- means and errors

    def means(self, units: list[Unit]) -> None:
        """mu and slope of a unit, or of the outcomes of a softmax agent, from the mailbox."""
        p = [unit.potential() for unit in units]
        if self._softmax_layer(units[0].layer):
            for unit, probability in zip(units, softmax(p, self.settings.T), strict=True):
                unit.mu = probability
            return
        name = "linear"
        if self.hidden(units[0]):
            name = self.settings.activations[units[0].layer - 1]
        units[0].mu, units[0].slope = mean_and_slope(name, p[0])

    def errors(self, units: list[Unit]) -> list[float]:
        """g of a unit, or of each outcome of a softmax agent, from the mailbox."""
        first = units[0]
        if self.timing.silent_until_first_tick and self.hidden(first) and not first.ticked:
            return [0.0]
        self.means(units)
        if self._softmax_layer(first.layer):
            return [(unit.h - unit.mu) / self.settings.T for unit in units]
        return [(first.h - first.mu) * first.slope / first.var]

    # --- packets

    def _packet(self, unit: Unit, direction: int, x: float) -> Packet | None:
        """The next packet of a unit; None if it is suppressed."""
        n = unit.sent[direction]
        if n > 0 and abs(x - unit.last[direction]) < self._least_difference(unit, direction):
            return None
        payload = rounded(x, self.timing.quantize)
        unit.sent[direction] += 1
        unit.last[direction] = payload
        return Packet(direction, unit, n, payload)

    def _least_difference(self, unit: Unit, direction: int) -> float:
        delta = self.timing.send_on_delta
        if direction == UP:
            return delta * math.sqrt(unit.var)
        if self._softmax_layer(unit.layer):
            return delta / self.settings.T
        return delta / math.sqrt(unit.var)

    def _wire(self, time: int, packet: Packet | None) -> None:
        """Send a packet to all units of the neighbouring layer."""
        if packet is None:
            return
        sender = packet.sender
        receivers = self.above(sender) if packet.direction == UP else self.below(sender)
        arrival = time + self._delay(packet)
        alone = self.timing.loss_per == "synapse"  # each receiver loses it on its own
        copies = len(receivers) if self.timing.per_synapse else 1
        self._count("sent", packet, copies)
        if not alone and self._lost(packet, 0):
            self._count("lost", packet, copies)
            kind = f"lost_{NAMES[packet.direction]}"
            self.log(time, sender.number, kind, packet.payload, packet=packet)
            return
        if not self.timing.per_synapse:
            self._deliver_later(arrival, packet, receivers)
            return
        for receiver in receivers:
            if alone and self._lost(packet, 1024 * (receiver.index + 1)):
                self._count("lost", packet)
                kind = f"lost_{NAMES[packet.direction]}"
                self.log(time, receiver.number, kind, packet.payload, sender.number, packet)
            else:
                own = self._synapse_delay(packet, receiver)
                self._deliver_later(arrival + own, packet, [receiver])

    def _deliver_later(self, time: int, packet: Packet, receivers: list[Unit]) -> None:
        self.queue.push(
            time, DELIVERY, packet.sender.number, self.code, self.deliver, packet, receivers
        )

    def _delay(self, packet: Packet) -> int:
        timing, direction, sender = self.timing, packet.direction, packet.sender.number
        delay = timing.delay
        if direction == DOWN and timing.error_delay is not None:
            delay = timing.error_delay
        total = duration(of_each_projection(delay, self._projection(packet)))
        if timing.unit_delay > 0.0:
            u = self.uniform(UNIT, OWN_DELAY[direction], sender)
            total += int(u * duration(timing.unit_delay))
        if timing.packet_delay > 0.0:
            u = self.uniform(PACKET_DELAY[direction], self._event(packet.n), sender)
            total += int(u * duration(timing.packet_delay))
        return total

    def _synapse_delay(self, packet: Packet, receiver: Unit) -> int:
        u = self.uniform(SYNAPSE[packet.direction], packet.sender.index, receiver.number)
        return int(u * duration(self.timing.synapse_delay))

    def _lost(self, packet: Packet, more: int) -> bool:
        direction, timing = packet.direction, self.timing
        if direction == UP and packet.n == 0 and timing.sampling == "dataflow":
            return False
        loss = timing.loss
        if direction == DOWN and timing.error_loss is not None:
            loss = timing.error_loss
        sender = packet.sender.number
        u = self.uniform(LOSS[direction], self._event(packet.n), sender, more)
        return u < of_each_projection(loss, self._projection(packet))

    def deliver(self, time: int, packet: Packet, receivers: list[Unit]) -> None:
        """A packet arrives."""
        unit = receivers[0].number if self.timing.per_synapse else -1
        name, sender = NAMES[packet.direction], packet.sender
        late = time > self.deadline
        if self.timing.reorder == "newest":
            first = receivers[0].values if packet.direction == UP else receivers[0].errors
            if first.n[sender.index] > packet.n:  # of all receivers: they got the same packets
                self._count("in_flight" if late else "discarded", packet)
                self.log(time, unit, f"discard_{name}", packet.payload, sender.number, packet)
                return
        self._count("in_flight" if late else "delivered", packet)
        self.log(time, unit, f"deliver_{name}", packet.payload, sender.number, packet)
        for receiver in receivers:
            mailbox = receiver.values if packet.direction == UP else receiver.errors
            mailbox.payload[sender.index] = packet.payload
            mailbox.n[sender.index] = packet.n
        if packet.direction == UP:
            for units in self.together(sender.layer + 1):
                if all(u.values.complete for u in units):
                    self.sample(time, units)

    # --- 1. the sampling wave

    def begin_pass(self, observation: Sequence[float]) -> None:
        """The observation is presented."""
        self.passes += 1
        self.deadline, self.sampled_at = math.inf, None
        self.observation = [float(x) for x in observation]
        for unit in self.units:
            unit.new_pass()
        for j, x in enumerate(self.observation):
            self.log(0, j, "observe", x)
        for unit in self.layers[0]:
            unit.values.payload = list(self.observation)
        for units in self.together(1):
            self.sample(0, units)
        if self.timing.sampling == "timer":
            assert self.timing.sampling_timer is not None
            for l in range(2, self.settings.L + 1):
                time = (l - 1) * duration(self.timing.sampling_timer)
                for units in self.together(l):
                    self.queue.push(time, TIMER, units[0].number, self.code, self.sample, units)

    def sample(self, time: int, units: list[Unit]) -> None:
        """A unit samples, or a softmax agent draws an outcome; only once in a pass."""
        if units[0].has_sampled:
            return
        self.means(units)
        if self._softmax_layer(units[0].layer):
            chosen = self._outcome(units)
            for unit in units:
                unit.h = 1.0 if unit.index == chosen else 0.0
        else:
            unit = units[0]
            noise = rng.normal(self.key, self.latest_pass, unit.number, self._where(NOISE))
            unit.h = unit.mu + math.sqrt(unit.var) * noise
        for unit in units:
            unit.has_sampled = True
            unit.sampled = unit.h
            packet = self._packet(unit, UP, unit.h) if self.hidden(unit) else None
            self.log(time, unit.number, "sample", unit.h, packet=packet)
            self._wire(time, packet)
        if all(unit.has_sampled for unit in self.layers[-1]) and self.sampled_at is None:
            self.sampled_at = time

    def _outcome(self, units: list[Unit]) -> int:
        u = self.uniform(NOISE, self.latest_pass, units[0].number)
        cumulative = 0.0
        for unit in units[:-1]:
            cumulative += unit.mu
            if u < cumulative:
                return unit.index
        return units[-1].index

    # --- 2. the broadcast

    def broadcast(
        self, T: int, td_error: float, steps: int, learning: bool = True, last: bool = False
    ) -> None:
        """Send the td_error to all units; last: that of an episode, which sets off nothing."""
        for units in self.all_together():
            first = units[0]
            loss = of_each_unit(self.timing.broadcast_loss, first.layer, first.index)
            event = 2 * self.latest_pass + (1 if last else 0)
            if self.uniform(BROADCAST_LOSS, event, first.number) < loss:
                continue
            delay = of_each_unit(self.timing.broadcast_delay, first.layer, first.index)
            what = (units, td_error, steps, learning, last)
            time = T + duration(delay)
            self.queue.push(time, BROADCAST, first.number, self.code, self.hear, *what)

    def hear(
        self,
        time: int,
        units: list[Unit],
        td_error: float,
        steps: int,
        learning: bool,
        last: bool,
    ) -> None:
        """The td_error reaches a unit."""
        self.log(time, units[0].number, "broadcast", td_error)
        if learning:
            for unit in units:
                self.learn(unit, td_error, steps)
        if units[0].layer == 1 or last:
            return
        for unit, g in zip(units, self.errors(units), strict=True):
            packet = self._packet(unit, DOWN, g)
            self.log(time, unit.number, "arm", g, packet=packet)
            self._wire(time, packet)

    def learn(self, unit: Unit, td_error: float, steps: int) -> None:
        """A unit updates all it learns."""
        unit.updates += 1
        alpha = annealed_alpha(self.settings, unit.layer, steps)
        unit.W.adam(self.settings, td_error, alpha, unit.updates)
        unit.b.adam(self.settings, td_error, alpha, unit.updates)
        if self.timing.feedback == "kolen_pollack":
            if self.hidden(unit):  # a feedback weight learns as the weight above does
                alpha = annealed_alpha(self.settings, unit.layer + 1, steps)
                unit.B.adam(self.settings, td_error, alpha, unit.updates)
            if self.timing.feedback_decay != 0.0:
                factor = 1.0 - self.timing.feedback_decay
                if unit.layer >= 2:
                    unit.W.scale(factor)
                unit.B.scale(factor)
        for below in self.below(unit):
            self._follow(below, unit.index, unit)

    # --- 3. relaxation

    def start_clocks(self, T: int) -> None:
        """All ticks of the window."""
        self.deadline = T + self.window
        for units in self.all_together():
            first = units[0]
            times, period = self._tick_times(first)
            apart = period // 2 if self.timing.error_clock == "antiphase" else 0
            for t in times:
                if self.hidden(first):
                    self._tick_later(T + t, VALUE_TICK, first.number, self.value_tick, first)
                if first.layer >= 2 or self.timing.trace_after > 0:
                    time = T + t + apart
                    self._tick_later(time, ERROR_TICK, first.number, self.error_tick, units)

    def _tick_later(
        self, time: int, kind: int, unit: int, call: Callable[..., None], what: Any
    ) -> None:
        self.queue.push(time, kind, unit, self.code, call, what)

    def _tick_times(self, unit: Unit) -> tuple[list[int], int]:
        """Tick times of a unit after T, and its mean period."""
        timing = self.timing
        if timing.clock == "synchronous":
            return list(range(TICKS, self.window + 1, TICKS)), TICKS
        if unit.rate == 0.0:
            return [], 0
        mean_interval = TICKS / unit.rate
        period = round(mean_interval)
        times = []
        k = 0
        if timing.clock == "poisson":
            time = 0
            while True:
                u = self.uniform(CLOCK, self._event(k), unit.number)
                time += int(-elementary.log(u) * mean_interval)
                if time > self.window:
                    return times, period
                times.append(time)
                k += 1
        if isinstance(timing.phase, str):
            phase = 1 + int(self.uniform(UNIT, PHASE, unit.number) * period)
        else:
            phase = round(timing.phase * period)
        while phase + k * period <= self.window:
            u = self.uniform(CLOCK, self._event(k), unit.number)
            moved = int((2.0 * u - 1.0) * timing.jitter * period)
            times.append(max(phase + k * period + moved, 0))
            k += 1
        return times, period

    def value_tick(self, time: int, unit: Unit) -> None:
        """A hidden unit moves down the energy, if it is armed."""
        if not unit.errors.complete:
            self.counters["ticks"][2] += 1
            self.log(time, unit.number, "idle_tick", unit.h)
            return
        self.counters["ticks"][0] += 1
        unit.ticked = True
        self.means([unit])
        c = self.settings.step_size
        unit.h = unit.h + c * ((unit.mu - unit.h) + unit.var * unit.feedback())
        packet = self._packet(unit, UP, unit.h)
        self.log(time, unit.number, "value_tick", unit.h, packet=packet)
        self._wire(time, packet)

    def error_tick(self, time: int, units: list[Unit]) -> None:
        """A unit tells those below its error; in layer 1 it takes it for its trace alone."""
        self.counters["ticks"][1] += 1
        errors = self.errors(units)
        for unit, g in zip(units, errors, strict=True):
            packet = self._packet(unit, DOWN, g) if unit.layer >= 2 else None
            self.log(time, unit.number, "error_tick", g, packet=packet)
            self._wire(time, packet)
            unit.error_ticks += 1
            if unit.error_ticks == self.timing.trace_after:
                unit.moment = self._moment(unit, g)

    def _moment(self, unit: Unit, g: float) -> Moment:
        """What a unit puts into its traces if that is now; g counts only if it has sent none."""
        if unit.sent[DOWN] > 0:
            g = unit.last[DOWN]
        return Moment(g, list(unit.values.payload), list(unit.errors.payload), unit.last[UP])

    # --- 4. and 5. the window's end and the trace

    def finish(self) -> None:
        """Everything has landed: errors that nobody was told, the gate and the traces."""
        factor = None
        time = int(self.deadline)
        for units in self.all_together():
            missing = any(unit.sent[DOWN] == 0 for unit in units)
            errors = self.errors(units) if missing else [0.0] * len(units)
            for unit, g in zip(units, errors, strict=True):
                unit.moment = unit.moment or self._moment(unit, g)
        if self.settings.gated:
            output = self.units[-1]
            floor = self.settings.gate_floor * math.sqrt(output.var)
            factor = gate(output.h - output.mu, floor)
            self.log(time, output.number, "gate", factor)
        for unit in self.units:
            if unit.moment is not None:
                self._trace(time, unit, unit.moment, factor)

    def _trace(self, time: int, unit: Unit, moment: Moment, factor: float | None) -> None:
        decay = self.settings.gamma * self.settings.lambda_
        g = moment.g if factor is None else factor * moment.g
        for j, x in enumerate(moment.values):
            unit.W.z[j] = decay * unit.W.z[j] + g * x
        unit.b.z[0] = decay * unit.b.z[0] + g
        self.log(time, unit.number, "trace", g)
        if self.timing.feedback == "kolen_pollack":
            for k, g_k in enumerate(moment.errors):
                gated = g_k if factor is None else factor * g_k
                unit.B.z[k] = decay * unit.B.z[k] + gated * moment.value

    # --- what a test looks at

    def state(self) -> State:
        """What the team has learned and remembers."""

        def rows(key: str) -> list[Array]:
            return [np.array([getattr(u.W, key) for u in layer]) for layer in self.layers]

        def biases(key: str) -> list[Array]:
            return [np.array([getattr(u.b, key)[0] for u in layer]) for layer in self.layers]

        return State(
            W=rows("w"),
            b=biases("w"),
            zW=rows("z"),
            zb=biases("z"),
            mW=rows("m"),
            mb=biases("m"),
            vW=rows("v"),
            vb=biases("v"),
            updates=max(unit.updates for unit in self.units),
        )

    def feedback_weights(self) -> list[Array]:
        """B of layers 1 ... L - 1, (n(l), n(l + 1)): a row of each unit that holds them."""
        return [np.array([unit.B.w for unit in layer]) for layer in self.layers[:-1]]

    def feedback_traces(self) -> list[Array]:
        """Traces of the feedback weights, shaped as they are; 0 unless they are learned."""
        return [np.array([unit.B.z for unit in layer]) for layer in self.layers[:-1]]

    def values(self) -> list[Array]:
        """h of every layer, the observation first."""
        own = [np.array([unit.h for unit in layer]) for layer in self.layers]
        return [np.array(self.observation), *own]

    def sampled(self) -> list[Array]:
        """h of every layer as sampled, the observation first."""
        own = [np.array([unit.sampled for unit in layer]) for layer in self.layers]
        return [np.array(self.observation), *own]


# --- actor and critic together -------------------------------------------------------------------


class AsyncAgent:
    """Actor and critic in an episodic task, every unit on its own.

    Parameters
    ----------
    actor, critic : settings of the two teams.
    actor_state, critic_state : their states, copied.
    actor_timing, critic_timing : their timing.
    seed : seed of the run.
    reward_bound, gamma, truncation, terminal_iteration, update_at_reset
        As of ``oracle.Agent``; gamma is the critic's unless it is given.

    Attributes
    ----------
    actor, critic : the teams.
    td_error, value, steps : as of ``oracle.Agent``.
    T : time of the latest step's broadcast.
    events : the latest step's log, rows (time, team, unit, kind, value, source, packet).
    """

    def __init__(
        self,
        actor: Settings,
        critic: Settings,
        actor_state: State,
        critic_state: State,
        actor_timing: Timing,
        critic_timing: Timing,
        seed: int,
        *,
        reward_bound: float = math.inf,
        gamma: float | None = None,
        truncation: str = "bootstrap",
        terminal_iteration: bool = False,
        update_at_reset: bool = False,
    ) -> None:
        self._queue = Queue()
        self.events: list[Row] = []
        key = rng.mixed_key(seed)
        of_both = (key, self._queue, self.events)
        self.actor = Team("actor", actor, actor_state, actor_timing, *of_both)
        self.critic = Team("critic", critic, critic_state, critic_timing, *of_both)
        self.teams = (self.actor, self.critic)
        self.reward_bound = reward_bound
        self.gamma = critic.gamma if gamma is None else gamma
        self.truncation = truncation
        self.terminal_iteration = terminal_iteration
        self.update_at_reset = update_at_reset
        self.td_error = 0.0
        self.value = 0.0
        self.steps = 0
        self.T = 0

    def step(self, observation: Sequence[float], reward: float | None = None) -> list[float]:
        """One time step; without a reward the first of an episode. Returns the action."""
        self._new_log()
        if reward is None:
            for team in self.teams:
                for unit in team.units:
                    unit.clear_traces()
        self._sampling_wave(self.teams, observation)
        next_value = self._critic_mean()
        if reward is None:
            self.td_error = 0.0
        else:
            self.td_error = self._bounded(reward) + self.gamma * next_value - self.value
        self.value = next_value
        self._settle(learning=reward is not None or self.update_at_reset)
        return [unit.h for unit in self.actor.layers[-1]]

    def end(self, observation: Sequence[float], reward: float, terminated: bool) -> None:
        """Last transition of an episode."""
        self._new_log()
        bootstrap = not terminated and self.truncation == "bootstrap"
        self.T = 0
        if self.terminal_iteration:
            self._sampling_wave(self.teams, observation)
        elif bootstrap:
            self._sampling_wave((self.critic,), observation)
        if terminated:
            self.td_error = self._bounded(reward) + self.gamma * 0.0 - self.value
        elif bootstrap:
            next_value = self._critic_mean()
            self.td_error = self._bounded(reward) + self.gamma * next_value - self.value
        else:
            self.td_error = 0.0
        if self.terminal_iteration:
            self._settle(learning=True)
            return
        for team in self.teams:
            team.deadline = self.T  # there is no window
            team.broadcast(self.T, self.td_error, self.steps, last=True)
        self._queue.run_all()

    def _new_log(self) -> None:
        self.events.clear()
        for team in self.teams:
            team.reset_counters()

    def _sampling_wave(self, teams: Sequence[Team], observation: Sequence[float]) -> None:
        """Until the outputs of the teams have sampled, which is the time T."""
        for team in teams:
            team.begin_pass(observation)
        while any(team.sampled_at is None for team in teams):
            self._queue.run_one()
        self.T = max(team.sampled_at for team in teams if team.sampled_at is not None)

    def _critic_mean(self) -> float:
        """mu of the critic's output as it has just sampled."""
        return self.critic.units[-1].mu

    def _settle(self, learning: bool) -> None:
        """Broadcast, relaxation, the window's end and the traces of both teams."""
        for team in self.teams:
            team.broadcast(self.T, self.td_error, self.steps, learning)
            team.start_clocks(self.T)
        self._queue.run_all()
        for team in self.teams:
            team.finish()
        self.steps += 1

    def _bounded(self, reward: float) -> float:
        reward = self.reward_bound if reward > self.reward_bound else reward
        return -self.reward_bound if reward < -self.reward_bound else reward
