/* Algorithm 1 for a batch, written by hand: what batch.py measures neurosim against.
 *
 * A team with Gaussian softplus hidden layers and a softmax output.  Samples lie side by side in
 * vectors: a group of samples goes through all its relaxation steps while its values and the weights
 * stay in the caches, and a product keeps a tile of sums in registers.  The team's memory, Adam and
 * the random numbers are those of agent_step.c.
 */

#include "phases.h"

typedef struct {
    Team *team;
    int64_t size, units;
    Vector *values;                    /* (size / GROUP, units, VECTORS), state included */
    Vector *p, *mu, *slope, *g, *f;    /* (units, VECTORS) of a group */
    real *across;                      /* (GROUP, row), a layer's values sample by sample */
} Batch;

/* Reals from one unit's weights to the next one's, and from one input's to the next one's. */
static inline int64_t by_unit(const Layer *layer) { return layer->by_input ? 1 : layer->row; }
static inline int64_t by_input(const Layer *layer) { return layer->by_input ? layer->row : 1; }

/* ---- one layer of a group: `first` is its first unit, `below` the first one of the layer below -- */

static void group_probabilities(Batch *b, int64_t first, int64_t n)
{
    const real *restrict p = (const real *)(b->p + first * VECTORS);
    real *restrict mu = (real *)(b->mu + first * VECTORS);
    real inverse = 1.0 / b->team->set.temperature;
    real largest[GROUP], sum[GROUP] = {0};
    memcpy(largest, p, sizeof largest);
    for (int64_t k = 1; k < n; k++)
        for (int s = 0; s < GROUP; s++)
            largest[s] = p[k * GROUP + s] > largest[s] ? p[k * GROUP + s] : largest[s];
    for (int64_t k = 0; k < n; k++)
        for (int s = 0; s < GROUP; s++)
            sum[s] += mu[k * GROUP + s] = exp_of((p[k * GROUP + s] - largest[s]) * inverse);
    for (int s = 0; s < GROUP; s++)
        sum[s] = 1.0 / sum[s];
    for (int64_t k = 0; k < n; k++)
        for (int s = 0; s < GROUP; s++)
            mu[k * GROUP + s] *= sum[s];
}

static void group_mean(Batch *b, int64_t l, const Vector *h, int64_t first, int64_t below)
{
    const Layer *layer = &b->team->layer[l];
    const real *bias = layer->w + layer->rows * layer->row;
    Vector *p = b->p + first * VECTORS;
    for (int64_t i = 0; i < layer->n; i++)
        for (int v = 0; v < VECTORS; v++)
            p[i * VECTORS + v] = bias[i] - (Vector){0};
    add_product(layer->w, by_unit(layer), by_input(layer), layer->n, h + below * VECTORS,
                layer->below, p);
    if (l < last(b->team))
        softplus((real *)p, layer->n * GROUP, (real *)(b->mu + first * VECTORS),
                 (real *)(b->slope + first * VECTORS));
    else
        group_probabilities(b, first, layer->n);
}

static void group_packets(Batch *b, int64_t l, const Vector *h, int64_t first)
{
    const Layer *layer = &b->team->layer[l];
    int top = l == last(b->team);
    real scale = 1.0 / (top ? b->team->set.temperature : layer->var);
    for (int64_t k = first * VECTORS; k < (first + layer->n) * VECTORS; k++)
        b->g[k] = (h[k] - b->mu[k]) * scale;
    if (!top)
        for (int64_t k = first * VECTORS; k < (first + layer->n) * VECTORS; k++)
            b->g[k] *= b->slope[k];
}

static void group_move(Batch *b, int64_t l, Vector *h, int64_t first)
{
    const Layer *layer = &b->team->layer[l], *above = layer + 1;
    real c = b->team->set.c, alpha_h = c * layer->var;
    Vector *f = b->f + first * VECTORS;
    memset(f, 0, layer->n * VECTORS * sizeof *f);
    add_product(above->w, by_input(above), by_unit(above), layer->n,
                b->g + (first + layer->n) * VECTORS, above->n, f);
    for (int64_t k = first * VECTORS; k < (first + layer->n) * VECTORS; k++)
        h[k] += c * (b->mu[k] - h[k]) + alpha_h * b->f[k];
}

/* z += outer(g, h below), summed over the group */
static void group_trace(Batch *b, int64_t l, const Vector *h, int64_t first, int64_t below)
{
    Layer *layer = &b->team->layer[l];
    const real *own = (const real *)(b->g + first * VECTORS);
    const real *under = (const real *)(h + below * VECTORS);
    const real *along = layer->by_input ? own : under, *by_row = layer->by_input ? under : own;
    int64_t n = layer->by_input ? layer->n : layer->below;
    memset(b->across, 0, GROUP * layer->row * sizeof(real));
    for (int64_t j = 0; j < n; j++)
        for (int s = 0; s < GROUP; s++)
            b->across[s * layer->row + j] = along[j * GROUP + s];
    for (int64_t i = 0; i < layer->rows; i++)
        add_rows(b->across, layer->row, by_row + i * GROUP, GROUP, layer->z + i * layer->row);
    for (int64_t i = 0; i < layer->n; i++)
        for (int s = 0; s < GROUP; s++)
            layer->z[layer->rows * layer->row + i] += own[i * GROUP + s];
}

