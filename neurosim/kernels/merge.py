"""The logs of two teams as one list of events, in the order in which they happened (plumbing)."""

import numpy as np

from neurosim.jit import kernel, part
from neurosim.kernels.clock import sort_events
from neurosim.kernels.reading import read_log
from neurosim.kernels.traffic import ARM, NOBODY, SAMPLE, VALUE_ROW


@part
def sends(kind):
    """Whether events of a kind send a packet."""
    return kind == SAMPLE or ARM <= kind <= VALUE_ROW  # arm, error tick, value tick


@part
def first_packet(log, rows):
    """The smallest number of a packet in a team's log."""
    smallest = np.iinfo(np.int64).max
    for k in range(rows):
        if 0 <= log.packet[k] < smallest:
            smallest = log.packet[k]
    return smallest


@part
def in_order(actor, critic, keys, other, digits):
    """Numbers of all rows, the actor's first, in the order of their time and rank into keys."""
    n, m = actor.count[0], critic.count[0]
    bits = 1
    while (1 << bits) < n + m:
        bits += 1
    earliest = np.iinfo(np.int64).max
    for k in range(n):
        earliest = min(earliest, actor.order[k])
    for k in range(m):
        earliest = min(earliest, critic.order[k])
    for k in range(n):
        keys[k] = (actor.order[k] - earliest) << bits | k
    for k in range(m):
        keys[n + k] = (critic.order[k] - earliest) << bits | (n + k)
    sort_events(keys[: n + m], other[: n + m], digits, bits)
    for k in range(n + m):
        keys[k] &= (1 << bits) - 1


@part
def place(log, k, team, row, out):
    """Row k of a team's log becomes a row of the list."""
    out.time[row] = log.time[k]
    out.team[row] = team
    out.unit[row] = log.unit[k]
    out.kind[row] = log.kind[k]
    out.value[row] = log.value[k]
    out.source[row] = log.source[k]


@part
def cause_of(log, k, row, smallest, sender):
    """Whether a row sent a packet (0), or how many rows earlier its packet was sent, or -1.

    sender (packets,): the row that sent each packet of the team, from the smallest number on.
    """
    packet = log.packet[k]
    if packet == NOBODY:
        return NOBODY
    if sends(log.kind[k]):
        sender[packet - smallest] = row
        return 0
    return row - sender[packet - smallest]


@kernel
def merge(actor_block, critic_block, work, out):
    """List the events of the two logs in `out`.  Returns how many there are.

    work: keys, other and sender (R,), digits (2**DIGIT,), all integers, R being at least the rows
    of both logs together, as in the columns of out.
    """
    actor = read_log(actor_block[0], actor_block[1])
    critic = read_log(critic_block[0], critic_block[1])
    keys, other, sender, digits = work
    n = actor.count[0]
    total = n + critic.count[0]
    in_order(actor, critic, keys, other, digits)
    first, second = first_packet(actor, n), first_packet(critic, total - n)
    for row in range(total):
        k = keys[row]
        if k < n:
            place(actor, k, 0, row, out)
            out.cause[row] = cause_of(actor, k, row, first, sender[:n])
        else:
            place(critic, k - n, 1, row, out)
            out.cause[row] = cause_of(critic, k - n, row, second, sender[n:])
    return total
