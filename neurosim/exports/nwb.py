"""A window of a run as a file of Neurodata Without Borders."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.analysis.activity import is_asynchronous
from neurosim.analysis.ticks import step_times, ticks
from neurosim.analysis.windows import units_of
from neurosim.exports.output import exported_window, package
from neurosim.kernels.clock import TICKS
from neurosim.memory import Floats
from neurosim.record.reader import Run
from neurosim.spec import TEAMS

STEPS = {
    "observation": "what actor and critic received",
    "action": "what the environment was given",
    "reward": "what the environment answered with",
    "td_error": "temporal difference error of the transition",
    "value": "the critic's estimate of the state",
}


def save(run: Run, number: int, path: Path) -> None:
    """Write a window: its steps and its units' values as time series, ticks as spike times.

    A second of the file is a mean tick period, from the window's start on; where units have no
    clocks it is a step.

    Parameters
    ----------
    run : with windows.
    number : of the window, from 0.
    path : of the file.

    Raises
    ------
    InputError : no such window, one without a finished step, or PyNWB is missing.
    """
    pynwb = package("pynwb")
    window = exported_window(run, number)
    file = pynwb.NWBFile(
        session_description=f"Episode {window.episode} of a simulation by neurosim.",
        identifier=f"{run.attribute('model_name')} seed {run.seed} window {number}",
        session_start_time=datetime.datetime.fromisoformat(str(run.attribute("created"))),
        experiment_description=run.model,
    )
    units = {team: units_of(run, team) for team in TEAMS}
    series = {name: (window.steps[name][:], what) for name, what in STEPS.items()}
    for team, its in units.items():
        layers = ", ".join(f"{np.sum(its.layer == l)} of layer {l}" for l in np.unique(its.layer))
        of = f"values of the {team}'s units ({layers}; the last are its outputs)"
        series[f"{team}_sampled"] = window.sampled(team), f"{of} before relaxation"
        series[f"{team}_relaxed"] = window.relaxed(team), f"{of} after relaxation"
    times = step_times(window)
    for name, (values, what) in series.items():
        file.add_acquisition(
            pynwb.TimeSeries(
                name=name,
                description=what,
                data=values,
                unit="1",
                **_clock(times[: len(values)]),  # of a run that diverged a step has no outcome
            )
        )
    if is_asynchronous(window):
        file.units = pynwb.misc.Units(
            name="units",
            description="Units of both teams; spike times are their ticks.",
            resolution=1 / TICKS,
        )
        file.add_unit_column("team", "the team of the unit, actor or critic")
        file.add_unit_column("layer", "the layer of the unit, from 1")
        file.add_unit_column("number", "the unit in its team, from the first hidden one, 0")
        for team, its in units.items():
            found = ticks(window, team, its)
            for unit, layer in enumerate(its.layer):
                spikes = found.time[found.unit == unit]
                file.add_unit(spike_times=spikes, team=team, layer=int(layer), number=unit)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)


def _clock(times: Floats) -> dict[str, Any]:
    """Times as a series takes them: a rate where they are equally far apart."""
    between = np.unique(np.diff(times))
    if between.size == 1:
        return {"starting_time": float(times[0]), "rate": float(1 / between[0])}
    return {"timestamps": times}