static void group_choose(Batch *b, int64_t event, Vector *h, int64_t first, int64_t n)
{
    const Team *t = b->team;
    const real *restrict mu = (const real *)(b->mu + first * VECTORS);
    real *restrict chosen = (real *)(h + first * VECTORS);
    for (int s = 0; s < GROUP; s++) {
        real u = uniform(t->key, event + s, first - t->layer[0].n, t->set.where), cumulative = 0.0;
        real left = 1.0;
        for (int64_t k = 0; k < n; k++) {
            cumulative += mu[k * GROUP + s];
            real taken = k == n - 1 || u < cumulative ? left : 0.0;
            chosen[k * GROUP + s] = taken;
            left -= taken;
        }
    }
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* Samples all layers for states (size, n). */
void batch_act(Batch *b, const double *states)
{
    Team *t = b->team;
    int64_t inputs = t->layer[0].n;
    for (int64_t start = 0; start < b->size; start += GROUP, t->passes += GROUP) {
        Vector *values = b->values + start / GROUP * b->units * VECTORS;
        real *h = (real *)values;
        for (int s = 0; s < GROUP; s++)
            for (int64_t j = 0; j < inputs; j++)
                h[j * GROUP + s] = states[(start + s) * inputs + j];
        int64_t below = 0, first = inputs;
        for (int64_t l = 1; l < t->set.layers; below = first, first += t->layer[l++].n) {
            const Layer *layer = &t->layer[l];
            group_mean(b, l, values, first, below);
            if (l == last(t)) {
                group_choose(b, t->passes, values, first, layer->n);
                break;
            }
            const real *mu = (const real *)b->mu;
            for (int64_t i = first; i < first + layer->n; i++)
                for (int s = 0; s < GROUP; s++)
                    h[i * GROUP + s] =
                        mu[i * GROUP + s]
                        + layer->sd * normal(t->key, t->passes + s, i - inputs, t->set.where);
        }
    }
}

static int group_learn(Batch *b, Vector *h, const double *signal)
{
    Team *t = b->team;
    int64_t inputs = t->layer[0].n, top = last(t), output = b->units - t->layer[top].n;
    group_mean(b, 1, h, inputs, 0);
    for (int64_t n = 0; n < t->set.N; n++) {
        for (int64_t l = top, first = output; l > 1; first -= t->layer[--l].n) {
            group_mean(b, l, h, first, first - t->layer[l - 1].n);
            group_packets(b, l, h, first);
        }
        for (int64_t l = 1, first = inputs; l < top; first += t->layer[l++].n)
            group_move(b, l, h, first);
    }
    int far = 0;
    for (int64_t l = top, first = output; l > 0; first -= t->layer[--l].n) {
        int64_t below = first - t->layer[l - 1].n;
        real *g = (real *)b->g;
        if (l > 1)
            group_mean(b, l, h, first, below);
        group_packets(b, l, h, first);
        for (int64_t i = first; i < first + t->layer[l].n; i++)
            for (int s = 0; s < GROUP; s++) {
                real e = ((real *)h)[i * GROUP + s] - ((real *)b->mu)[i * GROUP + s];
                far += !(e * e <= 1e12 * t->layer[l].var);
                g[i * GROUP + s] *= signal[s];
            }
        group_trace(b, l, h, first, below);
    }
    return far == 0;
}

/* Learns from the rewards (size,).  Returns 0 if a unit has diverged. */
int64_t batch_learn(Batch *b, const double *rewards)
{
    Team *t = b->team;
    int fine = 1;
    for (int64_t l = 1; l < t->set.layers; l++)
        memset(t->layer[l].z, 0, t->layer[l].all * sizeof(real));
    for (int64_t s = 0; s < b->size; s += GROUP)
        fine &= group_learn(b, b->values + s / GROUP * b->units * VECTORS, rewards + s);
    learn(t, 1.0 / b->size, 0.0);
    return fine;
}

/* A batch of a multiple of GROUP samples; NULL for another size. */
Batch *batch_new(Team *t, int64_t size)
{
    int64_t longest = 0;
    Batch *b = zeros(sizeof *b);
    if (size % GROUP)
        return NULL;
    b->team = t;
    b->size = size;
    for (int64_t l = 0; l < t->set.layers; l++) {
        b->units += t->layer[l].n;
        longest = t->layer[l].row > longest ? t->layer[l].row : longest;
    }
    Vector **arrays[] = {&b->p, &b->mu, &b->slope, &b->g, &b->f};
    for (int i = 0; i < 5; i++)
        *arrays[i] = zeros(b->units * VECTORS * sizeof(Vector));
    b->values = zeros(size * b->units * sizeof(real));
    b->across = zeros(GROUP * longest * sizeof(real));
    return b;
}

/* The values (size, units) of the batch, state included. */
void batch_values(const Batch *b, double *out)
{
    for (int64_t s = 0; s < b->size; s++)
        for (int64_t i = 0; i < b->units; i++)
            *out++ = ((real *)b->values)[(s / GROUP * b->units + i) * GROUP + s % GROUP];
}

void batch_free(Batch *b)
{
    free(b->values), free(b->across);
    free(b->p), free(b->mu), free(b->slope), free(b->g), free(b->f);
    team_free(b->team), free(b);
}
