/* One asynchronous team (docs/asynchronous.md), written by hand: what async_engine.py measures
 * neurosim against.
 *
 * The part of the page that is here: Poisson clocks, one delay per projection and direction, slots
 * that all receivers of a unit share, dataflow sampling, no losses, a broadcast without delay,
 * symmetric or kolen_pollack feedback, silent_until_first_tick, Gaussian or softmax output, any
 * number of layers (at least one of them hidden) of any size.  In this part it gives neurosim's
 * bits: the same sums in the same order, the same polynomials, no contraction to fused products
 * (-ffp-contract=off).
 *
 * What it can do because it is no more than this part: a layer learns in one loop, a layer whose
 * units all read the same mailbox takes eight dot products at a time, and the powers of Adam's
 * decay rates are taken once a step.
 *
 * Units are numbered from the first hidden one.  Layer 0 is the observation.
 */

#include "async_ticks.h"
#include "async_unit.h"

/* ---- the three kinds of event ---------------------------------------------------------------- */

static inline void value_tick(Team *t, Unit *unit, int64_t now)
{
    const Layer *layer = &t->layer[unit->layer];
    Lane *below = &t->up[unit->layer - 1], *above = &t->down[unit->layer + 1];
    collect(t, above, now);
    collect(t, below, now);
    if (above->fresh < above->n) {
        t->total[IDLE]++;
        return;
    }
    note_age(t, above, DOWN, now);
    double feedback = weigh(0.0, layer->fb + unit->index * above->n, above->heard, above->n);
    t->total[FEEDBACK] += above->n;
    if (unit->layer > 1)
        note_age(t, below, UP, now);
    refresh(t, unit, layer, below);
    unit->h = unit->h + t->set.c * ((unit->mu - unit->h) + unit->var * feedback);
    unit->moves++;
    t->total[MOVES]++;
    send_value(t, unit, now);
}

static inline void error_tick(Team *t, Unit *unit, int64_t now)
{
    const Layer *layer = &t->layer[unit->layer];
    Lane *below = &t->up[unit->layer - 1];
    int64_t n = layer->activation == SOFTMAX ? layer->n : 1;
    collect(t, below, now);
    for (int64_t k = 0; k < n; k++) {
        note_age(t, below, UP, now);
        refresh(t, &unit[k], layer, below);
    }
    if (layer->activation == SOFTMAX)
        error_softmax(t, unit, n);
    else
        error(t, unit);
    for (int64_t k = 0; k < n; k++)
        send_error(t, &unit[k], now);
    t->total[REPORTS]++;
}

static void broadcast(Team *t, int64_t now, double td_error, int64_t learning, int64_t steps)
{
    if (learning)
        learn(t, td_error, steps);
    for (int64_t l = 1; l < t->set.layers; l++) {
        const Layer *layer = &t->layer[l];
        Unit *unit = t->unit + layer->first;
        Lane *below = &t->up[l - 1];
        if (learning)
            for (int64_t i = 0; i < layer->n; i++)
                unit[i].seen = -1;
        if (l == 1)
            continue;
        collect(t, below, now);
        for (int64_t i = 0; i < layer->n; i++)
            note_age(t, below, UP, now);
        if (unit->seen != below->version)
            refresh_layer(t, layer, below);
        if (layer->activation == SOFTMAX)
            error_softmax(t, unit, layer->n);
        for (int64_t i = 0; i < layer->n; i++) {
            if (layer->activation != SOFTMAX)
                error(t, &unit[i]);
            send_error(t, &unit[i], now);
        }
    }
}

/* ---- one time step --------------------------------------------------------------------------- */

