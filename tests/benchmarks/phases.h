/* What a team does in agent_step.c: its layers' arithmetic and the four phases of Algorithm 2. */

#ifndef PHASES_H
#define PHASES_H

#include "team.h"

/* ---- one layer ------------------------------------------------------------------------------- */

static inline void potential(const Layer *layer, const real *below)
{
    memcpy(layer->p, layer->w + layer->rows * layer->row, layer->units * sizeof(real));
    if (layer->by_input)
        add_rows(layer->w, layer->row, below, layer->rows, layer->p);
    else
        dot_rows(layer->w, layer->row, below, layer->rows, layer->p);
}

/* f of the layer below = W' g */
static inline void feedback(const Layer *layer, Layer *below)
{
    memset(below->f, 0, below->units * sizeof(real));
    if (layer->by_input)
        dot_rows(layer->w, layer->row, layer->g, layer->rows, below->f);
    else
        add_rows(layer->w, layer->row, layer->g, layer->rows, below->f);
}

/* mu = softplus(p) and its slope, with one division for both */
static inline void softplus(const real *restrict p, int64_t n, real *restrict mu,
                            real *restrict slope)
{
    for (int64_t i = 0; i < n; i++) {
        real t = exp_of(-absolute(p[i])), r = 1.0 / ((1.0 + t) * (2.0 + t));
        real s = t * (1.0 + t) * r;
        slope[i] = (p[i] >= 0.0 ? 1.0 : t) * (2.0 + t) * r;
        mu[i] = (p[i] > 0.0 ? p[i] : 0.0) + (2.0 * s + (2.0 * s) * log1p_series(s * s));
    }
}

static inline void probabilities(Layer *layer, real temperature)
{
    real inverse = 1.0 / temperature, largest = layer->p[0], sum = 0.0;
    for (int64_t k = 1; k < layer->n; k++)
        largest = layer->p[k] > largest ? layer->p[k] : largest;
    for (int64_t k = 0; k < layer->n; k++)
        sum += layer->mu[k] = exp_of((layer->p[k] - largest) * inverse);
    for (int64_t k = 0; k < layer->n; k++)
        layer->mu[k] /= sum;
}

static inline int64_t last(const Team *t) { return t->set.layers - 1; }

/* Mean of layer l from the values below it. */
static inline void mean(Team *t, int64_t l)
{
    Layer *layer = &t->layer[l];
    potential(layer, layer[-1].h);
    if (l < last(t))
        softplus(layer->p, layer->n, layer->mu, layer->slope);
    else if (t->set.softmax)
        probabilities(layer, t->set.temperature);
    else
        memcpy(layer->mu, layer->p, layer->n * sizeof(real));
}

static inline void packets(Team *t, int64_t l)
{
    Layer *layer = &t->layer[l];
    const real *restrict h = layer->h, *restrict mu = layer->mu, *restrict slope = layer->slope;
    real *restrict g = layer->g;
    real scale = 1.0 / (l == last(t) && t->set.softmax ? t->set.temperature : layer->var);
    if (l < last(t))
        for (int64_t i = 0; i < layer->n; i++)
            g[i] = (h[i] - mu[i]) * slope[i] * scale;
    else
        for (int64_t i = 0; i < layer->n; i++)
            g[i] = (h[i] - mu[i]) * scale;
}

static inline void move(Layer *layer, real c)
{
    const real *restrict mu = layer->mu, *restrict f = layer->f;
    real *restrict h = layer->h;
    real alpha_h = c * layer->var;
    for (int64_t i = 0; i < layer->n; i++)
        h[i] += c * (mu[i] - h[i]) + alpha_h * f[i];
}

/* ---- the four phases ------------------------------------------------------------------------- */

static inline void choose(Layer *layer, real u)
{
    int64_t chosen = 0;
    real cumulative = layer->mu[0];
    while (chosen < layer->n - 1 && !(u < cumulative))
        cumulative += layer->mu[++chosen];
    for (int64_t k = 0; k < layer->n; k++)
        layer->h[k] = k == chosen ? 1.0 : 0.0;
}

