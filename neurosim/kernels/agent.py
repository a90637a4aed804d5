"""One time step of actor and critic together (Algorithm 2 with Appendix C)."""

from neurosim.jit import kernel
from neurosim.kernels.reading import read_shared, read_team
from neurosim.kernels.team import (
    PASSES,
    accumulate,
    begin_episode,
    feed_forward,
    first_diverged,
    learn,
    relax,
)

BEGIN, STEP = range(2)  # which step of an episode it is: its first, a later one, or
TERMINATED, ZERO, BOOTSTRAP = range(2, 5)  # what follows the last, and how that is valued


@kernel
def read(actor, critic, shared):
    """The arrays of an agent from its blocks, each a pair (integers, floats)."""
    return (
        read_team(actor[0], actor[1]),
        read_team(critic[0], critic[1]),
        read_shared(shared[0], shared[1]),
    )


@kernel
def bounded(reward, bound):
    """Reward held within +- bound (Table 3)."""
    reward = bound if reward > bound else reward
    return -bound if reward < -bound else reward


@kernel
def agent_step(actor_block, critic_block, shared_block, observation, reward, kind):
    """A step of an episode: the transition that led to `observation` is learned first, if any.

    What follows the last step is its transition alone, learned with the traces as they stand (see
    the errata), and an iteration on the last state where there is to be one.  One kernel for all
    kinds, because most of compiling is for what they share.  Returns as `settle`.
    """
    actor, critic, shared = read(actor_block, critic_block, shared_block)
    begins, ends = kind == BEGIN, kind >= TERMINATED
    acts = not ends or shared.terminal_iteration
    if begins:
        begin_episode(critic)
        begin_episode(actor)
    if acts or kind == BOOTSTRAP:
        feed_forward(critic, observation, shared.key)
    if acts:
        feed_forward(actor, observation, shared.key)
    value = critic.mu[-1]
    if begins or kind == ZERO:
        shared.td_error[0] = 0.0
    else:
        next_value = 0.0 if kind == TERMINATED else value
        reward = bounded(reward, shared.reward_bound)
        shared.td_error[0] = reward + shared.gamma * next_value - shared.value[0]  # l. 13, App. C
    if not ends:
        shared.value[0] = value
    if not begins or shared.update_at_reset:
        learn_both(actor, critic, shared)
    return settle(actor, critic, shared) if acts else (-1, -1)


@kernel
def learn_both(actor, critic, shared):
    """Broadcast td_error to both teams (line 14)."""
    learn(critic, shared.td_error[0], shared.steps[0], shared.anneal_steps)
    learn(actor, shared.td_error[0], shared.steps[0], shared.anneal_steps)


@kernel
def settle(actor, critic, shared):
    """Lines 16-19 for both teams, one after the other.

    Returns the first unit of the actor and of the critic that has diverged, -1 where none has.
    """
    relax(critic, shared.key, critic.count[PASSES] - 1, 0)
    accumulate(critic)
    relax(actor, shared.key, actor.count[PASSES] - 1, 0)
    accumulate(actor)
    shared.steps[0] += 1
    return first_diverged(actor), first_diverged(critic)
