/* One step of a small network, for control: many short operations on the rows of a workspace.

   A row is all that one sequence needs: its input, its states, what is between, and the output.
   Weights are read where they lie, (width, depth) as torch has them, so nothing can grow stale. A
   number of a row is computed in one order, whatever the number of rows: an episode does not depend
   on those beside it, to the bit. */

#include <math.h>
#include <stdlib.h>

#include "cells.h"

#define ROWS_AT_ONCE 64

enum { LINEAR, AFFINE, NEAR, NORMALIZE, ACTIVATE, STEP, MAP, ATTEND, COPY, PICK };

#define MOST_ROWS 4 /* of a tile; the lanes are shared by its rows and those of the matrix */

/* One operation, from column `at`, and of some from `beside` too, to column `to` of a row. The same
   layout as `Operation` in native_network.py; what the numbers mean is said at each function. */
typedef struct {
    int64_t kind, at, beside, to, width, depth, count, flag;
    const float *weight, *bias;
    const int64_t *index;
    double number;
} Operation;

/* Columns of a row: the input, states before, states after, one random number, and the rest. */
typedef struct {
    int64_t count, inputs, layers, state, columns, output, outputs;
    const Operation *operations;
} Network;

/* ---- products of rows with the rows of a matrix ---- */

typedef int32_t ints __attribute__((vector_size(4 * LANES)));

/* Lane i of the result is the sum of all lanes of sums[i], by halves: one order for each. */
INLINE vec sums_of_lanes(vec sums[LANES]) {
#if defined(__clang__)
    float lanes[LANES][LANES], total[LANES];
    memcpy(lanes, sums, sizeof lanes);
    for (int i = 0; i < LANES; i++) {
        for (int half = LANES / 2; half; half /= 2)
            for (int j = 0; j < half; j++) lanes[i][j] += lanes[i][j + half];
        total[i] = lanes[i][0];
    }
    return load(total);
#else
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2) {
        ints first, second; /* halves of each group of 2 half lanes */
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            int group = j / (2 * half) * 2 * half, within = j % half;
            first[j] = group + within + (j / half % 2 ? LANES : 0);
            second[j] = first[j] + half;
        }
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            sums[i] = __builtin_shuffle(sums[i], sums[i + half], first) +
                      __builtin_shuffle(sums[i], sums[i + half], second);
    }
    return sums[0];
#endif
}

/* The value of one output column of a row: what is there already is added to, with `flag`. */
INLINE void put(const Operation *o, int column, float sum, float *out) {
    float value = sum + (o->bias ? o->bias[column] : 0.0f);
    out[column] = o->flag ? out[column] + value : value;
}

/* `rows` rows of x with LANES / rows rows of a matrix, from the first on; depth is LANES at least.
   rest: of each row the last LANES inputs, zero where a whole vector has had them. */
INLINE void dot_tile(const int rows, const Operation *o, const float *x, size_t stride,
                     const float *rest, int first, int skip, float *out) {
    const int columns = LANES / rows, depth = o->depth;
    const float *weight = o->weight + (size_t)first * depth;
    vec sums[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) sums[i] = (vec){0};
    for (int k = 0; k < depth; k += LANES) {
        int whole = k + LANES <= depth, at = whole ? k : depth - LANES;
        vec values[MOST_ROWS];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
            values[i] = load(whole ? x + i * stride + k : rest + i * LANES);
#pragma GCC unroll 16
        for (int j = 0; j < columns; j++) {
            vec factor = load(weight + (size_t)j * depth + at);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) sums[i * columns + j] += factor * values[i];
        }
    }
    float found[LANES];
    store(found, sums_of_lanes(sums));
    for (int i = 0; i < rows; i++)
        for (int j = skip; j < columns; j++)
            put(o, first + j, found[i * columns + j], out + i * stride);
}

/* One row of x with one row of a matrix, summed in the same order. */
static void dot(const Operation *o, const float *x, int column, float *out) {
    const int depth = o->depth, over = depth % LANES;
    const float *weight = o->weight + (size_t)column * depth;
    vec sum = {0};
    int k = 0;
    for (; k + LANES <= depth; k += LANES) sum += load(weight + k) * load(x + k);
    if (over) {
        float left[LANES] = {0}, right[LANES] = {0};
        memcpy(left + LANES - over, weight + k, sizeof(float) * over);
        memcpy(right + LANES - over, x + k, sizeof(float) * over);
        sum += load(left) * load(right);
    }
    float lanes[LANES];
    store(lanes, sum);
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
    put(o, column, lanes[0], out);
}

