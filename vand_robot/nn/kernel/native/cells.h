/* The cells, one sequence and one step at a time: forward, backward, and without memory.

   `acts` is what a step leaves for the backward pass, ACTS(cell) floats per unit:
       Elman  h
       GRU    r, z, W_hn h + b_hn, n
       LSTM   i, f, g, o; tanh(c) is computed again, which takes less time than to fetch it
   and before the step holds the pre-activations in the same places (n: the input's part alone).
   `gates` is the input's part of the pre-activations with all biases but the GRU's b_hn, `inner`.
   The loops are plain, for the compiler to vectorize. */

#ifndef VAND_CELLS_H
#define VAND_CELLS_H

#include "vector.h"

enum { TANH, RELU, SIGMOID, GRU, LSTM };

#define GATES(cell) ((cell) == GRU ? 3 : (cell) == LSTM ? 4 : 1)
#define PARTS(cell) ((cell) == LSTM ? 2 : 1)
#define ACTS(cell) ((cell) == GRU || (cell) == LSTM ? 4 : 1)

INLINE float activation(const int cell, float x) {
    if (cell == TANH) return hyperbolic_tangent(x);
    if (cell == SIGMOID) return sigmoid(x);
    return x < 0.0f ? 0.0f : x;
}

/* The slope, by the answer. */
INLINE float slope(const int cell, float h) {
    if (cell == TANH) return 1.0f - h * h;
    if (cell == SIGMOID) return h - h * h;
    return h > 0.0f ? 1.0f : 0.0f;
}

INLINE void elman_forward(const int cell, int units, float *restrict acts, float *restrict mu) {
    EACH for (int i = 0; i < units; i++) mu[i] = acts[i] = activation(cell, acts[i]);
}

static void gru_forward(int units, float *restrict acts, const float *restrict before,
                        float *restrict mu) {
    float *restrict r = acts, *restrict z = acts + units, *restrict n = acts + 3 * units;
    const float *restrict inner = acts + 2 * units;
    EACH for (int i = 0; i < units; i++) {
        r[i] = sigmoid(r[i]);
        z[i] = sigmoid(z[i]);
        n[i] = hyperbolic_tangent(n[i] + r[i] * inner[i]);
        mu[i] = n[i] + z[i] * (before[i] - n[i]);
    }
}

static void lstm_forward(int units, float *restrict acts, const float *restrict before,
                         float *restrict mu) {
    float *restrict i_gate = acts, *restrict f = acts + units, *restrict g = acts + 2 * units;
    float *restrict o = acts + 3 * units;
    EACH for (int i = 0; i < units; i++) {
        i_gate[i] = sigmoid(i_gate[i]);
        f[i] = sigmoid(f[i]);
        g[i] = hyperbolic_tangent(g[i]);
        o[i] = sigmoid(o[i]);
        float c = f[i] * before[units + i] + i_gate[i] * g[i];
        mu[units + i] = c;
        mu[i] = o[i] * hyperbolic_tangent(c);
    }
}

/* mu = f(x, h): acts as described above. */
static void cell_forward(int cell, int units, float *acts, const float *before, float *mu) {
    if (cell == TANH) elman_forward(TANH, units, acts, mu);
    if (cell == RELU) elman_forward(RELU, units, acts, mu);
    if (cell == SIGMOID) elman_forward(SIGMOID, units, acts, mu);
    if (cell == GRU) gru_forward(units, acts, before, mu);
    if (cell == LSTM) lstm_forward(units, acts, before, mu);
}

/* m = f(x, 0). */
static void memoryless_forward(int cell, int units, const float *restrict gates,
                               const float *restrict inner, float *restrict m) {
    if (cell == TANH)
        EACH for (int i = 0; i < units; i++) m[i] = activation(TANH, gates[i]);
    if (cell == RELU)
        EACH for (int i = 0; i < units; i++) m[i] = activation(RELU, gates[i]);
    if (cell == SIGMOID)
        EACH for (int i = 0; i < units; i++) m[i] = activation(SIGMOID, gates[i]);
    if (cell == GRU)
        EACH for (int i = 0; i < units; i++) {
            float r = sigmoid(gates[i]), z = sigmoid(gates[units + i]);
            float n = hyperbolic_tangent(gates[2 * units + i] + r * inner[i]);
            m[i] = n - z * n;
        }
    if (cell == LSTM)
        EACH for (int i = 0; i < units; i++) {
            float c = sigmoid(gates[i]) * hyperbolic_tangent(gates[2 * units + i]);
            m[units + i] = c;
            m[i] = sigmoid(gates[3 * units + i]) * hyperbolic_tangent(c);
        }
}

static void gru_backward(int units, const float *restrict acts, const float *restrict before,
                         const float *restrict d_mu, float *restrict d_pre, float *restrict d_n,
                         float *restrict d_before) {
    const float *restrict r = acts, *restrict z = acts + units, *restrict n = acts + 3 * units;
    const float *restrict inner = acts + 2 * units;
    float *restrict to_r = d_pre, *restrict to_z = d_pre + units;
    float *restrict to_inner = d_pre + 2 * units;
    EACH for (int i = 0; i < units; i++) {
        float through_n = d_mu[i] * (1.0f - z[i]) * (1.0f - n[i] * n[i]);
        d_n[i] = through_n;
        to_inner[i] = through_n * r[i];
        to_r[i] = through_n * inner[i] * (r[i] - r[i] * r[i]);
        to_z[i] = d_mu[i] * (before[i] - n[i]) * (z[i] - z[i] * z[i]);
        d_before[i] += d_mu[i] * z[i];
    }
}