/* Sampling wave on an observation at a time.  Returns the time at which the output has sampled. */
int64_t team_act(Team *t, int64_t now, const double *observation)
{
    const Settings *s = &t->set;
    int64_t outputs = t->layer[s->layers - 1].first;
    int softmax = t->layer[s->layers - 1].activation == SOFTMAX;
    plan(t);
    memset(t->total, 0, sizeof t->total);
    memset(t->stale, 0, sizeof t->stale);
    int64_t drawn = softmax ? outputs : t->units;
    for (int64_t u = 0; u < drawn; u++)
        t->noise[u] = normal(s->key, t->passes, u, s->where + NOISE);
    if (softmax)
        t->noise[outputs] = uniform(s->key, t->passes, outputs, s->where + NOISE);
    t->passes++;
    t->close = INT64_MAX;
    memcpy(t->up[0].heard, observation, t->up[0].n * sizeof *observation);
    for (int64_t l = 1; l < s->layers; l++) {
        const Layer *layer = &t->layer[l];
        Lane *below = &t->up[l - 1];
        Unit *unit = t->unit + layer->first;
        const double *noise = t->noise + layer->first;
        if (l > 1) {
            now += below->delay;
            collect(t, below, now);
        }
        refresh_layer(t, layer, below);
        if (layer->activation == SOFTMAX) {
            probabilities(unit, layer->n, s->temperature);
            int64_t chosen = 0;
            double cumulative = unit[0].mu;
            while (chosen < layer->n - 1 && !(noise[0] < cumulative))
                cumulative += unit[++chosen].mu;
            for (int64_t k = 0; k < layer->n; k++)
                unit[k].h = k == chosen ? 1.0 : 0.0;
        }
        for (int64_t i = 0; i < layer->n; i++) {
            unit[i].values_sent = unit[i].errors_sent = 0;
            unit[i].moves = 0;
            if (layer->activation != SOFTMAX)
                unit[i].h = unit[i].mu + sqrt(unit[i].var) * noise[i];
            if (l < s->layers - 1)
                send_value(t, &unit[i], now);
        }
    }
    return now;
}

static void window(Team *t, int64_t begin)
{
    const int64_t *events = t->events, mask = ((int64_t)1 << t->bits) - 1;
    for (int64_t k = 0; k < t->n_events; k++) {
        int64_t u = (events[k] & mask) - t->units, now = begin + (events[k] >> t->bits);
        if (u < t->units)
            error_tick(t, &t->unit[u], now);
        else
            value_tick(t, &t->unit[u - t->units], now);
    }
    for (int64_t l = 1; l < t->set.layers; l++) {
        collect(t, &t->up[l], INT64_MAX);
        collect(t, &t->down[l], INT64_MAX);
    }
}

static void outer(double *restrict z, const double *restrict x, double g, int64_t n, double decay)
{
    for (int64_t j = 0; j < n; j++)
        z[j] = decay * z[j] + g * x[j];
}

static void traces(Team *t)
{
    const Settings *s = &t->set;
    const Unit *output = &t->unit[t->units - 1];
    double factor = 1.0, trace_decay = s->trace_decay;
    for (int64_t i = 0; i < t->layer[1].n; i++) {
        Unit *unit = &t->unit[i];
        refresh(t, unit, &t->layer[1], &t->up[0]);
        error(t, unit);
        unit->last_error = unit->g; /* layer 1 sends none */
    }
    if (s->gated) {
        double difference = output->h - output->mu;
        double least = s->gate_floor < 0x1p-1022 ? 0x1p-1022 : s->gate_floor;
        if (fabs(difference) < least)
            difference = difference >= 0.0 ? least : -least;
        factor = 1.0 / difference;
    }
    for (int64_t l = 1; l < s->layers; l++) {
        Layer *layer = &t->layer[l];
        const Unit *unit = t->unit + layer->first;
        double *bias = layer->z + layer->n * layer->below;
        for (int64_t i = 0; i < layer->n; i++) {
            double g = unit[i].last_error * factor;
            outer(layer->z + i * layer->below, t->up[l - 1].heard, g, layer->below, trace_decay);
            bias[i] = trace_decay * bias[i] + g;
        }
        t->total[LEARNING] += layer->n * (layer->below + 1);
        if (l == s->layers - 1 || !s->learned_feedback)
            continue;
        for (int64_t k = 0; k < layer->above; k++)
            t->scaled[k] = factor * t->down[l + 1].heard[k];
        for (int64_t i = 0; i < layer->n; i++)
            outer(layer->fb_z + i * layer->above, t->scaled, unit[i].last_value, layer->above,
                  trace_decay);
        t->total[LEARNING] += layer->n * layer->above;
    }
}

/* Broadcast, window, landing, gate and traces.  Returns the first unit that has diverged, or -1. */
int64_t team_settle(Team *t, int64_t begin, double td_error, int64_t learning, int64_t steps)
{
    t->close = begin + t->set.window;
    broadcast(t, begin, td_error, learning, steps);
    window(t, begin);
    traces(t);
    for (int64_t u = 0; u < t->units; u++) {
        double e = t->unit[u].h - t->unit[u].mu;
        if (!(e * e <= 1e6 * 1e6 * t->unit[u].var))
            return u;
    }
    return -1;
}
