"""From a model's [timing] to arrays: clocks, delays, losses and feedback of each unit."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError
from neurosim.kernels import elementary, engine, rng, traffic
from neurosim.kernels.activation import SOFTMAX
from neurosim.kernels.clock import DIGIT, TICKS
from neurosim.memory import Block, Floats, Integers, Log, Mail, Team, Wiring
from neurosim.network import aligned_zeros, weights
from neurosim.spec import TeamTiming

Arrays = TypeVar("Arrays", Wiring, Mail, Log)


def build_wiring(name: str, team: Team, timing: TeamTiming, N: int, key: Integers) -> Block:
    """Wiring of one team, and its initial feedback weights into team.wt.

    Parameters
    ----------
    name : "actor" or "critic", for messages.
    team : the team's memory.
    timing : the team's settings.
    N : length of the window where the settings give none, in periods.
    key : (2,) Philox key of the run.

    Raises
    ------
    InputError : a list that gives one number for each unit of the output has another length, or a
        unit ticks more often than can be counted.
    """
    units, inputs, layers = team.h.size, int(team.size[0]), team.size.size
    layer = np.repeat(np.arange(layers), team.size)
    agent = np.ones(units, np.int64)
    agent[:inputs] = 0
    if team.activation[-1] == SOFTMAX:
        agent[team.unit[-1] + 1 :] = 0
    rate = _per_unit(name, "rate", team.size, timing.rate)

    def draws(event: int) -> Floats:
        """One uniform number for each unit, in its UNIT stream."""
        where = np.uint64(int(team.where) + rng.UNIT)
        numbers = [rng.uniform(key, event, u, where) for u in range(units - inputs)]
        return np.array([0.0] * inputs + numbers)

    if timing.rate_spread > 0.0:
        s, where = timing.rate_spread, np.uint64(int(team.where) + rng.UNIT)
        for u in range(inputs, units):
            x = rng.normal(key, 1, u - inputs, where)
            rate[u] *= elementary.exp(s * x - s * s / 2)
    window = int(_ticks(N if timing.window is None else timing.window))
    if rate.max() * window >= 2.0**19 * TICKS:
        raise InputError(
            f"timing.rate_spread = {timing.rate_spread}: a unit of the {name} ticks "
            f"{rate.max():.3g} times a period; a smaller spread or window is needed."
        )
    with np.errstate(divide="ignore"):
        interval = np.where(rate > 0.0, TICKS / rate, np.inf)
    period = np.where(rate > 0.0, np.rint(np.minimum(interval, 2.0**62)), 0.0).astype(np.int64)
    if timing.clock == "synchronous":
        phase = period.copy()
    elif isinstance(timing.phase, float):
        phase = np.rint(timing.phase * period).astype(np.int64)
    else:
        phase = 1 + (draws(0) * period).astype(np.int64)

    delay, loss, least = np.zeros(2 * units, np.int64), np.zeros(2 * units), np.zeros(2 * units)
    error_delay = timing.delay if timing.error_delay is None else timing.error_delay
    error_loss = timing.loss if timing.error_loss is None else timing.error_loss
    for d, delays, losses in ((0, timing.delay, timing.loss), (1, error_delay, error_loss)):
        mine = slice(d * units, (d + 1) * units)
        delay[mine] = _ticks(_per_projection(layer, delays, d))
        delay[mine] += (draws(2 + d) * _ticks(timing.unit_delay)).astype(np.int64)
        loss[mine] = _per_projection(layer, losses, d)
    deviation = np.sqrt(team.var)
    error_deviation = 1.0 / deviation
    if team.activation[-1] == SOFTMAX:
        error_deviation[team.unit[-1] :] = 1.0 / team.T
    least[:units] = timing.send_on_delta * deviation
    least[units:] = timing.send_on_delta * error_deviation

    per_synapse = timing.synapse_delay > 0.0 or timing.loss_per == "synapse"
    synapse_delay = np.zeros(2 * team.w.size if per_synapse else 0, np.int64)
    if timing.synapse_delay > 0.0:
        _draw_synapse_delays(team, synapse_delay, int(_ticks(timing.synapse_delay)), key)
    lag = period // 2 if timing.error_clock == "antiphase" else np.zeros_like(period)
    broadcast_delay = _ticks(_per_unit(name, "broadcast_delay", team.size, timing.broadcast_delay))
    packet_delay = int(_ticks(timing.packet_delay))
    after_window = np.where(interval < np.inf, timing.jitter * period + lag, 0.0)
    last_tick = window + int(np.ceil(after_window.max()))
    journey = int(delay.max()) + packet_delay + int(synapse_delay.max(initial=0))
    start_feedback(team, timing, key)
    return pack(
        Wiring,
        {
            "layer": layer,
            "agent": agent,
            "period": period,
            "phase": phase,
            "lag": lag,
            "delay": delay,
            "broadcast_delay": broadcast_delay,
            "synapse_delay": synapse_delay,
            "interval": interval,
            "loss": loss,
            "broadcast_loss": _per_unit(name, "broadcast_loss", team.size, timing.broadcast_loss),
            "least_change": least,
            "poisson": timing.clock == "poisson",
            "errors_from": 1 if timing.trace_after > 0 else 2,
            "window": window,
            "duration": max(last_tick, int(broadcast_delay.max())) + journey,
            "lookahead": 0 if timing.trace_after > 0 else _shortest(team, delay),
            "packet_delay": packet_delay,
            "in_order": per_synapse or (packet_delay == 0 and timing.unit_delay == 0.0),
            "newest": timing.reorder == "newest",
            "per_synapse": per_synapse,
            "loss_per_synapse": timing.loss_per == "synapse",
            "timer": -1 if timing.sampling_timer is None else _ticks(timing.sampling_timer),
            "feedback": engine.FEEDBACKS[timing.feedback],
            "silent": timing.silent_until_first_tick,
            "trace_after": timing.trace_after,
            "jitter": timing.jitter,
            "quantum": 2.0 ** (53 - timing.quantize) + 1.0 if timing.quantize else 0.0,
            "keep": 1.0 - timing.feedback_decay,
        },
    )


def build_mail(team: Team, wiring: Wiring, events: int = 1024) -> Block:
    """Empty mailboxes of a team with a wiring, with room for so many events of a pass."""
    units, layers, parameters = team.h.size, team.size.size, team.w.size
    lanes = 2 * layers
    tagged = parameters if wiring.trace_after > 0 else 0
    learned = parameters if wiring.feedback == engine.KOLEN_POLLACK else 0
    slots = wiring.synapse_delay.size
    packets = events * int(team.size[-1]) + units  # a tick of a softmax agent sends several
    lengths = {
        **dict.fromkeys(("sent", "last", "heard", "heard_time", "heard_number"), 2 * units),
        **dict.fromkeys(("slot_sum", "slot_fresh", "start", "wired"), 2 * units),
        **dict.fromkeys(("moves", "error_ticks", "updates", "seen", "ready"), units),
        **dict.fromkeys(("tagged_g", "tagged_h"), units),
        **dict.fromkeys(("sent_sum", "fresh", "head", "tail"), lanes),
        **dict.fromkeys(("slot", "slot_time", "slot_number", "taken"), slots),
        **dict.fromkeys(("zt", "mt", "vt"), learned),
        "version": layers,
        "segment": layers + 1,
        "next": layers,
        "tagged_x": tagged,
        "tagged_g_above": tagged if learned else 0,
        **dict.fromkeys(("armed", "p", "f", "mu", "slope"), max(256, int(team.size[-1]))),
        "ticks": events,
        "scratch": events,
        "digits": 2**DIGIT,
        "intervals": 16,
        "packets": 4 * packets,
        "payloads": packets,
        "queue": 0 if wiring.in_order else packets,
        "clock": 4,
        **dict.fromkeys(("counts", "totals"), 5 * lanes + traffic.OTHER_COUNTS),
    }
    return pack(Mail, {name: np.zeros(length) for name, length in lengths.items()})


def grown_mail(team: Team, wiring: Wiring, old: Block, events: int) -> Block:
    """The mailboxes `old` with room for so many events; none of a pass may be under way."""
    new = build_mail(team, wiring, events)
    for before, after in zip(unpack(Mail, old), unpack(Mail, new), strict=True):
        if before.size == after.size:
            after[...] = before
    return new


def build_log(rows: int) -> Block:
    """A log with room for so many rows; with 0 nothing is written down."""
    return pack(Log, {name: np.zeros(rows) for name in Log._fields} | {"count": np.zeros(1)})


def pack(kind: type[Arrays], values: Mapping[str, Any]) -> Block:
    """Blocks that hold the fields of a NamedTuple, each float array at a multiple of 64 bytes.

    kind : the NamedTuple.  values : its fields by name, arrays (n,) or single numbers.
    """
    floats: list[Floats] = []
    integers: list[Integers] = []
    table = np.zeros(2 * len(kind._fields), np.int64)
    next_integer, next_float = table.size, 0
    for k, (name, field_type) in enumerate(kind.__annotations__.items()):
        array = np.atleast_1d(np.asarray(values[name]))
        if field_type in (Floats, float):
            table[2 * k : 2 * k + 2] = next_float, next_float + array.size
            padded = np.zeros((array.size + 7) // 8 * 8)
            padded[: array.size] = array
            floats.append(padded)
            next_float += padded.size
        else:
            table[2 * k : 2 * k + 2] = next_integer, next_integer + array.size
            integers.append(array.astype(np.int64))
            next_integer += array.size
    block = aligned_zeros(next_float)
    block[:] = np.concatenate(floats)
    return np.concatenate([table, *integers]), block


def unpack(kind: type[Arrays], block: Block) -> Arrays:
    """The fields that `pack` was given, arrays as views of their block."""
    (integers, floats), fields = block, []
    for k, field_type in enumerate(kind.__annotations__.values()):
        source = floats if field_type in (Floats, float) else integers
        view = source[integers[2 * k] : integers[2 * k + 1]]
        fields.append(view if field_type in (Floats, Integers) else view[0].item())
    return kind._make(fields)


def _shortest(team: Team, delay: Integers) -> int:
    """The shortest delay of a packet: of values of hidden units, of errors from layer 2 up."""
    values = delay[: team.h.size][int(team.size[0]) : int(team.unit[-1])]
    errors = delay[team.h.size :][int(team.size[:2].sum()) :]
    return int(min(values.min(initial=TICKS), errors.min(initial=TICKS)))


def _ticks(periods: Any) -> Any:
    """A duration in periods as units of time."""
    return np.rint(np.asarray(periods) * TICKS).astype(np.int64)


def _per_projection(layer: Integers, value: float | list[float], d: int) -> Floats:
    """What each unit has that sends over a projection, up (d = 0) or down (d = 1); others have 0.

    Projection 1 leads from layer 1 to layer 2.
    """
    layers = int(layer[-1])
    numbers = np.full(layers - 1, value) if isinstance(value, float) else np.array(value)
    per_layer = np.zeros(layers + 1)
    per_layer[1 + d : layers + d] = numbers
    return per_layer[layer]


def _per_unit(
    name: str, key: str, size: Integers, value: float | list[float | list[float]]
) -> Floats:
    """One number for each unit, from one for all, one for each layer or one for each unit."""
    entries = [value] * (size.size - 1) if isinstance(value, float) else value
    found = [np.zeros(int(size[0]))]
    for l, entry in enumerate(entries, start=1):
        n = int(size[l])
        if isinstance(entry, list) and len(entry) != n:
            raise InputError(
                f"timing.{key}[{l - 1}] has {len(entry)} entries, but layer {l} of the {name} has "
                f"{n} units: give one number for the layer, or {n}."
            )
        found.append(np.broadcast_to(np.array(entry, float), n))
    return np.concatenate(found)


def _draw_synapse_delays(team: Team, delays: Integers, largest: int, key: Integers) -> None:
    """What each synapse adds, uniform in [0, largest), from its receiver's stream."""
    half = team.w.size
    layers = range(1, team.size.size)
    up = [weights(team, delays[:half], l)[0] for l in layers[1:]]  # rows: receivers
    down = feedback_weights(team, delays[half:])
    for stream, first, rows in ((rng.VALUE_SYNAPSE, 2, up), (rng.ERROR_SYNAPSE, 1, down)):
        where = np.uint64(int(team.where) + stream)
        for l, layer in enumerate(rows, start=first):
            u = np.empty(layer.shape[1])
            for i, synapses in enumerate(layer):
                receiver = int(team.unit[l] - team.size[0]) + i
                rng.uniforms(key, u.size, receiver, where, u)
                synapses[:] = (u * largest).astype(np.int64)


