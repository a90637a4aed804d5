/* The memory of the asynchronous team of async_engine.c. */

#ifndef ASYNC_TEAM_H
#define ASYNC_TEAM_H

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

typedef struct { /* mirrored in c_async.py */
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

#endif
