/* The scan over time, forward and backward; compiled once for every instruction set.

   The batch is cut into parts, one per thread, which know nothing of each other: each walks
   through time on its own. Only the gradients of the weights are summed, in the end. */

#include <pthread.h>
#include <stdlib.h>

#include "cells.h"
#include "product.h"
#include "scan.h"

#define BLOCK_ROWS 256 /* steps times sequences that are projected, and summed, at once */
#define MOST_THREADS 64
#define GROUP 1024 /* numbers of a step that the map is applied to at once */

/* Weights of the recurrence and of the input, packed; the GRU's candidate by itself. */
typedef struct {
    Packed recurrent[2], input[2];
    const float *bias, *inner; /* (G,) and (H,) */
} Layer;

/* One thread's part of the batch, from `first` to `stop`. */
typedef struct {
    const Scan *scan;
    const Layer *layer;
    int64_t first, stop;
    float *gates; /* of a block, where the scan keeps none; NULL where it needs none */
    int64_t block; /* its first step */
    float *d_ih, *d_hh, *d_gates_sum, *d_pre_sum; /* padded gradients of this part */
    int failed;
} Part;

INLINE size_t padded(int64_t width) { return (size_t)(width + PANEL - 1) / PANEL * PANEL; }

static float *new_floats(size_t count) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, sizeof(float) * (count + 1)) ? NULL : memory;
}

static int64_t count_at(const Scan *s, int64_t t) { return s->counts ? s->counts[t] : s->batch; }
static int64_t row_at(const Scan *s, int64_t t) { return s->offsets ? s->offsets[t] : t * s->batch; }

/* Sequences of a part that are worked on at step t. */
static int64_t rows_at(const Part *part, int64_t t) {
    int64_t stop = count_at(part->scan, t);
    if (stop > part->stop) stop = part->stop;
    return stop > part->first ? stop - part->first : 0;
}

static int whole(const Part *part) {
    return !part->scan->counts && part->stop - part->first == part->scan->batch;
}

/* Steps from `first` on that make a block: a block's rows lie together, or are done step by step. */
static int64_t block_steps(const Part *part) {
    int64_t steps = BLOCK_ROWS / (part->stop - part->first);
    return steps < 1 ? 1 : steps;
}

static const float *at(const float *values, int64_t stride, int64_t t, int64_t row) {
    return values ? values + t * stride + row : NULL;
}

/* The input's part of the pre-activations of a step, by itself; NULL where it is in the acts. */
static float *gates_at(const Part *part, int64_t t) {
    const Scan *s = part->scan;
    int64_t width = GATES(s->cell) * s->hidden;
    if (s->gates) return s->gates + (row_at(s, t) + part->first) * width;
    if (part->gates) return part->gates + (t - part->block) * (part->stop - part->first) * width;
    return NULL;
}

/* Write the input's part of the pre-activations of `rows` sequences in a row. */
static void project(const Part *part, int64_t t, int64_t rows) {
    const Scan *s = part->scan;
    const Layer *layer = part->layer;
    int64_t acts = ACTS(s->cell) * s->hidden, row = row_at(s, t) + part->first;
    const float *x = s->x + (t * s->batch + part->first) * s->inputs;
    float *gates = gates_at(part, t), *out = gates ? gates : s->acts + row * acts;
    size_t stride = gates ? GATES(s->cell) * s->hidden : acts;
    product(rows, x, s->inputs, layer->input[0], (Base){layer->bias, 0}, out, stride);
    if (s->cell != GRU) return;
    float *candidate = out + (gates ? 2 : 3) * s->hidden;
    product(rows, x, s->inputs, layer->input[1], (Base){layer->bias + 2 * s->hidden, 0}, candidate,
            stride);
}

