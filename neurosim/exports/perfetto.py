"""A window of an asynchronous run as a trace of Perfetto, for its viewer of time lines."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from neurosim.analysis.activity import is_asynchronous
from neurosim.analysis.causality import CODES, step_rows, uses
from neurosim.analysis.windows import Units, units_of
from neurosim.errors import InputError
from neurosim.exports.output import exported_window, package
from neurosim.kernels.traffic import KINDS
from neurosim.memory import Integers
from neurosim.record.reader import Run, Window
from neurosim.spec import TEAMS

UPWARD = [CODES["deliver_value"], CODES["discard_value"]]


def save(run: Run, number: int, path: Path) -> None:
    """Write a window: a track for each unit, an instant for each event, an arrow for each use.

    A nanosecond of the trace is a unit of the log's time, so a mean tick period is 1.05 ms.  An
    arrow leads from the event that sent a packet to the first event of each unit that used it, see
    `analysis.causality.uses`.  One step is in memory at a time.

    Parameters
    ----------
    run : asynchronous, with windows.
    number : of the window, from 0.
    path : of the trace.

    Raises
    ------
    InputError : no such window, one without a finished step, a synchronous run, or Perfetto's
        package is missing.
    """
    window = exported_window(run, number)
    if not is_asynchronous(window):
        raise InputError(
            f"{run.path}: the units of this run send no packets, there is nothing to trace; name "
            "an asynchronous run."
        )
    teams = [units_of(run, team) for team in TEAMS]
    protobuf = package("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    with path.open("wb") as file:
        writer = _Writer(file, protobuf)
        top = writer.add_track("steps")
        observed = window.steps["observation"].shape[1]
        tracks = [_add_tracks(writer, *each, observed) for each in zip(TEAMS, teams, strict=True)]
        for step in range(window.n_steps):
            _add_step(writer, top, window, step, teams, tracks)


class _Writer:
    """Writes a trace packet by packet: one behind the other, their bytes are the trace.

    Parameters
    ----------
    file : takes the bytes.
    protobuf : Perfetto's classes.
    """

    def __init__(self, file: BinaryIO, protobuf: Any) -> None:
        self._file, self._protobuf = file, protobuf
        self._tracks = self._flows = 0

    def add_track(self, name: str, parent: int | None = None, rank: int = 0) -> int:
        """Describe a track, which stands at `rank` among those of its parent; gives its number."""
        self._tracks += 1
        packet = self._protobuf.TracePacket()
        track = packet.track_descriptor
        track.uuid, track.name, track.sibling_order_rank = self._tracks, name, rank
        track.child_ordering = track.EXPLICIT
        if parent is not None:
            track.parent_uuid = parent
        self._write(packet)
        return self._tracks

    def number_flows(self, count: int) -> Integers:
        """Numbers of arrows that are new to the trace."""
        self._flows += count
        return np.arange(self._flows - count, self._flows) + 1

    def add_event(
        self,
        kind: str,
        track: int,
        time: int,
        name: str = "",
        notes: Mapping[str, float] | None = None,
        begun: Iterable[int] = (),
        ended: Iterable[int] = (),
    ) -> None:
        """Write an event of a track: an instant, a slice_begin or a slice_end.

        Parameters
        ----------
        notes : shown with it.
        begun, ended : arrows that begin and end here.
        """
        packet = self._protobuf.TracePacket(timestamp=time, trusted_packet_sequence_id=1)
        event = packet.track_event
        event.type = getattr(event, f"TYPE_{kind.upper()}")
        event.track_uuid = track
        if name:
            event.name = name
        for key, value in (notes or {}).items():
            event.debug_annotations.add(name=key, double_value=value)
        event.flow_ids.extend(begun)
        event.terminating_flow_ids.extend(ended)
        self._write(packet)

    def _write(self, packet: Any) -> None:
        self._file.write(self._protobuf.Trace(packet=[packet]).SerializeToString())


class _Tracks(NamedTuple):
    """Numbers of the tracks of a team."""

    layers: Integers  # (layers + 1,), the observation first
    units: Integers  # (units,)
    components: Integers  # (components,) of the observation


def _add_tracks(writer: _Writer, team: str, units: Units, observed: int) -> _Tracks:
    """Describe the tracks of a team: one for each layer, and within it one for each unit."""
    group = writer.add_track(team, rank=1 + TEAMS.index(team))
    names = ["observation", *(f"layer {l}" for l in range(1, units.layer[-1])), "output"]
    layers = np.array([writer.add_track(name, group, l) for l, name in enumerate(names)])
    own = [writer.add_track(f"unit {k}", int(layers[l]), k) for k, l in enumerate(units.layer)]
    seen = [writer.add_track(f"component {k}", int(layers[0]), k) for k in range(observed)]
    return _Tracks(layers, np.array(own), np.array(seen))


def _add_step(
    writer: _Writer,
    top: int,
    window: Window,
    step: int,
    teams: Sequence[Units],
    tracks: Sequence[_Tracks],
) -> None:
    """Write a step: a slice on the track `top`, and an instant for each of its events."""
    start, stop = step_rows(window, step)
    names = ("time", "team", "kind", "unit", "source", "value")
    columns = {name: window.events[name][start:stop] for name in names}
    track = np.zeros(stop - start, np.int64)
    arrows = []
    for number, team in enumerate(TEAMS):
        mine = columns["team"] == number
        kind, unit, source = (columns[name][mine] for name in ("kind", "unit", "source"))
        track[mine] = _track_of(kind, unit, source, teams[number], tracks[number])
        arrows.append(uses(window, step, team, teams[number]))
    begun, ended = (
        _by_row(np.concatenate(rows) - start, stop - start) for rows in zip(*arrows, strict=True)
    )
    flows = writer.number_flows(sum(each.sent.size for each in arrows))
    time = (columns["time"] - window.events["time"][0]).tolist()
    outcome = window.steps.rows(step, step + 1)  # none where the run diverged in this step
    shown = ("reward", "td_error", "value")
    notes = {name: float(value) for name in shown for value in outcome[name][:]}
    writer.add_event("slice_begin", top, time[0], f"step {step}", notes)
    for row, code in enumerate(columns["kind"].tolist()):
        writer.add_event(
            "instant",
            int(track[row]),
            time[row],
            KINDS[code],
            _notes(columns, row),
            flows[begun[row]].tolist(),
            flows[ended[row]].tolist(),
        )
    writer.add_event("slice_end", top, time[-1])


def _track_of(
    kind: Integers, unit: Integers, source: Integers, units: Units, tracks: _Tracks
) -> Integers:
    """Tracks of events of a team: of a component, a unit, or the layer that can receive them."""
    towards = units.layer[source] + np.where(np.isin(kind, UPWARD), 1, -1)
    to_layer = tracks.layers[np.clip(towards, 0, tracks.layers.size - 1)]
    of_unit = np.where(unit == -1, to_layer, tracks.units[np.minimum(unit, units.layer.size - 1)])
    component = tracks.components[np.minimum(unit, tracks.components.size - 1)]
    found: Integers = np.where(kind == CODES["observe"], component, of_unit)
    return found


def _by_row(rows: Integers, count: int) -> list[Integers]:
    """For each of some rows the places at which it stands in `rows`."""
    order = np.argsort(rows, kind="stable")
    bounds = np.searchsorted(rows[order], np.arange(count + 1))
    return [order[first:end] for first, end in pairwise(bounds)]


def _notes(columns: Mapping[str, Any], row: int) -> dict[str, float]:
    """What is shown with an event."""
    source = columns["source"][row]
    sender = {} if source == -1 else {"source": float(source)}
    return {"value": float(columns["value"][row]), **sender}
