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

#include "numerics.h"

#include <stdlib.h>

enum { SOFTPLUS, RELU, TANH, SIGMOID, LINEAR, SOFTMAX };
enum { SENT, DELIVERED, LOST, DISCARDED, IN_FLIGHT, BY_LANE }; /* counts of each lane */
enum { MOVES, REPORTS, IDLE, FORWARD, FEEDBACK, LEARNING, TOTALS };
enum { UP, DOWN };
enum { NOISE = 0, CLOCK = 3 }; /* random streams */
enum { BINS = 32, BIN_BITS = 18, BLOCK = 8,
       MOST_DIGITS = 6, WIDEST = 11, /* bits of a digit */
       DRAWN = 16 };

typedef struct { /* mirrored in async_engine.py */
    int64_t layers, where, gated, learned_feedback, silent, window;
    int64_t key[2];
    double temperature, c, trace_decay, gate_floor, keep;
    double beta1, beta2, epsilon, correction_until, anneal_steps;
} Settings;

typedef struct {
    int64_t sent; /* time */
    int32_t sender, number;
    double payload;
} Packet;

typedef struct { /* what one layer sends in one direction, and the slots its receivers share */
    int64_t n, delay;
    int64_t head, tail, room; /* packets from head on have not arrived */
    Packet *packets;
    double *heard; /* by sender: payload that arrived last, */
    int64_t *heard_time;
    int32_t *heard_number; /* -1: none of this pass */
    int64_t sent_sum;      /* sum of heard_time */
    int64_t fresh;         /* senders heard in this pass */
    int64_t version;       /* packets that have arrived */
    int64_t counts[BY_LANE];
} Lane;

typedef struct { /* a row of weights of its own is at layer->w + index * layer->below */
    double h, mu, slope, var, p, g, last_value, last_error;
    int64_t seen, moves;
    int32_t values_sent, errors_sent, layer, index;
} Unit;

typedef struct {
    int64_t n, first, below, above, activation;
    double alpha, anneal_to;
    double *w, *z, *m, *v;         /* (n, below), then n biases */
    double *fb, *fb_z, *fb_m, *fb_v; /* (n, above), feedback weights */
} Layer;

typedef struct {
    Settings set;
    Layer *layer;
    Lane *up, *down; /* by the layer that sends */
    Unit *unit;
    int64_t units, parameters;
    double *w, *z, *m, *v, *wt, *zt, *mt, *vt;
    double *interval, *noise, *scaled;
    int64_t *lag;
    int64_t *events, *other, *made; /* of the window: time << bits | kind * units + unit */
    int64_t n_events, room, bits;
    int64_t now, close, passes, updates;
    int64_t total[TOTALS], stale[2][BINS];
    uint32_t first[MOST_DIGITS][1 << WIDEST]; /* of each digit in the sorted order */
} Team;

/* ---- the window's ticks, in order ------------------------------------------------------------ */

static void make_room(Team *t, int64_t needed)
{
    if (needed <= t->room)
        return;
    t->room = 2 * needed;
    t->events = realloc(t->events, t->room * sizeof *t->events);
    t->other = realloc(t->other, t->room * sizeof *t->other);
}

/* All ticks of the coming pass by unit: error ticks into events, value ticks into other. */
static int64_t write_events(Team *t, int64_t *n_values)
{
    const Settings *s = &t->set;
    int64_t errors = 0, values = 0, last_layer = s->layers - 1;
    for (int64_t u = 0; u < t->units; u++) {
        int64_t l = t->unit[u].layer, made = 0, time = 0;
        t->made[u] = 0;
        if (!(t->interval[u] < INFINITY) || (t->layer[l].activation == SOFTMAX && t->unit[u].index))
            continue;
        double interval[DRAWN], mean_interval = t->interval[u];
        uint64_t event = (uint64_t)t->passes << 20;
        for (;; made++) {
            if (made % DRAWN == 0) {
                for (int k = 0; k < DRAWN; k++)
                    interval[k] =
                        -log_of(uniform(s->key, event + made + k, u, s->where + CLOCK)) * mean_interval;
                make_room(t, errors + values + 2 * DRAWN);
            }
            time += (int64_t)interval[made % DRAWN];
            if (time > s->window)
                break;
            if (l > 1)
                t->events[errors++] = (time + t->lag[u]) << t->bits | (t->units + u);
            if (l < last_layer)
                t->other[values++] = time << t->bits | (2 * t->units + u);
        }
        t->made[u] = made;
    }
    *n_values = values;
    return errors;
}