def start_feedback(team: Team, timing: TeamTiming, key: Integers) -> None:
    """Initial feedback weights, into team.wt: unit j of layer l holds one for each unit above."""
    alignment = {"kolen_pollack": timing.feedback_alignment, "symmetric": 1.0}
    a = alignment.get(timing.feedback, 0.0)
    if a == 1.0:
        return  # the transposed weights, as they are
    where = np.uint64(int(team.where) + rng.FEEDBACK)
    for l, rows in enumerate(feedback_weights(team, team.wt), start=1):
        w, _ = weights(team, team.w, l + 1)
        bound = np.sqrt(6.0 / sum(w.shape))
        for j, row in enumerate(rows):
            held = np.empty(row.size)
            rng.uniforms(key, row.size, int(team.unit[l] - team.size[0]) + j, where, held)
            held = (2.0 * bound) * held - bound
            if timing.feedback == "sign_symmetric":
                held = np.copysign(held, w[:, j])
            elif a > 0.0:
                held = a * w[:, j] + np.sqrt(1.0 - a * a) * held
            row[:] = held


def feedback_weights(team: Team, parameters: NDArray[Any]) -> list[NDArray[Any]]:
    """Views (n(l), n(l+1)) for l = 1, ..., L-1 of wt, zt, mt or vt: a row for each holder."""
    views = []
    for l in range(2, team.size.size):
        n, below, first = int(team.size[l]), int(team.size[l - 1]), int(team.param[l])
        views.append(parameters[first : first + below * n].reshape(below, n))
    return views
