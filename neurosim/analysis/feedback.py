"""How far feedback weights are from the transposed weights: the angle of feedback alignment."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neurosim.analysis.moments import done, recorded
from neurosim.memory import Floats
from neurosim.record.reader import Run


class FeedbackAngles(NamedTuple):
    """Angles of a team with L layers at the moments of a run at which its weights were recorded."""

    episode: Floats  # (moments,) episodes done; within one, by the part of its steps
    layer: Floats  # (moments, L-1) degrees, between B[l] and W[l]' for l = 2, ..., L
    unit: list[Floats]  # for the same l: (moments, n(l-1)) degrees, of each unit's own row of B[l]


def feedback_angles(run: Run, team: str) -> FeedbackAngles:
    """Angles between feedback weights B and transposed weights W' in the course of a run.

        angle(B, W') = arccos( <B, W'> / (|B| |W'|) )

    0 degrees: errors come down as backprop has them, up to a factor; 90: feedback weights know
    nothing of the weights; above, they point the other way.  Of symmetric feedback the angle is 0
    by definition.  The moments are the beginning of the run, the first and the last step of each
    window, and the end of a run that is complete.  A unit with one unit above has one feedback
    weight, and an angle of 0 or 180 degrees.

    Parameters
    ----------
    run : a run of either mode.
    team : "actor" or "critic".

    Raises
    ------
    InputError : there is no such team.
    """
    # In order of time: windows may have been recorded later.
    moments = sorted(recorded(run, team), key=lambda held: held.row)
    layers, units = zip(*(_angles(held.weights) for held in moments), strict=True)
    return FeedbackAngles(
        episode=done(run, [held.row for held in moments]),
        layer=np.array(layers),
        unit=[np.array(each) for each in zip(*units, strict=True)],
    )


def _angles(weights: Mapping[str, Floats]) -> tuple[list[float], list[Floats]]:
    """Angles of the layers 2, ..., L, and of the units that hold their feedback weights."""
    layers, units = [], []
    l = 2
    while f"W{l}" in weights:
        forward = weights[f"W{l}"].T
        feedback = weights.get(f"B{l}", forward)
        layers.append(float(angle(feedback.ravel(), forward.ravel())))
        units.append(angle(feedback, forward))
        l += 1
    return layers, units


def angle(a: Floats, b: Floats) -> Floats:
    """Angle between vectors a and b, (..., n), in degrees: (...,); nan where one is 0.

    2 atan2(|u - v|, |u + v|) of the unit vectors is as exact as they are near 0 and 180 degrees,
    where the arc cosine is not.
    """
    with np.errstate(invalid="ignore"):
        u, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    halves = np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))
    degrees: Floats = np.degrees(2.0 * halves)
    return degrees
