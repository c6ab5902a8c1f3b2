/* Vectors of floats, as wide as the processor has them, and the functions of the gates.

   The file is compiled once for every instruction set (see build.py). Nothing here needs
   -ffast-math, and a NaN stays one: every comparison is written so that it lets a NaN through. */

#ifndef VAND_VECTOR_H
#define VAND_VECTOR_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define TILE_ROWS 12 /* of 32 registers, 24 hold a tile of 12 rows and 2 vectors */
#elif defined(__AVX2__)
#define LANES 8
#define TILE_ROWS 6 /* of 16 registers, 12 */
#else
#define LANES 4
#define TILE_ROWS 8 /* of 32 registers, 16 */
#endif
#define PANEL (2 * LANES) /* columns of a tile */

#define INLINE static inline __attribute__((always_inline))

/* Before a loop whose passes do not touch what others wrote: the compiler may do several at once. */
#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define EACH _Pragma("GCC ivdep")
#else
#define EACH
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const loose_vec *)from; }
INLINE void store(float *to, vec value) { *(loose_vec *)to = value; }

INLINE float float_of_bits(int32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE int32_t bits_of_float(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#define ROUNDING 12582912.0f /* 1.5 * 2^23: what is added to it is rounded to an integer */

/* How far the exponential of a float32 goes: 87 and -87; see dispatch.c for why it lies there. */
extern const float vand_exp_bounds[2] __attribute__((visibility("hidden")));

/* y within these bounds; a NaN stays one. */
INLINE float bounded(float y) {
    const float most = vand_exp_bounds[0], least = vand_exp_bounds[1];
    y = most < y ? most : y;
    return least > y ? least : y;
}

/* exp(y) - 1 = scale * rest + (scale - 1), |y| <= 87: rest = exp(r) - 1 with |r| <= ln(2) / 2. */
INLINE void split_exp(float y, float *scale, float *rest) {
    float shifted = y * 1.44269504f + ROUNDING;
    float n = shifted - ROUNDING;
    float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    *rest = p * (r * r) + r;
    *scale = float_of_bits((bits_of_float(shifted) - bits_of_float(ROUNDING) + 127) << 23);
}

INLINE float sigmoid(float x) {
    float scale, rest;
    split_exp(bounded(-x), &scale, &rest);
    return 1.0f / (1.0f + (scale * rest + scale));
}

/* By exp(2x) - 1, which keeps the digits of small x. */
INLINE float hyperbolic_tangent(float x) {
    float scale, rest;
    split_exp(bounded(2.0f * x), &scale, &rest);
    float e = scale * rest + (scale - 1.0f);
    return e / (e + 2.0f);
}

#endif
