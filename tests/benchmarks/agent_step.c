/* One agent step of Algorithm 2 with the critic of Appendix C, written by hand: what agent_step.py
 * measures neurosim against.
 *
 * Two teams with Gaussian softplus hidden layers of any number and size, and a softmax or a linear
 * Gaussian output; sampling with neurosim's random numbers, td_error, Adam, relaxation from old
 * values, traces.  It computes what neurosim computes, with sums in another order.
 *
 * A layer's parameters lie in the orientation that has the longer rows, and in that one alone: a
 * product takes either sums of rows (`add_rows`) or dot products with rows (`dot_rows`), and both
 * read the matrix once.  Rows and unit arrays are padded to whole vectors of 64 bytes; units of
 * padding stay 0.
 */

#include "numerics.h"

#include <stdlib.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef real Vector __attribute__((vector_size(64), may_alias));
typedef word Lanes __attribute__((vector_size(64)));
enum { WIDTH = sizeof(Vector) / sizeof(real) };

typedef struct { /* mirrored in c_agent.py */
    int64_t layers, softmax, gated, N, where;
    double temperature, c, trace_decay, gate_floor;
    double beta1, beta2, epsilon, correction_until;
} Settings;

typedef struct {
    int64_t n, below;       /* units, inputs */
    int64_t units;          /* n, padded */
    int64_t by_input;       /* rows are of inputs, else of units */
    int64_t rows, row, all; /* rows, reals of a row, reals of all rows and the biases behind them */
    real alpha, anneal_to, var, sd;
    real *w, *z, *m, *v;                     /* (rows, row), then a bias of each unit */
    real *h, *p, *mu, *slope, *g, *f, *noise; /* (units,) */
} Layer;

typedef struct {
    Settings set;
    int64_t key[2];
    Layer *layer; /* layer 0 is the state: only h */
    int64_t passes, updates;
} Team;

typedef struct {
    Team *actor, *critic;
    real gamma, reward_bound, anneal_steps, value;
    int64_t steps;
} Agent;

/* ---- products -------------------------------------------------------------------------------- */

/* sum[k] += sum of x[j] a[j * stride + k] for k < block, which stay in registers */
static inline void add_block(const Vector *a, int64_t stride, const real *x, int64_t n, Vector *sum,
                             const int block)
{
    Vector s[8];
#pragma GCC unroll 8
    for (int k = 0; k < block; k++)
        s[k] = sum[k];
    for (int64_t j = 0; j < n; j++)
#pragma GCC unroll 8
        for (int k = 0; k < block; k++)
            s[k] += a[j * stride + k] * x[j];
#pragma GCC unroll 8
    for (int k = 0; k < block; k++)
        sum[k] = s[k];
}

/* out += sum of x[j] rows[j] */
static inline void add_rows(const real *rows, int64_t row, const real *x, int64_t n, real *out)
{
    const Vector *a = (const Vector *)rows;
    Vector *sum = (Vector *)out;
    int64_t vectors = row / WIDTH, k = 0;
    for (; k + 8 <= vectors; k += 8)
        add_block(a + k, vectors, x, n, sum + k, 8);
    for (; k + 4 <= vectors; k += 4)
        add_block(a + k, vectors, x, n, sum + k, 4);
    for (; k < vectors; k++)
        add_block(a + k, vectors, x, n, sum + k, 1);
}

/* Lane i of the result is what lane i of a (i & bit == 0) or b is with that of lane i ^ bit. */
static inline Vector fold(Vector a, Vector b, word bit)
{
    Lanes lane, own, other;
    for (word i = 0; i < WIDTH; i++)
        lane[i] = i;
    own = lane + (((lane & bit) != 0) & WIDTH);
    other = own ^ bit;
    return __builtin_shuffle(a, b, own) + __builtin_shuffle(a, b, other);
}

static inline real total(Vector a)
{
    for (word bit = 1; bit < WIDTH; bit *= 2)
        a = fold(a, a, bit);
    return a[0];
}

/* Lane i of the result is the sum of the lanes of s[i]. */
static inline Vector fold2(const Vector *s) { return fold(s[0], s[1], 1); }
static inline Vector fold4(const Vector *s) { return fold(fold2(s), fold2(s + 2), 2); }
static inline Vector fold8(const Vector *s) { return fold(fold4(s), fold4(s + 4), 4); }
#ifdef SINGLE
static inline Vector totals(const Vector *s) { return fold(fold8(s), fold8(s + 8), 8); }
#else
static inline Vector totals(const Vector *s) { return fold8(s); }
#endif

/* out[i] += rows[i] . x */
static inline void dot_rows(const real *rows, int64_t row, const real *x, int64_t n, real *out)
{
    const Vector *a = (const Vector *)rows, *y = (const Vector *)x;
    int64_t vectors = row / WIDTH, i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Vector s[WIDTH] = {{0}};
        for (int64_t k = 0; k < vectors; k++)
#pragma GCC unroll 16
            for (int j = 0; j < WIDTH; j++)
                s[j] += a[(i + j) * vectors + k] * y[k];
        *(Vector *)(out + i) += totals(s);
    }
    for (; i < n; i++) {
        Vector s = {0};
        for (int64_t k = 0; k < vectors; k++)
            s += a[i * vectors + k] * y[k];
        out[i] += total(s);
    }
}

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

/* 1 / d: dividing and taking roots are one unit of the processor, which would be the limit. */
static inline Vector reciprocal(Vector d)
{
#ifndef __AVX512F__
    return 1.0 / d;
#else
#ifdef SINGLE
    Vector r = (Vector)_mm512_rcp14_ps((__m512)d);
#else
    Vector r = (Vector)_mm512_rcp14_pd((__m512d)d);
#endif
    Vector e = 1.0 - d * r; /* 2**-14, and after each line the square of it */
    r += r * e;
    return r + r * (e * e);
#endif
}