/* Some rows with a whole matrix. The last tile is moved back to end where the matrix does. */
INLINE void linear_rows(const int rows, const Operation *o, float *work, size_t stride) {
    const int columns = LANES / rows, depth = o->depth, width = o->width, over = depth % LANES;
    const float *x = work + o->at;
    float *out = work + o->to, rest[MOST_ROWS * LANES] = {0};
    if (depth < LANES || width < columns) {
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < width; j++) dot(o, x + i * stride, j, out + i * stride);
        return;
    }
    for (int i = 0; i < rows; i++)
        memcpy(rest + (i + 1) * LANES - over, x + i * stride + depth - over, sizeof(float) * over);
    for (int j = 0; j < width; j += columns) {
        int first = j + columns <= width ? j : width - columns;
        dot_tile(rows, o, x, stride, rest, first, j - first, out);
    }
}

static void linear(const Operation *o, int rows, float *work, size_t stride) {
    int i = 0;
    for (; i + 4 <= rows; i += 4) linear_rows(4, o, work + i * stride, stride);
    for (; i + 2 <= rows; i += 2) linear_rows(2, o, work + i * stride, stride);
    for (; i < rows; i++) linear_rows(1, o, work + i * stride, stride);
}

/* ---- all others: one row at a time ---- */

/* out = clip(weight in + bias) */
static void affine(const Operation *o, const float *restrict in, float *restrict out) {
    float bound = (float)o->number;
    EACH for (int64_t i = 0; i < o->width; i++) {
        float value = in[i] * o->weight[i] + o->bias[i];
        value = value > bound ? bound : value;
        out[i] = value < -bound ? -bound : value;
    }
}

/* out = tanh(in / range), of some of the inputs, for each of `count` ranges. */
static void near(const Operation *o, const float *restrict in, float *restrict out) {
    for (int64_t range = 0; range < o->count; range++)
        for (int64_t i = 0; i < o->width; i++)
            out[range * o->width + i] = in[o->index[i]] / o->weight[range];
    EACH for (int64_t i = 0; i < o->count * o->width; i++) out[i] = hyperbolic_tangent(out[i]);
}

/* Subtract the mean, divide by the deviation (and what keeps it from zero), scale, shift. */
static void normalize(const Operation *o, const float *restrict in, float *restrict out) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < o->width; i++) sum += in[i];
    double mean = sum / o->width;
    for (int64_t i = 0; i < o->width; i++) squares += (in[i] - mean) * (in[i] - mean);
    float center = (float)mean, scale = (float)(1.0 / sqrt(squares / o->width + o->number));
    EACH for (int64_t i = 0; i < o->width; i++) {
        float value = (in[i] - center) * scale;
        out[i] = o->weight ? value * o->weight[i] + (o->bias ? o->bias[i] : 0.0f) : value;
    }
}

/* flag: TANH, RELU or SIGMOID of cells.h, or SILU */
#define SILU 5
static void activate(const Operation *o, const float *restrict in, float *restrict out) {
    int64_t width = o->width;
    if (o->flag == TANH)
        EACH for (int64_t i = 0; i < width; i++) out[i] = activation(TANH, in[i]);
    if (o->flag == RELU)
        EACH for (int64_t i = 0; i < width; i++) out[i] = activation(RELU, in[i]);
    if (o->flag == SILU)
        EACH for (int64_t i = 0; i < width; i++) out[i] = in[i] * sigmoid(in[i]);
}

/* out = weight out + bias in: a regularizer's map, of the state before too. */
static void map(const Operation *o, const float *restrict in, float *restrict out) {
    EACH for (int64_t i = 0; i < o->width; i++)
        out[i] = o->weight[i] * out[i] + o->bias[i] * in[i];
}

/* exp of count numbers minus their largest, in place; returns the sum. */
static float softmax(int64_t count, float *values) {
    float most = values[0], sum = 0.0f;
    for (int64_t i = 1; i < count; i++) most = values[i] > most ? values[i] : most;
    for (int64_t i = 0; i < count; i++) sum += values[i] = expf(values[i] - most);
    return sum;
}

/* Each of `count` heads weighs `depth` objects by a softmax of its logits; of an object
   the numbers are `width` for each of `flag` ranges, which lie side by side from `beside` on. */
static void attend(const Operation *o, float *row) {
    int64_t objects = o->depth, numbers = o->width, ranges = o->flag;
    const float *seen = row + o->beside;
    for (int64_t head = 0; head < o->count; head++) {
        float *weights = row + o->at + head * objects;
        float *out = row + o->to + head * ranges * numbers, sum = softmax(objects, weights);
        memset(out, 0, sizeof(float) * ranges * numbers);
        for (int64_t j = 0; j < objects; j++)
            for (int64_t range = 0; range < ranges; range++)
                for (int64_t i = 0; i < numbers; i++)
                    out[range * numbers + i] +=
                        weights[j] / sum * seen[(range * objects + j) * numbers + i];
    }
}

