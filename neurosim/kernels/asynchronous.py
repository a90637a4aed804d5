"""What Python calls of an asynchronous team: the engine's verbs on its blocks.

`blocks` are those of a team, its wiring, its mail and its log.
"""

from neurosim.jit import kernel, part
from neurosim.kernels import engine
from neurosim.kernels.clock import plan
from neurosim.kernels.reading import read_log, read_mail, read_shared, read_team, read_wiring
from neurosim.kernels.team import first_diverged


@part
def read(blocks):
    """The arrays of a team, its wiring, its mail and its log."""
    team, wiring, mail, log = blocks
    return (
        read_team(team[0], team[1]),
        read_wiring(wiring[0], wiring[1]),
        read_mail(mail[0], mail[1]),
        read_log(log[0], log[1]),
    )


@part
def rows_at_most(team, wiring, mail):
    """How many rows a step can add to a log."""
    units, widest = team.h.size, 1
    for l in range(team.size.size):
        widest = max(widest, team.size[l])
    ticks = mail.segment[team.size.size]
    packets = mail.start[2 * units - 1] + ticks + 2
    fates = widest if wiring.per_synapse else 1  # a packet may be lost as well as sent
    return 8 * units + ticks * team.size[-1] + packets * fates


@kernel
def act(blocks, shared, observation):
    """Plan a pass and make its sampling wave.

    Returns the time at which the output has sampled, then the events and the rows of the log that
    there must be room for; where one of them is not 0 there was too little, and nothing was done.
    """
    team, wiring, mail, log = read(blocks)
    key = read_shared(shared[0], shared[1]).key
    events = plan(team, wiring, mail, key)
    if events > 0:
        return 0, events, 0
    rows = rows_at_most(team, wiring, mail)
    if 0 < log.time.size < rows:
        return 0, 0, rows
    log.count[0] = 0
    return engine.act(team, wiring, mail, log, key, observation), 0, 0


@kernel
def settle(blocks, shared, begin, td_error, learning):
    """Broadcast the td_error at a time, let the window pass, and accumulate the traces.

    Returns the first unit that has diverged, or -1.
    """
    team, wiring, mail, log = read(blocks)
    s = read_shared(shared[0], shared[1])
    engine.relax(
        team, wiring, mail, log, s.key, begin, td_error, learning, s.steps[0], s.anneal_steps
    )
    engine.accumulate(team, wiring, mail, log)
    for k in range(mail.counts.size):
        mail.totals[k] += mail.counts[k]
    return first_diverged(team)


@kernel
def learn_last(blocks, shared, td_error):
    """The td_error of an episode's last transition reaches the units."""
    team, wiring, mail, log = read(blocks)
    s = read_shared(shared[0], shared[1])
    engine.learn_last(team, wiring, mail, log, s.key, td_error, s.steps[0], s.anneal_steps)


@kernel
def clear_traces(blocks):
    """z = 0 at the start of an episode."""
    team, _, mail, _ = read(blocks)
    engine.clear_traces(team, mail)