static inline Vector roots(Vector x)
{
    for (int i = 0; i < WIDTH; i++)
        x[i] = root(x[i]);
    return x;
}

/* ---- one layer ------------------------------------------------------------------------------- */

/* mu = softplus(p) and its slope, with one division for both */
static inline void softplus(Layer *restrict layer)
{
    const real *restrict p = layer->p;
    real *restrict mu = layer->mu, *restrict slope = layer->slope;
    for (int64_t i = 0; i < layer->n; i++) {
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
        softplus(layer);
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

static void choose(Layer *layer, real u)
{
    int64_t chosen = 0;
    real cumulative = layer->mu[0];
    while (chosen < layer->n - 1 && !(u < cumulative))
        cumulative += layer->mu[++chosen];
    for (int64_t k = 0; k < layer->n; k++)
        layer->h[k] = k == chosen ? 1.0 : 0.0;
}

static void feed_forward(Team *t, const double *observation)
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

static void learn(Team *t, real td_error, real annealed)
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

static void relax(Team *t)
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

static real gate(const Team *t)
{
    const Layer *output = &t->layer[last(t)];
    real difference = output->h[0] - output->mu[0], least = t->set.gate_floor;
    if (absolute(difference) < least)
        difference = difference >= 0.0 ? least : -least;
    return 1.0 / difference;
}

/* z = decay z + outer(g, h below) */
static void accumulate(Team *t)
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
static int sound(const Team *t)
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

/* ---- actor and critic ------------------------------------------------------------------------ */

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

/* ---- memory ---------------------------------------------------------------------------------- */

static void *zeros(int64_t bytes)
{
    int64_t rounded = (bytes + 63) / 64 * 64 + 64;
    return memset(aligned_alloc(64, rounded), 0, rounded);
}

static int64_t padded(int64_t n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }

/* Where w[i][j] of neurosim's W (n, below) is in a layer's memory. */
static int64_t place(const Layer *layer, int64_t i, int64_t j)
{
    return layer->by_input ? j * layer->row + i : i * layer->row + j;
}

/* A layer's parameters w to or from neurosim's, a matrix (n, below) and n biases. */
static void exchange(const Layer *layer, real *mine, double *theirs, int write)
{
    for (int64_t i = 0; i < layer->n; i++)
        for (int64_t j = 0; j <= layer->below; j++) {
            int bias = j == layer->below;
            real *w = mine + (bias ? layer->rows * layer->row + i : place(layer, i, j));
            double *x = theirs + (bias ? layer->n * layer->below + i : i * layer->below + j);
            if (write)
                *x = *w;
            else
                *w = *x;
        }
}

/* size, alpha, anneal_to, var: a number per layer, state included.  w: neurosim's parameters. */
Team *team_new(const Settings *set, const int64_t *key, const int64_t *size, const double *alpha,
               const double *anneal_to, const double *var, double *w)
{
    Team *t = zeros(sizeof *t);
    t->set = *set;
    memcpy(t->key, key, sizeof t->key);
    t->layer = zeros(set->layers * sizeof *t->layer);
    for (int64_t l = 0; l < set->layers; l++) {
        Layer *layer = &t->layer[l];
        layer->n = size[l];
        layer->units = padded(size[l]);
        real *units = zeros(7 * layer->units * sizeof(real));
        real **arrays[] = {&layer->h, &layer->p, &layer->mu, &layer->slope,
                           &layer->g, &layer->f, &layer->noise};
        for (int i = 0; i < 7; i++)
            *arrays[i] = units + i * layer->units;
        if (l == 0)
            continue;
        layer->below = size[l - 1];
        layer->by_input = layer->n > layer->below;
        layer->rows = layer->by_input ? layer->below : layer->n;
        layer->row = padded(layer->by_input ? layer->n : layer->below);
        layer->all = layer->rows * layer->row + layer->units;
        layer->alpha = alpha[l];
        layer->anneal_to = anneal_to[l];
        layer->var = var[l];
        layer->sd = sqrt(var[l]);
        layer->w = zeros(4 * layer->all * sizeof(real));
        layer->z = layer->w + layer->all;
        layer->m = layer->z + layer->all;
        layer->v = layer->m + layer->all;
        exchange(layer, layer->w, w, 0);
        w += layer->n * (layer->below + 1);
    }
    return t;
}

Agent *agent_new(Team *actor, Team *critic, double gamma, double reward_bound, double anneal_steps)
{
    Agent *a = zeros(sizeof *a);
    *a = (Agent){actor, critic, gamma, reward_bound, anneal_steps, 0.0, 0};
    return a;
}

/* The parameters w, z, m or v (0 to 3) in neurosim's order. */
void team_parameters(const Team *t, int64_t which, double *out)
{
    for (int64_t l = 1; l < t->set.layers; l++) {
        const Layer *layer = &t->layer[l];
        exchange(layer, layer->w + which * layer->all, out, 1);
        out += layer->n * (layer->below + 1);
    }
}

/* The values of all units, state included. */
void team_values(const Team *t, double *out)
{
    for (int64_t l = 0; l < t->set.layers; out += t->layer[l++].n)
        for (int64_t i = 0; i < t->layer[l].n; i++)
            out[i] = t->layer[l].h[i];
}

void team_free(Team *t)
{
    for (int64_t l = 0; l < t->set.layers; l++)
        free(t->layer[l].h), free(t->layer[l].w);
    free(t->layer), free(t);
}

void agent_free(Agent *a)
{
    team_free(a->actor), team_free(a->critic);
    free(a);
}