/* Radix sort by time, from the lowest digit; events of one time keep their order. */
static void sort_events(Team *t)
{
    uint32_t(*first)[1 << WIDEST] = t->first;
    int64_t n = t->n_events, all = 0;
    for (int64_t k = 0; k < n; k++)
        all |= t->events[k];
    all >>= t->bits;
    int time_bits = 0;
    while (all >> time_bits)
        time_bits++;
    int passes = (time_bits + WIDEST - 1) / WIDEST;
    int width = passes ? (time_bits + passes - 1) / passes : 0;
    int64_t mask = (1 << width) - 1;
    for (int p = 0; p < passes; p++)
        memset(first[p], 0, (mask + 1) * sizeof first[p][0]);
    for (int64_t k = 0; k < n; k++)
        for (int p = 0; p < passes; p++)
            first[p][(t->events[k] >> (t->bits + p * width)) & mask]++;
    for (int p = 0; p < passes; p++) {
        uint32_t before = 0;
        for (int64_t d = 0; d <= mask; d++) {
            uint32_t count = first[p][d];
            first[p][d] = before;
            before += count;
        }
        for (int64_t k = 0; k < n; k++)
            t->other[first[p][(t->events[k] >> (t->bits + p * width)) & mask]++] = t->events[k];
        int64_t *sorted = t->other;
        t->other = t->events;
        t->events = sorted;
    }
}

static void start_lane(Lane *lane, int64_t packets)
{
    lane->head = lane->tail = lane->fresh = 0;
    for (int64_t i = 0; i < lane->n; i++)
        lane->heard_number[i] = -1;
    memset(lane->counts, 0, sizeof lane->counts);
    if (packets > lane->room) {
        lane->room = 2 * packets;
        free(lane->packets);
        lane->packets = malloc(lane->room * sizeof *lane->packets);
    }
}

static void plan(Team *t)
{
    int64_t values, errors = write_events(t, &values);
    memcpy(t->events + errors, t->other, values * sizeof *t->events);
    t->n_events = errors + values;
    sort_events(t);
    for (int64_t l = 1; l < t->set.layers; l++) {
        const Layer *layer = &t->layer[l];
        int64_t ticks = 0;
        for (int64_t i = 0; i < layer->n; i++)
            ticks += t->made[layer->first + i];
        if (layer->activation == SOFTMAX)
            ticks *= layer->n;
        start_lane(&t->up[l], ticks + layer->n);
        start_lane(&t->down[l], ticks + layer->n);
    }
}

/* ---- packets --------------------------------------------------------------------------------- */

static inline void send(Lane *lane, int64_t sender, int32_t number, double payload, int64_t time)
{
    lane->packets[lane->tail++] = (Packet){time, (int32_t)sender, number, payload};
    lane->counts[SENT]++;
}

static inline void send_value(Team *t, Unit *unit, int64_t time)
{
    unit->last_value = unit->h;
    send(&t->up[unit->layer], unit->index, unit->values_sent++, unit->h, time);
}

static inline void send_error(Team *t, Unit *unit, int64_t time)
{
    unit->last_error = unit->g;
    send(&t->down[unit->layer], unit->index, unit->errors_sent++, unit->g, time);
}

/* What has arrived by now goes into its slots. */
static inline void collect(Team *t, Lane *lane, int64_t now)
{
    int64_t head = lane->head;
    while (head < lane->tail && lane->packets[head].sent + lane->delay <= now) {
        const Packet *p = &lane->packets[head++];
        int64_t i = p->sender;
        lane->fresh += lane->heard_number[i] < 0;
        lane->sent_sum += p->sent - lane->heard_time[i];
        lane->heard_time[i] = p->sent;
        lane->heard_number[i] = p->number;
        lane->heard[i] = p->payload;
        lane->counts[p->sent + lane->delay > t->close ? IN_FLIGHT : DELIVERED]++;
    }
    lane->version += head - lane->head;
    lane->head = head;
}

