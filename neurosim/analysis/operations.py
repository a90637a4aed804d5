"""Sparsity and counts of operations under NeuroBench's names (Yik et al. 2025).

A *decision* is one step of the environment: the sampling wave, relaxation and learning.  Its cost
is read from the counts of an asynchronous run; a synchronous team always does the same, so that it
follows from the sizes of its layers and from N.  What ends an episode, its last update and, where
its last state is valued, a pass, is in no count.
"""

from typing import NamedTuple

import numpy as np

from neurosim.analysis.windows import map_prop_of
from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.record.reader import Run
from neurosim.spec import Learning, TeamSpec, timing_of

ROWS = 65_536  # of /steps, read at once
BYTES = 8  # of a number


class Operations(NamedTuple):
    """What a decision costs a team: means over all steps of a run."""

    multiply_adds: tuple[float, float, float]  # made: forward and feedback products, learning
    dense: float  # synaptic operations: every value or error sent, at every receiver
    effective_macs: float  # of them, of packets in time, with no payload or weight of zero
    effective_acs: float  # the same of binary payloads: one-hot observations
    activation_sparsity: float  # fraction of the hidden units' updates that send nothing
    connection_sparsity: float  # fraction of weights that are zero
    footprint: int  # bytes of parameters, feedback weights, traces, moments, values, errors


def operations(run: Run, team: str) -> Operations:
    """Sparsity and operations of a team, "actor" or "critic".

    NeuroBench's definitions, for units whose payloads are real numbers.  *Dense*: a packet is one
    operation at each of its receivers, whatever it carries, and so is each component of the
    observation at each unit of layer 1.  *Effective*: those of them that a packet reached
    within the window, with a payload and a weight that are not zero; accumulates (ACs) where the
    payload is 0 or 1, else multiply-accumulates (MACs).  A value or an error that is sent is not
    zero, but for the errors of a silent unit, which count as if they were not.  *Activation
    sparsity*: updates of hidden units that `send_on_delta` keeps to themselves, among all.
    *Connection sparsity* and zero weights: of the weights at the end of the run, or at its
    beginning if it has not ended.  *Footprint*: mailboxes are not counted.  Of hill climbing, a
    proposal is a value that every hidden unit sends, and in place of an error a unit holds the
    value to which it may go back; that the energy is added up over all units and told to them is
    no synaptic operation, and in no count.

    Raises
    ------
    InputError : the run has no steps yet, or the team learns by another rule, or holds its values.
    """
    spec = map_prop_of(run, team)
    hold = getattr(spec, team).hold
    if any(steps > 1 for steps in hold):
        raise InputError(
            f"{run.path}: {team}.hold = {hold}: operations are counted of units that decide at "
            f"every step; name a run without {team}.hold."
        )
    steps = len(run.steps)
    if not steps:
        raise InputError(f"{run.path} has no finished step, so that there is nothing to count.")
    weights = run.weights(team, "final" if run.complete else "initial")
    layers = sum(name.startswith("W") for name in weights)
    w = [weights[f"W{layer}"] for layer in range(1, layers + 1)]
    density = np.array([np.mean(each != 0) for each in w])
    hidden = [each.shape[1] for each in w[1:]]  # units of each hidden layer
    seen = np.zeros(w[0].shape[1])
    for start in range(0, steps, ROWS):
        seen += np.count_nonzero(run.steps["observation"][start : start + ROWS], axis=0)
    observed = float(np.count_nonzero(w[0], axis=0) @ seen) / steps
    timing = timing_of(spec, team)
    if run.attribute("mode") == "asynchronous":
        totals = run[f"teams/{team}/totals"]
        sent, arrived = (totals[name][...] / steps for name in ("sent", "delivered"))
        made = totals["multiply_adds"][...] / steps
        reached = np.array([[each.shape[0] for each in w[1:]], hidden])  # receivers of a packet
        per_synapse = timing.synapse_delay > 0 or timing.loss_per == "synapse"
        fan_out = np.ones_like(reached) if per_synapse else reached
        packets = sent[0] / (reached[0] if per_synapse else 1)
        updates = sum(hidden) + totals["ticks"][0] / steps
        silent = 1 - packets.sum() / updates
    else:
        settings = getattr(spec, team)
        begun = 0 if spec.learning.update_at_reset else int(run.steps["episode"][-1])
        learned = steps - begun  # the first step of an episode has no update
        made = synchronous(w, settings, spec.learning, learned / steps)
        products = np.array([each.size for each in w[1:]])
        errors = 0 if settings.relaxation == "hill_climbing" else settings.N
        sent = arrived = np.array([(1 + settings.N) * products, errors * products])
        fan_out = np.ones_like(sent)
        silent = 0.0
    effective = float((arrived * fan_out * density[1:]).sum())
    binary = spec.task.one_hot
    own = feedback_numbers(timing.feedback, [each.size for each in w[1:]])
    parameters = sum(each.size + each.shape[0] for each in w)
    numbers = parameters + own[0] + 3 * (parameters + own[1])
    numbers += 2 * sum(each.shape[0] for each in w)
    return Operations(
        multiply_adds=(float(made[0]), float(made[1]), float(made[2])),
        dense=float((sent * fan_out).sum()) + w[0].size,
        effective_macs=effective + (0.0 if binary else observed),
        effective_acs=observed if binary else 0.0,
        activation_sparsity=float(silent),
        connection_sparsity=1 - float(np.average(density, weights=[each.size for each in w])),
        footprint=BYTES * numbers,
    )


def synchronous(
    w: list[Floats], team: TeamSpec, learning: Learning, learned: float = 1.0
) -> tuple[float, float, float]:
    """Multiply-adds of a synchronous team in a step: forward, feedback, learning.

    With s_l = n_l n_{l-1} the size of W[l]: the sampling wave takes sum s_l; the first relaxation
    step sum s_l, the later ones, whose first layer stands still, sum s_l - s_1 each; the trace
    sum s_l.  Each relaxation step takes sum s_l - s_1 of feedback.  A trace is one for each
    parameter, an Adam update three.  Hill climbing takes sum s_l for the energy of the values held,
    sum s_l - s_1 for that of each proposal, and no feedback.

    Parameters
    ----------
    w : weights (n_l, n_{l-1}) of each layer.
    team : with N.
    learning : `stale_first_mean` leaves the first step's means out, and the second one's whole.
    learned : fraction of steps with an update.
    """
    products = sum(each.size for each in w)
    above = products - w[0].size
    parameters = products + sum(each.shape[0] for each in w)
    learning_costs = (1 + 3 * learned) * parameters
    if team.relaxation == "hill_climbing":
        return 3 * products + team.N * above, 0, learning_costs
    means = team.N - 1 if learning.stale_first_mean else team.N
    relaxing = means * above + w[0].size if means > 0 else 0
    return 2 * products + relaxing, team.N * above, learning_costs


def feedback_numbers(feedback: str, sizes: list[int]) -> tuple[int, int]:
    """Feedback weights of their own that units hold, and those of them that learn."""
    own = 0 if feedback == "symmetric" else sum(sizes)
    return own, own if feedback == "kolen_pollack" else 0
