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

TERMINATED, ZERO, BOOTSTRAP = range(3)  # how the last transition of an episode is valued


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
def begin_step(actor_block, critic_block, shared_block, observation):
    """First step of an episode.  Returns as `settle`."""
    actor, critic, shared = read(actor_block, critic_block, shared_block)
    begin_episode(critic)
    begin_episode(actor)
    feed_forward(critic, observation, shared.key)
    feed_forward(actor, observation, shared.key)
    shared.value[0] = critic.mu[-1]
    shared.td_error[0] = 0.0
    if shared.update_at_reset:
        learn_both(actor, critic, shared)
    return settle(actor, critic, shared)


@kernel
def agent_step(actor_block, critic_block, shared_block, observation, reward):
    """Every later step: the transition that led to `observation` is learned first."""
    actor, critic, shared = read(actor_block, critic_block, shared_block)
    feed_forward(critic, observation, shared.key)
    feed_forward(actor, observation, shared.key)
    value = critic.mu[-1]
    reward = bounded(reward, shared.reward_bound)
    shared.td_error[0] = reward + shared.gamma * value - shared.value[0]  # line 13, Appendix C
    shared.value[0] = value
    learn_both(actor, critic, shared)
    return settle(actor, critic, shared)


@kernel
def end_step(actor_block, critic_block, shared_block, observation, reward, ending):
    """Last transition of an episode, with the traces as they stand (see the errata)."""
    actor, critic, shared = read(actor_block, critic_block, shared_block)
    if shared.terminal_iteration or ending == BOOTSTRAP:
        feed_forward(critic, observation, shared.key)
    if shared.terminal_iteration:
        feed_forward(actor, observation, shared.key)
    if ending == ZERO:
        shared.td_error[0] = 0.0
    else:
        next_value = critic.mu[-1] if ending == BOOTSTRAP else 0.0
        reward = bounded(reward, shared.reward_bound)
        shared.td_error[0] = reward + shared.gamma * next_value - shared.value[0]
    learn_both(actor, critic, shared)
    if shared.terminal_iteration:
        return settle(actor, critic, shared)
    return -1, -1


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
