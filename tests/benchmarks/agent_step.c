/* One agent step of Algorithm 2 with the critic of Appendix C, written by hand: what agent_step.py
 * measures neurosim against.
 *
 * Two teams with Gaussian softplus hidden layers of any number and size, and a softmax or a linear
 * Gaussian output; sampling with neurosim's random numbers, td_error, Adam, relaxation from old
 * values, traces.  It computes what neurosim computes, with sums in another order.
 */

#include "phases.h"

typedef struct {
    Team *actor, *critic;
    real gamma, reward_bound, anneal_steps, value;
    int64_t steps;
} Agent;

static int settle(Agent *a)
{
    Team *teams[] = {a->critic, a->actor};
    int fine = 1;
    for (int i = 0; i < 2; i++) {
        relax(teams[i]);
        accumulate(teams[i]);
        fine &= sound(teams[i]);
    }
    a->steps++;
    return fine;
}

static real value_of(const Team *critic) { return critic->layer[last(critic)].mu[0]; }

/* First step of an episode.  Returns 0 if a unit has diverged. */
int64_t agent_begin(Agent *a, const double *observation)
{
    Team *teams[] = {a->critic, a->actor};
    for (int i = 0; i < 2; i++) {
        for (int64_t l = 1; l < teams[i]->set.layers; l++)
            memset(teams[i]->layer[l].z, 0, teams[i]->layer[l].all * sizeof(real));
        feed_forward(teams[i], observation);
    }
    a->value = value_of(a->critic);
    return settle(a);
}

/* Later steps on observations (steps, n), each with the same reward.  Returns as agent_begin. */
int64_t agent_steps(Agent *a, const double *observations, int64_t steps, double reward)
{
    int fine = 1;
    reward = reward > a->reward_bound ? a->reward_bound : reward;
    reward = reward < -a->reward_bound ? -a->reward_bound : reward;
    for (int64_t n = 0; n < steps; n++, observations += a->critic->layer[0].n) {
        feed_forward(a->critic, observations);
        feed_forward(a->actor, observations);
        real value = value_of(a->critic), part = (real)a->steps / a->anneal_steps;
        real td_error = (real)reward + a->gamma * value - a->value;
        a->value = value;
        part = part > 1.0 ? 1.0 : part;
        learn(a->critic, td_error, part);
        learn(a->actor, td_error, part);
        fine &= settle(a);
    }
    return fine;
}

Agent *agent_new(Team *actor, Team *critic, double gamma, double reward_bound, double anneal_steps)
{
    Agent *a = zeros(sizeof *a);
    *a = (Agent){actor, critic, gamma, reward_bound, anneal_steps, 0.0, 0};
    return a;
}

void agent_free(Agent *a)
{
    team_free(a->actor), team_free(a->critic);
    free(a);
}