/* Of `count` components, whose log weights come first and means, `depth` apart, after them: copy
   the mean of the heaviest, or by `flag` of the one that the number at `beside` chooses. */
static void pick(const Operation *o, float *row) {
    float *weights = row + o->at;
    int64_t chosen = 0;
    if (o->flag) {
        float passed = 0.0f, drawn = row[o->beside], sum = softmax(o->count, weights);
        for (int64_t i = 0; i + 1 < o->count; i++) {
            passed += weights[i] / sum;
            if (passed > drawn) break;
            chosen = i + 1;
        }
    } else
        for (int64_t i = 1; i < o->count; i++)
            if (weights[i] > weights[chosen]) chosen = i;
    memcpy(row + o->to, weights + o->count + chosen * o->depth, sizeof(float) * o->width);
}

static void do_row(const Operation *o, float *row) {
    const float *in = row + o->at;
    float *out = row + o->to;
    switch (o->kind) {
    case AFFINE: affine(o, in, out); break;
    case NEAR: near(o, in, out); break;
    case NORMALIZE: normalize(o, in, out); break;
    case ACTIVATE: activate(o, in, out); break;
    case STEP: cell_forward(o->flag, o->width, row + o->at, row + o->beside, out); break;
    case MAP: map(o, in, out); break;
    case ATTEND: attend(o, row); break;
    case COPY: memcpy(out, in, sizeof(float) * o->width); break;
    case PICK: pick(o, row); break;
    }
}

static int all_finite(const float *values, int64_t count) {
    float sum = 0.0f;
    EACH for (int64_t i = 0; i < count; i++) sum += values[i] - values[i];
    return sum == 0.0f;
}

/* Columns: input, states before, states after, one number. */
static void fetch(const Network *network, int64_t n, int64_t first, int64_t rows, const float *x,
                  const float *states, const float *numbers, float *work) {
    int64_t inputs = network->inputs, size = network->state, layers = network->layers;
    for (int64_t i = 0; i < rows; i++) {
        float *row = work + i * network->columns;
        memcpy(row, x + (first + i) * inputs, sizeof(float) * inputs);
        for (int64_t layer = 0; layer < layers; layer++)
            memcpy(row + inputs + layer * size, states + (layer * n + first + i) * size,
                   sizeof(float) * size);
        row[inputs + 2 * layers * size] = numbers ? numbers[first + i] : 0.0f;
    }
}

/* Output, clipped to [-1, 1], and states after. */
static void hand_back(const Network *network, int64_t n, int64_t first, int64_t rows,
                      const float *work, float *outputs, float *states) {
    int64_t size = network->state, layers = network->layers, width = network->outputs;
    for (int64_t i = 0; i < rows; i++) {
        const float *row = work + i * network->columns, *found = row + network->output;
        float *out = outputs + (first + i) * width;
        for (int64_t j = 0; j < width; j++) {
            out[j] = found[j] > 1.0f ? 1.0f : found[j];
            out[j] = out[j] < -1.0f ? -1.0f : out[j];
        }
        row += network->inputs + layers * size;
        for (int64_t layer = 0; layer < layers; layer++)
            memcpy(states + (layer * n + first + i) * size, row + layer * size,
                   sizeof(float) * size);
    }
}

/* One step of n rows. x (n, inputs), states and next (layers, n, state), numbers (n,) or NULL,
   outputs (n, outputs), clipped to [-1, 1].

   Returns 0; 1 if an input is not finite, 2 if an output is not, 3 if there is no memory. */
int EXPORT(network)(const Network *network, int64_t n, const float *x, const float *states,
                    const float *numbers, float *outputs, float *next) {
    if (!all_finite(x, n * network->inputs)) return 1;
    int64_t most = n < ROWS_AT_ONCE ? n : ROWS_AT_ONCE;
    float *work = malloc(sizeof(float) * network->columns * most);
    if (!work) return 3;
    for (int64_t first = 0; first < n; first += most) {
        int64_t rows = n - first < most ? n - first : most;
        fetch(network, n, first, rows, x, states, numbers, work);
        for (int64_t step = 0; step < network->count; step++) {
            const Operation *o = network->operations + step;
            if (o->kind == LINEAR)
                linear(o, rows, work, network->columns);
            else
                for (int64_t i = 0; i < rows; i++) do_row(o, work + i * network->columns);
        }
        hand_back(network, n, first, rows, work, outputs, next);
    }
    free(work);
    return all_finite(outputs, n * network->outputs) ? 0 : 2;
}
