/* Packets and a unit's own arithmetic in async_engine.c. */

#ifndef ASYNC_UNIT_H
#define ASYNC_UNIT_H

#include "async_team.h"

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

/* ---- learning -------------------------------------------------------------------------------- */

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

#endif
