/* The ticks of a window of async_engine.c's team, in order. */

#ifndef ASYNC_TICKS_H
#define ASYNC_TICKS_H

#include "async_team.h"

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

#endif