static inline void note_age(Team *t, const Lane *lane, int d, int64_t now)
{
    int64_t age = lane->n * now - lane->sent_sum;
    int64_t bin = (int64_t)((double)age / (double)(lane->n << BIN_BITS));
    t->stale[d][bin < BINS ? bin : BINS - 1]++;
}

/* ---- a unit ---------------------------------------------------------------------------------- */

static inline double weigh(double sum, const double *w, const double *x, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        sum += w[j] * x[j];
    return sum;
}

/* sum[i] += w[i] . x for eight rows w[i] of n weights: eight sums are under way at once. */
static inline void weigh_block(double sum[BLOCK], const double *w, const double *x, int64_t n)
{
    double s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
    double s4 = sum[4], s5 = sum[5], s6 = sum[6], s7 = sum[7];
    for (int64_t j = 0; j < n; j++) {
        s0 += w[j] * x[j];
        s1 += w[j + n] * x[j];
        s2 += w[j + 2 * n] * x[j];
        s3 += w[j + 3 * n] * x[j];
        s4 += w[j + 4 * n] * x[j];
        s5 += w[j + 5 * n] * x[j];
        s6 += w[j + 6 * n] * x[j];
        s7 += w[j + 7 * n] * x[j];
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
    sum[4] = s4, sum[5] = s5, sum[6] = s6, sum[7] = s7;
}

static inline void mean(Unit *unit, int64_t activation)
{
    double p = unit->p, t, r;
    switch (activation) {
    case SOFTPLUS:
        t = exp_of(-fabs(p));
        unit->slope = (p >= 0.0 ? 1.0 : t) / (1.0 + t);
        unit->mu = (p > 0.0 ? p : 0.0) + log1p_of(t);
        break;
    case SIGMOID:
        t = exp_of(-fabs(p));
        r = 1.0 / (1.0 + t);
        unit->mu = (p >= 0.0 ? 1.0 : t) * r;
        unit->slope = t * r * r;
        break;
    case TANH:
        t = exp_of(-2.0 * fabs(p));
        r = 1.0 / (1.0 + t);
        unit->mu = (1.0 - t) * r;
        if (!(p >= 0.0))
            unit->mu = -unit->mu;
        unit->slope = 4.0 * t * r * r;
        break;
    case RELU:
        unit->mu = p <= 0.0 ? 0.0 : p;
        unit->slope = p <= 0.0 ? 0.0 : 1.0;
        break;
    case LINEAR:
        unit->mu = p;
        unit->slope = 1.0;
    } /* softmax: see probabilities */
}

/* mu and slope from the mailbox, unless nothing has arrived since. */
static inline void refresh(Team *t, Unit *unit, const Layer *layer, const Lane *below)
{
    if (unit->seen == below->version)
        return;
    unit->seen = below->version;
    int64_t i = unit->index, n = layer->below;
    unit->p = weigh(layer->w[layer->n * n + i], layer->w + i * n, below->heard, n);
    t->total[FORWARD] += n;
    mean(unit, layer->activation);
}

/* The same for a whole layer of which no unit has seen what is in the mailbox. */
static void refresh_layer(Team *t, const Layer *layer, const Lane *below)
{
    const double *bias = layer->w + layer->n * layer->below;
    int64_t i = 0, n = layer->below;
    Unit *unit = t->unit + layer->first;
    for (; i + BLOCK <= layer->n; i += BLOCK) {
        double sum[BLOCK];
        memcpy(sum, bias + i, sizeof sum);
        weigh_block(sum, layer->w + i * n, below->heard, n);
        for (int k = 0; k < BLOCK; k++)
            unit[i + k].p = sum[k];
    }
    for (; i < layer->n; i++)
        unit[i].p = weigh(bias[i], layer->w + i * n, below->heard, n);
    for (i = 0; i < layer->n; i++) {
        unit[i].seen = below->version;
        mean(&unit[i], layer->activation);
    }
    t->total[FORWARD] += layer->n * n;
}

static void probabilities(Unit *unit, int64_t n, double temperature)
{
    double largest = unit[0].p, total = 0.0;
    for (int64_t k = 1; k < n; k++)
        largest = unit[k].p > largest ? unit[k].p : largest;
    for (int64_t k = 0; k < n; k++) {
        unit[k].mu = exp_of((unit[k].p - largest) / temperature);
        total += unit[k].mu;
    }
    for (int64_t k = 0; k < n; k++)
        unit[k].mu /= total;
}

static inline void error(const Team *t, Unit *unit)
{
    int silent = t->set.silent && unit->layer < t->set.layers - 1 && unit->moves == 0;
    unit->g = silent ? 0.0 : (unit->h - unit->mu) * unit->slope / unit->var;
}

static inline void error_softmax(const Team *t, Unit *unit, int64_t n)
{
    probabilities(unit, n, t->set.temperature);
    for (int64_t k = 0; k < n; k++)
        unit[k].g = (unit[k].h - unit[k].mu) / t->set.temperature;
}

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

static void adam(const Team *t, double *restrict w, const double *restrict z, double *restrict m,
                 double *restrict v, int64_t n, double td_error, double alpha)
{
    const Settings *s = &t->set;
    double beta1 = s->beta1, beta2 = s->beta2, epsilon = s->epsilon;
    int corrected = (double)t->updates < s->correction_until;
    double step = alpha / (corrected ? 1.0 - power(beta1, t->updates) : 1.0);
    double scale = 1.0 / (corrected ? 1.0 - power(beta2, t->updates) : 1.0);
    for (int64_t i = 0; i < n; i++) {
        double gradient = td_error * z[i];
        m[i] = beta1 * m[i] + (1.0 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1.0 - beta2) * (gradient * gradient);
        w[i] += step * m[i] / (sqrt(v[i] * scale) + epsilon);
    }
}

static void decay(double *w, int64_t n, double keep)
{
    if (keep != 1.0)
        for (int64_t i = 0; i < n; i++)
            w[i] *= keep;
}

/* fb (below, n) of the layer below = w (n, below) transposed, in tiles that fit the first cache. */
static void transpose(const double *restrict w, double *restrict fb, int64_t n, int64_t below)
{
    enum { TILE = 32 };
    for (int64_t a = 0; a < below; a += TILE)
        for (int64_t b = 0; b < n; b += TILE)
            for (int64_t j = a; j < below && j < a + TILE; j++)
                for (int64_t i = b; i < n && i < b + TILE; i++)
                    fb[j * n + i] = w[i * below + j];
}

static void learn(Team *t, double td_error, int64_t steps)
{
    double part = (double)steps / t->set.anneal_steps;
    part = part > 1.0 ? 1.0 : part;
    t->updates++;
    for (int64_t l = 1; l < t->set.layers; l++) {
        Layer *layer = &t->layer[l], *below = layer - 1;
        int64_t n = layer->n * layer->below;
        double alpha = layer->alpha * (1.0 - (1.0 - layer->anneal_to) * part);
        adam(t, layer->w, layer->z, layer->m, layer->v, n + layer->n, td_error, alpha);
        t->total[LEARNING] += 3 * (n + layer->n);
        if (l == 1)
            continue;
        decay(layer->w, n, t->set.keep);
        if (t->set.learned_feedback) {
            adam(t, below->fb, below->fb_z, below->fb_m, below->fb_v, n, td_error, alpha);
            decay(below->fb, n, t->set.keep);
            t->total[LEARNING] += 3 * n;
        } else {
            transpose(layer->w, below->fb, layer->n, layer->below);
        }
    }
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

/* ---- memory ---------------------------------------------------------------------------------- */

static void *zeros(int64_t bytes)
{
    int64_t rounded = (bytes + 63) / 64 * 64 + 64;
    return memset(aligned_alloc(64, rounded), 0, rounded);
}

static double *copy(const double *from, int64_t n)
{
    double *to = zeros(n * sizeof *to);
    return from ? memcpy(to, from, n * sizeof *to) : to;
}

static void open_lane(Lane *lane, int64_t n, int64_t delay)
{
    lane->n = n;
    lane->delay = delay;
    lane->heard = zeros(n * sizeof *lane->heard);
    lane->heard_time = zeros(n * sizeof *lane->heard_time);
    lane->heard_number = zeros(n * sizeof *lane->heard_number);
}

/* size, activation, alpha, anneal_to: a number per layer, observation included.  var, interval and
 * lag: per unit.  delay: per layer that sends, values first.  w, wt: neurosim's flat parameters. */
Team *team_new(const Settings *set, const int64_t *size, const int64_t *activation,
               const double *alpha, const double *anneal_to, const double *var,
               const double *interval, const int64_t *lag, const int64_t *delay, const double *w,
               const double *wt)
{
    Team *t = zeros(sizeof *t);
    int64_t layers = set->layers, widest = 0;
    t->set = *set;
    t->layer = zeros(layers * sizeof *t->layer);
    t->up = zeros(layers * sizeof *t->up);
    t->down = zeros(layers * sizeof *t->down);
    for (int64_t l = 0; l < layers; l++) {
        widest = size[l] > widest ? size[l] : widest;
        t->units += l > 0 ? size[l] : 0;
        t->parameters += l > 0 ? size[l] * (size[l - 1] + 1) : 0;
        open_lane(&t->up[l], size[l], delay[l]);
        open_lane(&t->down[l], size[l], delay[layers + l]);
    }
    int64_t learned = set->learned_feedback ? t->parameters : 0;
    t->w = copy(w, t->parameters), t->wt = copy(wt, t->parameters);
    t->z = copy(NULL, t->parameters), t->zt = copy(NULL, learned);
    t->m = copy(NULL, t->parameters), t->mt = copy(NULL, learned);
    t->v = copy(NULL, t->parameters), t->vt = copy(NULL, learned);
    t->interval = copy(interval, t->units);
    t->noise = copy(NULL, t->units);
    t->scaled = copy(NULL, widest);
    t->lag = memcpy(zeros(t->units * sizeof *lag), lag, t->units * sizeof *lag);
    t->made = zeros(t->units * sizeof *t->made);
    t->unit = zeros(t->units * sizeof *t->unit);
    while ((int64_t)1 << t->bits < 3 * t->units)
        t->bits++;
    int64_t first = 0, a = 0;
    for (int64_t l = 1; l < layers; l++) {
        Layer *layer = &t->layer[l], *below = layer - 1;
        *layer = (Layer){.n = size[l], .first = first, .below = size[l - 1],
                         .above = l < layers - 1 ? size[l + 1] : 0, .activation = activation[l],
                         .alpha = alpha[l], .anneal_to = anneal_to[l],
                         .w = t->w + a, .z = t->z + a, .m = t->m + a, .v = t->v + a};
        below->fb = t->wt + a;
        below->fb_z = t->zt + a, below->fb_m = t->mt + a, below->fb_v = t->vt + a;
        for (int64_t i = 0; i < layer->n; i++) {
            t->unit[first + i].layer = (int32_t)l;
            t->unit[first + i].index = (int32_t)i;
            t->unit[first + i].var = var[first + i];
        }
        first += layer->n;
        a += layer->n * (layer->below + 1);
    }
    return t;
}

/* One of the parameter arrays w, z, m, v, wt, zt, mt, vt. */
const double *team_parameters(const Team *t, int64_t which)
{
    const double *arrays[] = {t->w, t->z, t->m, t->v, t->wt, t->zt, t->mt, t->vt};
    return arrays[which];
}

void team_values(const Team *t, double *h)
{
    for (int64_t u = 0; u < t->units; u++)
        h[u] = t->unit[u].h;
}

/* Counters of the latest step in the order of neurosim's Mail.counts. */
void team_counts(const Team *t, int64_t *counts)
{
    int64_t layers = t->set.layers;
    for (int what = 0; what < BY_LANE; what++)
        for (int64_t l = 1; l < layers; l++) {
            counts[2 * layers * what + l] = t->up[l].counts[what];
            counts[2 * layers * what + layers + l - 1] = t->down[l].counts[what];
        }
    memcpy(counts + 2 * layers * BY_LANE, t->total, sizeof t->total);
    memcpy(counts + 2 * layers * BY_LANE + TOTALS, t->stale, sizeof t->stale);
}

void team_free(Team *t)
{
    for (int64_t l = 0; l < t->set.layers; l++)
        for (int d = 0; d < 2; d++) {
            Lane *lane = d == UP ? &t->up[l] : &t->down[l];
            free(lane->heard), free(lane->heard_time), free(lane->heard_number);
            free(lane->packets);
        }
    free(t->w), free(t->z), free(t->m), free(t->v);
    free(t->wt), free(t->zt), free(t->mt), free(t->vt);
    free(t->interval), free(t->noise), free(t->scaled), free(t->lag), free(t->made);
    free(t->events), free(t->other), free(t->unit);
    free(t->layer), free(t->up), free(t->down);
    free(t);
}