/* Add the state's part. */
static void recur(const Part *part, int64_t t, int64_t rows) {
    const Scan *s = part->scan;
    int64_t acts = ACTS(s->cell) * s->hidden, row = row_at(s, t) + part->first;
    int64_t width = GATES(s->cell) * s->hidden, size = PARTS(s->cell) * s->hidden;
    const float *h = s->path + (t * s->batch + part->first) * size;
    float *out = s->acts + row * acts;
    const float *gates = gates_at(part, t);
    Base base = {out, acts};
    if (gates) base = (Base){gates, width};
    product(rows, h, size, part->layer->recurrent[0], base, out, acts);
    if (s->cell != GRU) return;
    product(rows, h, size, part->layer->recurrent[1], (Base){part->layer->inner, 0},
            out + 2 * s->hidden, acts);
    if (gates)
        for (int64_t i = 0; i < rows; i++)
            memcpy(out + i * acts + 3 * s->hidden, gates + i * width + 2 * s->hidden,
                   sizeof(float) * s->hidden);
}

/* state = A (m + keep (mu - m)) + B + C before; gap = mu - m. */
static void map_forward(int64_t size, const float *restrict mu, const float *restrict m,
                        const float *A, const float *B, const float *C, const float *keep,
                        const float *restrict before, float *restrict gap, float *restrict state) {
    if (keep)
        EACH for (int64_t i = 0; i < size; i++) {
            gap[i] = mu[i] - m[i];
            state[i] = m[i] + keep[i] * gap[i];
        }
    else
        memcpy(state, mu, sizeof(float) * size);
    if (A)
        EACH for (int64_t i = 0; i < size; i++) state[i] *= A[i];
    if (B)
        EACH for (int64_t i = 0; i < size; i++) state[i] += B[i];
    if (C)
        EACH for (int64_t i = 0; i < size; i++) state[i] += C[i] * before[i];
}

/* Forget what was computed past a sequence's end: nothing may come of it. */
static void forget(const Scan *s, int64_t t, int64_t sequence) {
    int64_t acts = ACTS(s->cell) * s->hidden, size = PARTS(s->cell) * s->hidden;
    int64_t width = GATES(s->cell) * s->hidden, row = row_at(s, t) + sequence;
    int64_t here = (t * s->batch + sequence) * size;
    memset(s->path + here + s->batch * size, 0, sizeof(float) * size);
    memset(s->acts + row * acts, 0, sizeof(float) * acts);
    if (s->gates) memset(s->gates + row * width, 0, sizeof(float) * width);
    if (s->gap) memset(s->gap + here, 0, sizeof(float) * size);
    if (s->mu) memset(s->mu + here, 0, sizeof(float) * size);
}

/* Some sequences in a row, one step; mu and m are scratch. */
static void step_forward(const Part *part, int64_t t, int64_t first, int64_t rows, float *mu,
                         float *m) {
    const Scan *s = part->scan;
    int64_t acts = ACTS(s->cell) * s->hidden, size = PARTS(s->cell) * s->hidden;
    int64_t width = GATES(s->cell) * s->hidden, row = row_at(s, t) + first;
    int64_t in_step = first * size, here = t * s->batch * size + in_step;
    const float *before = s->path + here, *gates = gates_at(part, t);
    if (gates) gates += (first - part->first) * width;
    float *state = s->path + here + s->batch * size;
    if (s->cell < GRU)
        cell_forward(s->cell, rows * s->hidden, s->acts + row * acts, before, mu);
    else
        for (int64_t i = 0; i < rows; i++)
            cell_forward(s->cell, s->hidden, s->acts + (row + i) * acts, before + i * size,
                         mu + i * size);
    if (s->keep && s->cell < GRU)
        memoryless_forward(s->cell, rows * s->hidden, gates, NULL, m);
    else if (s->keep)
        for (int64_t i = 0; i < rows; i++)
            memoryless_forward(s->cell, s->hidden, gates + i * width, part->layer->inner,
                               m + i * size);
    map_forward(rows * size, mu, m, at(s->A, s->stride_A, t, in_step),
                at(s->B, s->stride_B, t, in_step), at(s->C, s->stride_C, t, in_step),
                at(s->keep, s->stride_keep, t, in_step), before, s->gap ? s->gap + here : NULL,
                state);
    if (s->mu) memcpy(s->mu + here, mu, sizeof(float) * rows * size);
    for (int64_t i = 0; i < rows; i++) {
        if (s->lengths && t >= s->lengths[first + i]) forget(s, t, first + i);
        memcpy(s->output + (t * s->batch + first + i) * s->hidden, state + i * size,
               sizeof(float) * s->hidden);
    }
}

