/* The memory of a team in agent_step.c.
 *
 * A layer's parameters lie in the orientation that has the longer rows, and in that one alone.
 * Rows and unit arrays are padded to whole vectors; units of padding stay 0.
 */

#ifndef TEAM_H
#define TEAM_H

#include "products.h"

#include <stdlib.h>

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

#endif
