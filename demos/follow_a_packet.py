"""Follow one packet: from an observation up through the network, and what comes back down.

python demos/follow_a_packet.py          draws follow_a_packet.png
"""

import matplotlib.pyplot as plt
import numpy as np

import neurosim
from neurosim.analysis.windows import units_of
from neurosim.kernels.clock import TICKS

# 1. A run with one step in full detail: every tick, every packet, every arrival has a row.
record = [{"episodes": [2], "steps": [3, 4]}]
model = neurosim.load("async/cartpole", {"task.episodes": 2, "record": record})
run = neurosim.simulate(model, seed=0)
window = run.windows[0]
events = window.events.to_pandas()
events = events[events["team"] == 0]  # the actor's
events["period"] = (events["time"] - events["time"].iloc[0]) / TICKS
layer = units_of(run, "actor").layer
print(f"{len(events)} rows for one step of the actor; units {np.bincount(layer)[1:]} by layer\n")


def sent_by(kind, unit, after):
    """The first row of a kind after a time in which a unit has sent a packet."""
    rows = events[(events["kind"] == kind) & (events["unit"] == unit) & (events["cause"] == 0)]
    return rows[rows["period"] > after].iloc[0]


def arrival_of(packet, kind):
    """The row in which a packet arrives: by `cause` it names the row that sent it."""
    rows = events[events["kind"] == kind]
    return rows[rows.index - rows["cause"] == packet.name].iloc[0]


def tell(row, what):
    place = f"layer {layer[row['unit']]}, unit {row['unit']:3d}" if row["unit"] >= 0 else "layer"
    print(f"{row['period']:6.3f}  {place:18s} {what} {row['value']:+.4f}")


# 2. Up: a unit of layer 1 ticks and sends its value; a unit of layer 2 uses it at its next tick,
#    and sends its own; the output hears that.
start = sent_by("value_tick", unit=7, after=2.0)
tell(start, "ticks, moves to and sends")
arrived = arrival_of(start, "deliver_value")
print(f"{arrived['period']:6.3f}  all of layer 2     hold it in their mailboxes")
above = sent_by("value_tick", unit=64 + 5, after=arrived["period"])
tell(above, "ticks, moves to and sends")
arrived_above = arrival_of(above, "deliver_value")
output = sent_by("error_tick", unit=96, after=arrived_above["period"])
tell(output, "ticks, its error is")

# 3. Down: the output's error packet reaches layer 2, whose error packet reaches layer 1.
returned = arrival_of(output, "deliver_error")
below = sent_by("error_tick", unit=64 + 5, after=returned["period"])
tell(below, "ticks, its error is")
back = arrival_of(below, "deliver_error")
end = sent_by("value_tick", unit=7, after=back["period"])
tell(end, "ticks again, and moves to")
print(f"\nthere and back in {end['period'] - start['period']:.2f} periods")

# 4. The same in a picture: dots are ticks, lines are packets on their way.
stops = [(start, arrived, 2), (above, arrived_above, 3), (output, returned, 2), (below, back, 1)]
style = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
figure, axes = plt.subplots(figsize=(7, 3.2), constrained_layout=True)
for tick, landing, to in stops:
    times, layers = [tick["period"], landing["period"]], [layer[tick["unit"]], to]
    axes.annotate("", (times[1], to), (times[0], layers[0]), arrowprops=style)
for row in (start, above, output, below, end):
    axes.plot(row["period"], layer[row["unit"]], "o", color="#D55E00", zorder=3)
axes.set(xlabel="periods since the observation", yticks=[1, 2, 3], ylim=(0.7, 3.3))
axes.set_yticklabels(["layer 1, unit 7", "layer 2, unit 69", "output"])
figure.savefig("follow_a_packet.png", dpi=150)