/* Sequences that are done at once, in a cache that is near. */
static int64_t group(const Scan *s) {
    int64_t size = PARTS(s->cell) * s->hidden;
    return size < GROUP ? GROUP / size : 1;
}

static void *run_forward(void *argument) {
    Part *part = argument;
    const Scan *s = part->scan;
    int64_t size = PARTS(s->cell) * s->hidden, steps = block_steps(part), some = group(s);
    int64_t rows_kept = s->keep && !s->gates ? steps * (part->stop - part->first) : 0;
    float *scratch = new_floats(2 * some * size + rows_kept * GATES(s->cell) * s->hidden);
    part->failed = !scratch;
    if (!scratch) return NULL;
    part->gates = rows_kept ? scratch + 2 * some * size : NULL;
    for (int64_t start = 0; start < s->steps; start += steps) {
        int64_t stop = start + steps < s->steps ? start + steps : s->steps;
        part->block = start;
        if (whole(part))
            project(part, start, (stop - start) * s->batch);
        else
            for (int64_t t = start; t < stop; t++) project(part, t, rows_at(part, t));
        for (int64_t t = start; t < stop; t++) {
            int64_t rows = rows_at(part, t);
            recur(part, t, rows);
            for (int64_t i = 0; i < rows; i += some)
                step_forward(part, t, part->first + i, rows - i < some ? rows - i : some, scratch,
                             scratch + some * size);
        }
    }
    free(scratch);
    return NULL;
}

/* What a block of the backward pass works on; rows are packed, step after step. */
typedef struct {
    float *d_pre;   /* (rows, G) gradient of W_hh h, later of the input's part */
    float *d_n;     /* (rows, H) GRU: gradient of the input's part of the candidate */
    float *d_m;     /* (rows, S) gradient of m */
    float *d_mu;    /* (group, S) */
    float *panels;  /* scratch of an outer product */
    const float **h, **x, **gates; /* (rows,) where they lie; gates: acts where those are not kept */
} Work;

/* From g = d state of some sequences in a row to d_mu and d_m, and the coefficients' gradients. */
static void map_backward(const Scan *s, int64_t t, int64_t first, int64_t rows,
                         float *restrict d_mu, float *restrict d_m) {
    int64_t units = PARTS(s->cell) * s->hidden, in_step = first * units, size = rows * units;
    int64_t here = t * s->batch * units + in_step;
    float *restrict g = s->d_path + here + s->batch * units;
    if (s->d_output)
        for (int64_t i = 0; i < rows; i++) {
            if (s->lengths && t >= s->lengths[first + i]) continue; /* padding is zero, whatever */
            const float *restrict more = s->d_output + (t * s->batch + first + i) * s->hidden;
            EACH for (int64_t j = 0; j < s->hidden; j++) g[i * units + j] += more[j];
        }
    float *restrict d_before = s->d_path + here;
    const float *restrict A = at(s->A, s->stride_A, t, in_step);
    const float *restrict C = at(s->C, s->stride_C, t, in_step);
    const float *restrict keep = at(s->keep, s->stride_keep, t, in_step);
    EACH for (int64_t i = 0; i < size; i++) d_mu[i] = A ? A[i] * g[i] : g[i];
    if (s->d_A)
        EACH for (int64_t i = 0; i < size; i++)
            s->d_A[here + i] =
                g[i] * (s->mu[here + i] + (keep ? (keep[i] - 1.0f) * s->gap[here + i] : 0.0f));
    if (s->d_keep)
        EACH for (int64_t i = 0; i < size; i++) s->d_keep[here + i] = d_mu[i] * s->gap[here + i];
    if (keep)
        EACH for (int64_t i = 0; i < size; i++) {
            d_m[i] = (1.0f - keep[i]) * d_mu[i];
            d_mu[i] *= keep[i];
        }
    if (s->d_gap)
        EACH for (int64_t i = 0; i < size; i++) {
            d_m[i] -= s->d_gap[here + i];
            d_mu[i] += s->d_gap[here + i];
        }
    if (C)
        EACH for (int64_t i = 0; i < size; i++) d_before[i] += C[i] * g[i];
    if (s->d_C)
        EACH for (int64_t i = 0; i < size; i++) s->d_C[here + i] = g[i] * s->path[here + i];
}

