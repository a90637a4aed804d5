"""How a team's own gradients compare with backprop's (Theorems 2 and 3)."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from neurosim.analysis.landscape import backprop
from neurosim.analysis.replay import Step, replay
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Run


class Alignment(NamedTuple):
    """Of the recorded steps of a team, with U units in L layers; nan where a gradient is 0."""

    row: Integers  # (steps,) rows of /steps
    cosine: Floats  # (steps, L) of the two gradients of a layer
    ratio: Floats  # (steps, L) of their norms, the team's over backprop's
    unit_cosine: Floats  # (steps, U) of the two gradients of a unit's weights and bias
    unit_ratio: Floats  # (steps, U)
    layer: Integers  # (U,) layer of each unit, from 1


def alignment(run: Run, team: str) -> Alignment:
    """Cosine and norm ratio of a team's gradients with backprop's, at the recorded steps.

    The team's gradient of layer l is what the step added to its trace, z - gamma lambda z_before:

        G[l] = gate * grad_W[l] log pi_l(h[l-1], h[l])

    computed by each unit from what it has: in asynchronous mode from its mailbox and the last error
    packet it sent.  The gate is 1 of an actor and 1 / (A - mu[L]) of a critic.  Backprop's gradient
    D[l] is that of log Pr(A | S, z), of a critic that of mu[L] / var[L], through the network
    h[l] = mu[l] + sqrt(var[l]) z[l], with the weights of after the step's update and the noise z
    that gives the values h of after the relaxation: see `landscape.backprop`.  Then

        cosine = <G, D> / (|G| |D|)        ratio = |G| / |D|

    over the weights and biases of a layer, or of a unit.  By Theorems 2 and 3 both are 1 in every
    layer where the units have settled; in the last layer of a synchronous team they always are, and
    what remains to be relaxed shows in the layers below.  (Where a critic's |A - mu| is below its
    gate_floor the ratio is less.)

    Raises what `replay.replay` raises.
    """
    return alignment_of(replay(run, team))


def alignment_of(steps: Iterable[Step]) -> Alignment:
    """The same of steps that were replayed."""
    found = [(step.row, _products(step), [len(g) for g in step.gradient]) for step in steps]
    rows, of_steps, (sizes, *_) = zip(*found, strict=True)
    products = np.array(of_steps)
    layer = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    first = np.flatnonzero(np.diff(layer, prepend=0))
    cosine, ratio = _compared(np.add.reduceat(products, first, axis=-1))
    return Alignment(np.array(rows), cosine, ratio, *_compared(products), layer)


def _products(step: Step) -> Floats:
    """<G, D>, <G, G> and <D, D> of each unit, (3, U)."""
    pairs = list(zip(step.gradient, backprop(step.network, step.relaxed), strict=True))
    rows = [[(a * b).sum(axis=1) for a, b in ((g, d), (g, g), (d, d))] for g, d in pairs]
    return np.concatenate(rows, axis=1)


def _compared(products: Floats) -> tuple[Floats, Floats]:
    """Cosine and ratio (steps, n) from the three products (steps, 3, n)."""
    both, mine, theirs = np.moveaxis(products, 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine, ratio = both / np.sqrt(mine * theirs), np.sqrt(mine / theirs)
    undefined = (mine == 0.0) | (theirs == 0.0)
    cosine[undefined] = ratio[undefined] = np.nan
    return cosine, ratio