static void lstm_backward(int units, const float *restrict acts, const float *restrict before,
                          const float *restrict d_mu, float *restrict d_pre,
                          float *restrict d_before) {
    const float *restrict i_gate = acts, *restrict f = acts + units, *restrict g = acts + 2 * units;
    const float *restrict o = acts + 3 * units;
    float *restrict to_i = d_pre, *restrict to_f = d_pre + units, *restrict to_g = d_pre + 2 * units;
    float *restrict to_o = d_pre + 3 * units;
    EACH for (int i = 0; i < units; i++) {
        float squashed = hyperbolic_tangent(f[i] * before[units + i] + i_gate[i] * g[i]);
        float d_c = d_mu[units + i] + d_mu[i] * o[i] * (1.0f - squashed * squashed);
        to_i[i] = d_c * g[i] * (i_gate[i] - i_gate[i] * i_gate[i]);
        to_f[i] = d_c * before[units + i] * (f[i] - f[i] * f[i]);
        to_g[i] = d_c * i_gate[i] * (1.0f - g[i] * g[i]);
        to_o[i] = d_mu[i] * squashed * (o[i] - o[i] * o[i]);
        d_before[units + i] += d_c * f[i];
    }
}

INLINE void elman_backward(const int cell, int units, const float *restrict acts,
                           const float *restrict d_mu, float *restrict d_pre) {
    EACH for (int i = 0; i < units; i++) d_pre[i] = d_mu[i] * slope(cell, acts[i]);
}

/* From d_mu to the gradient of `W_hh h`, d_pre; d_n (GRU) is that of the input's part of n.
   What reaches h past the weights is added to d_before. */
static void cell_backward(int cell, int units, const float *acts, const float *before,
                          const float *d_mu, float *d_pre, float *d_n, float *d_before) {
    if (cell == TANH) elman_backward(TANH, units, acts, d_mu, d_pre);
    if (cell == RELU) elman_backward(RELU, units, acts, d_mu, d_pre);
    if (cell == SIGMOID) elman_backward(SIGMOID, units, acts, d_mu, d_pre);
    if (cell == GRU) gru_backward(units, acts, before, d_mu, d_pre, d_n, d_before);
    if (cell == LSTM) lstm_backward(units, acts, before, d_mu, d_pre, d_before);
}

/* Add the derivative of m to d_gates where m = mu - gap gives the slope: tanh and sigmoid. */
static void memoryless_by_gap(int cell, int units, const float *restrict acts,
                              const float *restrict gap, const float *restrict d_m,
                              float *restrict d_gates) {
    if (cell == TANH)
        EACH for (int i = 0; i < units; i++) d_gates[i] += d_m[i] * slope(TANH, acts[i] - gap[i]);
    else
        EACH for (int i = 0; i < units; i++)
            d_gates[i] += d_m[i] * slope(SIGMOID, acts[i] - gap[i]);
}

/* `count` units of the derivative of m, of which `units` there are; see below. */
INLINE void memoryless_units(int cell, int units, int count, const float *restrict gates,
                             const float *restrict inner, const float *restrict d_m,
                             float *restrict d_gates, float *restrict d_inner) {
    if (cell == GRU)
        EACH for (int i = 0; i < count; i++) {
            float r = sigmoid(gates[i]), z = sigmoid(gates[units + i]);
            float n = hyperbolic_tangent(gates[2 * units + i] + r * inner[i]);
            float through_n = d_m[i] * (1.0f - z) * (1.0f - n * n);
            d_gates[i] += through_n * inner[i] * (r - r * r);
            d_gates[units + i] -= d_m[i] * n * (z - z * z);
            d_gates[2 * units + i] += through_n;
            d_inner[i] += through_n * r;
        }
    else if (cell == LSTM)
        EACH for (int i = 0; i < count; i++) {
            float in = sigmoid(gates[i]), g = hyperbolic_tangent(gates[2 * units + i]);
            float o = sigmoid(gates[3 * units + i]), squashed = hyperbolic_tangent(in * g);
            float d_c = d_m[units + i] + d_m[i] * o * (1.0f - squashed * squashed);
            d_gates[i] += d_c * g * (in - in * in);
            d_gates[2 * units + i] += d_c * in * (1.0f - g * g);
            d_gates[3 * units + i] += d_m[i] * squashed * (o - o * o);
        }
    else
        EACH for (int i = 0; i < count; i++) d_gates[i] += d_m[i] * slope(RELU, gates[i]);
}

/* Add the derivative of m to d_gates, and to d_inner (GRU). Where no unit of a vector has a
   gradient, as most have none whose memory is hardly ever dropped, there is nothing to do. */
static void memoryless_backward(int cell, int units, const float *gates, const float *inner,
                                const float *d_m, float *d_gates, float *d_inner) {
    for (int start = 0; start < units; start += LANES) {
        int count = units - start < LANES ? units - start : LANES, any = 0;
        for (int i = start; i < start + count; i++) any |= d_m[i] != 0.0f;
        if (cell == LSTM)
            for (int i = start; i < start + count; i++) any |= d_m[units + i] != 0.0f;
        if (!any) continue;
        const float *bias = cell == GRU ? inner + start : inner;
        float *d_bias = cell == GRU ? d_inner + start : d_inner;
        if (count == LANES)
            memoryless_units(cell, units, LANES, gates + start, bias, d_m + start, d_gates + start,
                             d_bias);
        else
            memoryless_units(cell, units, count, gates + start, bias, d_m + start, d_gates + start,
                             d_bias);
    }
}

#endif