/* All steps of a block, the last first; returns the number of rows. */
static int64_t recur_backward(const Part *part, const Work *work, Packed weights, int64_t start,
                              int64_t stop) {
    const Scan *s = part->scan;
    int64_t size = PARTS(s->cell) * s->hidden, width = GATES(s->cell) * s->hidden, first = 0;
    int64_t acts = ACTS(s->cell) * s->hidden, total = 0, some = group(s);
    for (int64_t t = start; t < stop; t++) total += rows_at(part, t);
    first = total;
    for (int64_t t = stop - 1; t >= start; t--) {
        int64_t rows = rows_at(part, t);
        float *d_h = s->d_path + (t * s->batch + part->first) * size;
        first -= rows;
        if (s->fresh) memset(d_h, 0, sizeof(float) * rows * size);
        for (int64_t i = 0; i < rows; i++) {
            int64_t sequence = part->first + i, row = row_at(s, t) + sequence, here = first + i;
            const float *before = s->path + (t * s->batch + sequence) * size;
            if (i % some == 0)
                map_backward(s, t, sequence, rows - i < some ? rows - i : some, work->d_mu,
                             work->d_m + (s->keep ? here * size : 0));
            cell_backward(s->cell, s->hidden, s->acts + row * acts, before,
                          work->d_mu + i % some * size, work->d_pre + here * width,
                          work->d_n + here * s->hidden,
                          s->d_path + (t * s->batch + sequence) * size);
            work->h[here] = before;
            work->x[here] = s->x + (t * s->batch + sequence) * s->inputs;
            work->gates[here] = s->gates ? s->gates + row * width : s->acts + row * acts;
        }
        product(rows, work->d_pre + first * width, width, weights, (Base){d_h, size}, d_h, size);
    }
    return total;
}

static void add_columns(float *restrict sums, const float *restrict rows, int64_t count,
                        int64_t width, int64_t stride) {
    for (int64_t i = 0; i < count; i++)
        EACH for (int64_t j = 0; j < width; j++) sums[j] += rows[i * stride + j];
}

/* Sum a block's gradients of weights and biases: first the state's part, then the input's. */
static void sum_block(const Part *part, const Work *work, int64_t rows) {
    const Scan *s = part->scan;
    int64_t size = PARTS(s->cell) * s->hidden, width = GATES(s->cell) * s->hidden;
    outer_product(rows, work->d_pre, width, width, work->h, s->hidden, part->d_hh,
                  padded(s->hidden), work->panels);
    float *d_inner = part->d_pre_sum + 2 * s->hidden; /* GRU */
    if (s->cell == GRU) {
        add_columns(d_inner, work->d_pre + 2 * s->hidden, rows, s->hidden, width);
        for (int64_t i = 0; i < rows; i++)
            memcpy(work->d_pre + i * width + 2 * s->hidden, work->d_n + i * s->hidden,
                   sizeof(float) * s->hidden);
    }
    if (s->keep && !s->gates)
        for (int64_t i = 0; i < rows; i++)
            memoryless_by_gap(s->cell, s->hidden, work->gates[i],
                              s->gap + (work->h[i] - s->path), work->d_m + i * size,
                              work->d_pre + i * width);
    else if (s->keep)
        for (int64_t i = 0; i < rows; i++)
            memoryless_backward(s->cell, s->hidden, work->gates[i], part->layer->inner,
                                work->d_m + i * size, work->d_pre + i * width, d_inner);
    outer_product(rows, work->d_pre, width, width, work->x, s->inputs, part->d_ih,
                  padded(s->inputs), work->panels);
    add_columns(part->d_gates_sum, work->d_pre, rows, width, width);
}

