"""A recorded run analysed with pandas and xarray alone: no neurosim is imported here.

neurosim run async/cartpole --episodes 50 --record "episodes=50 steps=0:3"
python demos/offline_analysis.py runs/async/cartpole/seed-0000/run.h5

draws offline_analysis.png
"""

import sys

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas
import xarray

path = sys.argv[1]

# 1. /steps by xarray: a dataset with named dimensions.  How surprised is the agent, how much is
#    said between its units?
with xarray.open_dataset(path, group="steps", engine="h5netcdf") as steps:
    print(steps["actor_sent"].dims, dict(steps.sizes))
    by_episode = xarray.Dataset(
        {
            "reward": steps["reward"].groupby(steps["episode"]).sum(),
            "surprise": abs(steps["td_error"]).groupby(steps["episode"]).mean(),
        }
    ).to_dataframe()
    sent = steps["actor_sent"].sum("step").values
print(by_episode.describe().loc[["mean", "min", "max"]].round(2))
print("packets, values up and errors down, by projection:", *sent.tolist())

# 2. /windows/events by pandas: one row for each thing that happened.
with h5py.File(path) as file:
    events = file["windows/events"]
    codes = h5py.check_enum_dtype(events["kind"].dtype)
    names = sorted(codes, key=codes.get)
    columns = ("time", "team", "unit", "value", "cause")
    table = pandas.DataFrame({name: events[name][:] for name in columns})
    table["kind"] = pandas.Categorical.from_codes(events["kind"][:], names)
    table["period"] = table["time"] / events["time"].attrs["ticks_per_period"]
    begins = file["windows/steps/first_event"][:]
table["step"] = np.searchsorted(begins, table.index, side="right")

# 3. Clocks: the intervals between a unit's ticks.  Those of Poisson clocks are exponential with a
#    mean of one period; as a window ends after 20, the longest ones are missing.
ticks = table[table["kind"].isin(["value_tick", "idle_tick"])]
intervals = ticks.groupby(["step", "team", "unit"])["period"].diff().dropna()
print(f"intervals: mean {intervals.mean():.3f}, standard deviation {intervals.std():.3f} periods")

# 4. Moves: how far a unit moves at its first tick of a step, and at later ones.
values = table[table["kind"].isin(["sample", "value_tick"]) & (table["unit"] < 96)].copy()
unit = values.groupby(["step", "team", "unit"])
values["moved"], values["tick"] = unit["value"].diff().abs(), unit.cumcount()
moves = values[values["tick"].between(1, 12)].groupby("tick")["moved"].median()
print(moves.head(3).round(4).to_string())

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
left.hist(intervals, bins=40, density=True, alpha=0.5)
grid = np.linspace(0, intervals.max(), 200)
left.plot(grid, np.exp(-grid), label="exponential, mean 1")
left.set(xlabel="interval between ticks (periods)", ylabel="density")
left.legend(frameon=False)
right.semilogy(moves, "o-")
right.set(xlabel="tick of a unit within a step", ylabel="median move")
figure.savefig("offline_analysis.png", dpi=150)