static inline void feed_forward(Team *t, const double *observation)
{
    int64_t unit = 0;
    for (int64_t j = 0; j < t->layer[0].n; j++)
        t->layer[0].h[j] = observation[j];
    for (int64_t l = 1; l < t->set.layers; unit += t->layer[l++].n) {
        Layer *layer = &t->layer[l];
        real *restrict noise = layer->noise, *restrict h = layer->h;
        const real *restrict mu = layer->mu;
        mean(t, l);
        if (l == last(t) && t->set.softmax) {
            choose(layer, uniform(t->key, t->passes, unit, t->set.where));
            continue;
        }
        for (int64_t i = 0; i < layer->n; i++)
            noise[i] = normal(t->key, t->passes, unit + i, t->set.where);
        for (int64_t i = 0; i < layer->n; i++)
            h[i] = mu[i] + layer->sd * noise[i];
    }
    t->passes++;
}

static inline void learn(Team *t, real td_error, real annealed)
{
    const Settings *set = &t->set;
    real beta1 = set->beta1, beta2 = set->beta2, epsilon = set->epsilon;
    t->updates++;
    int corrected = t->updates < set->correction_until;
    real step = corrected ? 1.0 / (1.0 - power(beta1, t->updates)) : 1.0;
    real scale = corrected ? 1.0 / (1.0 - power(beta2, t->updates)) : 1.0;
    for (int64_t l = 1; l < set->layers; l++) {
        Layer *layer = &t->layer[l];
        real alpha = step * layer->alpha * (1.0 - (1.0 - layer->anneal_to) * annealed);
        Vector *restrict w = (Vector *)layer->w, *restrict m = (Vector *)layer->m;
        Vector *restrict v = (Vector *)layer->v;
        const Vector *restrict z = (const Vector *)layer->z;
        for (int64_t i = 0; i < layer->all / WIDTH; i++) {
            Vector gradient = td_error * z[i];
            m[i] = beta1 * m[i] + (1.0 - beta1) * gradient;
            v[i] = beta2 * v[i] + (1.0 - beta2) * (gradient * gradient);
            w[i] += alpha * m[i] * reciprocal(roots(v[i] * scale) + epsilon);
        }
    }
}

static inline void relax(Team *t)
{
    int64_t top = last(t);
    mean(t, 1); /* its input is the state: it moves only when the weights do */
    for (int64_t n = 0; n < t->set.N; n++) {
        for (int64_t l = top; l > 1; l--) {
            mean(t, l);
            packets(t, l);
        }
        for (int64_t l = 1; l < top; l++) {
            feedback(&t->layer[l + 1], &t->layer[l]);
            move(&t->layer[l], t->set.c);
        }
    }
    for (int64_t l = 1; l <= top; l++) {
        if (l > 1)
            mean(t, l);
        packets(t, l);
    }
}

static inline real gate(const Team *t)
{
    const Layer *output = &t->layer[last(t)];
    real difference = output->h[0] - output->mu[0], least = t->set.gate_floor;
    if (absolute(difference) < least)
        difference = difference >= 0.0 ? least : -least;
    return 1.0 / difference;
}

/* z = decay z + outer(g, h below) */
static inline void accumulate(Team *t)
{
    real factor = t->set.gated ? gate(t) : 1.0, decay = t->set.trace_decay;
    for (int64_t l = 1; l < t->set.layers; l++) {
        Layer *layer = &t->layer[l];
        real *restrict bias = layer->z + layer->rows * layer->row, *restrict g = layer->g;
        for (int64_t i = 0; i < layer->n; i++) {
            g[i] *= factor;
            bias[i] = decay * bias[i] + g[i];
        }
        const real *by_row = layer->by_input ? layer[-1].h : g;
        const real *restrict along = layer->by_input ? g : layer[-1].h;
        for (int64_t i = 0; i < layer->rows; i++) {
            real *restrict z = layer->z + i * layer->row, x = by_row[i];
            for (int64_t j = 0; j < layer->row; j++)
                z[j] = decay * z[j] + x * along[j];
        }
    }
}

/* Whether all units are within 1e6 standard deviations of their means. */
static inline int sound(const Team *t)
{
    int far = 0;
    for (int64_t l = 1; l < t->set.layers; l++) {
        const Layer *layer = &t->layer[l];
        for (int64_t i = 0; i < layer->n; i++) {
            real e = layer->h[i] - layer->mu[i];
            far += !(e * e <= 1e12 * layer->var);
        }
    }
    return far == 0;
}

#endif