/* Take the gradient of the input's part to that of the input. */
static void project_backward(const Part *part, const Work *work, Packed weights, int64_t start,
                             int64_t stop, int64_t total) {
    const Scan *s = part->scan;
    int64_t width = GATES(s->cell) * s->hidden, first = 0;
    for (int64_t t = start; t < stop; t++) {
        int64_t rows = whole(part) ? total : rows_at(part, t);
        product(rows, work->d_pre + first * width, width, weights, (Base){NULL, 0},
                s->d_x + (t * s->batch + part->first) * s->inputs, s->inputs);
        first += rows;
        if (whole(part)) return;
    }
}

static void free_work(Work *work) {
    free(work->panels);
    free(work->h);
}

/* Make room for a block of `rows` rows; returns whether there is. */
static int make_work(Work *work, const Scan *s, int64_t rows) {
    int64_t size = PARTS(s->cell) * s->hidden, width = GATES(s->cell) * s->hidden;
    size_t d_m = s->keep ? rows * size : 0;
    size_t panels = padded(s->hidden > s->inputs ? s->hidden : s->inputs);
    panels *= rows < OUTER_DEPTH ? rows : OUTER_DEPTH;
    work->panels = new_floats(panels + rows * (width + s->hidden) + d_m + group(s) * size);
    work->h = malloc(sizeof(float *) * 3 * rows);
    if (!work->panels || !work->h) return 0;
    work->d_pre = work->panels + panels;
    work->d_n = work->d_pre + rows * width;
    work->d_m = work->d_n + rows * s->hidden;
    work->d_mu = work->d_m + d_m;
    work->x = work->h + rows;
    work->gates = work->x + rows;
    return 1;
}

static void *run_backward(void *argument) {
    Part *part = argument;
    const Scan *s = part->scan;
    const Layer *layer = part->layer;
    int64_t steps = block_steps(part), batch = part->stop - part->first;
    Work work = {0};
    int64_t size = PARTS(s->cell) * s->hidden;
    part->failed = !make_work(&work, s, steps * batch);
    if (s->fresh)
        memset(s->d_path + (s->steps * s->batch + part->first) * size, 0,
               sizeof(float) * batch * size);
    for (int64_t stop = s->steps; !part->failed && stop > 0; stop -= steps) {
        int64_t start = stop > steps ? stop - steps : 0;
        int64_t rows = recur_backward(part, &work, layer->recurrent[0], start, stop);
        sum_block(part, &work, rows);
        if (s->d_x) project_backward(part, &work, layer->input[0], start, stop, rows);
    }
    free_work(&work);
    return NULL;
}

/* Cut the batch into parts and run them, the first one here; returns whether all went well. */
static int run_parts(Part *parts, int count, void *(*run)(void *)) {
    pthread_t threads[MOST_THREADS];
    int started[MOST_THREADS] = {0}, failed = 0;
    for (int i = 1; i < count; i++)
        started[i] = !pthread_create(&threads[i], NULL, run, &parts[i]);
    run(&parts[0]);
    for (int i = 1; i < count; i++)
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            run(&parts[i]);
    for (int i = 0; i < count; i++) failed |= parts[i].failed;
    return !failed;
}

/* Number of parts: threads, but none for less than 4 sequences. */
static int cut(Part *parts, const Scan *s, const Layer *layer) {
    int64_t count = s->threads < MOST_THREADS ? s->threads : MOST_THREADS;
    if (count > s->batch / 4) count = s->batch / 4;
    if (count < 1) count = 1;
    for (int64_t i = 0; i < count; i++)
        parts[i] = (Part){.scan = s,
                          .layer = layer,
                          .first = s->batch * i / count,
                          .stop = s->batch * (i + 1) / count};
    return count;
}

/* Sum the biases as far as they stand outside of a product; bias (G,), inner (H,). */
static void sum_biases(const Scan *s, float *bias, float *inner) {
    int64_t width = GATES(s->cell) * s->hidden, outside = s->cell == GRU ? 2 * s->hidden : width;
    for (int64_t i = 0; i < width; i++)
        bias[i] = s->bias_ih ? s->bias_ih[i] + (i < outside ? s->bias_hh[i] : 0.0f) : 0.0f;
    for (int64_t i = 0; i < s->hidden; i++)
        inner[i] = s->bias_ih && s->cell == GRU ? s->bias_hh[outside + i] : 0.0f;
}

int EXPORT(forward)(const Scan *s) {
    int64_t width = GATES(s->cell) * s->hidden, outside = s->cell == GRU ? 2 * s->hidden : width;
    size_t recurrent = packed_size(s->hidden, outside), input = packed_size(s->inputs, outside);
    size_t more = s->cell == GRU ? packed_size(1, s->hidden) : 0;
    float *memory = new_floats(recurrent + input + more * (s->hidden + s->inputs) + width + s->hidden);
    if (!memory) return 0;
    float *next = memory + recurrent + input;
    Layer layer = {
        .recurrent[0] = pack(memory, s->weight_hh, 1, s->hidden, outside),
        .input[0] = pack(memory + recurrent, s->weight_ih, 1, s->inputs, outside),
    };
    if (s->cell == GRU) {
        layer.recurrent[1] = pack(next, s->weight_hh + outside * s->hidden, 1, s->hidden, s->hidden);
        next += more * s->hidden;
        layer.input[1] = pack(next, s->weight_ih + outside * s->inputs, 1, s->inputs, s->hidden);
        next += more * s->inputs;
    }
    sum_biases(s, next, next + width);
    layer.bias = next;
    layer.inner = next + width;
    Part parts[MOST_THREADS];
    int done = run_parts(parts, cut(parts, s, &layer), run_forward);
    free(memory);
    return done;
}

/* Sum the parts' gradients, (height, padded width) each, into `to` (height, width). */
static void sum_parts(float *restrict to, const float *restrict from, size_t stride, int count,
                      int64_t height, int64_t width) {
    for (int64_t i = 0; i < height; i++, to += width, from += padded(width)) {
        memcpy(to, from, sizeof(float) * width);
        for (int part = 1; part < count; part++)
            EACH for (int64_t j = 0; j < width; j++) to[j] += from[part * stride + j];
    }
}

int EXPORT(backward)(const Scan *s) {
    int64_t width = GATES(s->cell) * s->hidden;
    size_t recurrent = packed_size(width, s->hidden), input = packed_size(width, s->inputs);
    Part parts[MOST_THREADS];
    Layer layer = {0};
    int count = cut(parts, s, &layer);
    size_t stride = recurrent + input + 2 * width; /* a part's gradients */
    float *memory = new_floats(recurrent + input + width + s->hidden);
    float *sums = calloc(count * stride + 1, sizeof(float)), *biases = memory + recurrent + input;
    int done = memory && sums;
    if (done) {
        layer.recurrent[0] = pack(memory, s->weight_hh, 0, width, s->hidden);
        if (s->d_x) layer.input[0] = pack(memory + recurrent, s->weight_ih, 0, width, s->inputs);
        sum_biases(s, biases, biases + width);
        layer.inner = biases + width;
        for (int i = 0; i < count; i++) {
            parts[i].d_hh = sums + i * stride;
            parts[i].d_ih = parts[i].d_hh + recurrent;
            parts[i].d_gates_sum = parts[i].d_ih + input;
            parts[i].d_pre_sum = parts[i].d_gates_sum + width;
        }
        done = run_parts(parts, count, run_backward);
        float *d_ih = sums + recurrent, *d_gates = d_ih + input, *d_pre = d_gates + width;
        sum_parts(s->d_weight_hh, sums, stride, count, width, s->hidden);
        sum_parts(s->d_weight_ih, d_ih, stride, count, width, s->inputs);
        for (int64_t j = 0; j < width; j++) {
            float by_ih = 0.0f, by_hh = 0.0f;
            for (int i = 0; i < count; i++) {
                by_ih += d_gates[i * stride + j];
                by_hh += d_pre[i * stride + j];
            }
            s->d_bias_ih[j] = by_ih;
            s->d_bias_hh[j] = s->cell == GRU && j >= 2 * s->hidden ? by_hh : by_ih;
        }
    }
    free(memory);
    free(sums);
    return done;
}
