/* Random numbers for the map of the state, and the sums that go back through them.

   Numbers are made in blocks of BLOCK, each from a seed of its own, a hash of the caller's seed and
   the block's place. The generator is xoshiro128++ (Blackman & Vigna, "Scrambled Linear Pseudorandom
   Number Generators", 2021), STREAMS of it side by side; normals are by Box and Muller's method. */

#include <math.h>
#include <stdlib.h>

#include "vector.h"

#define BLOCK 4096
#define STREAMS 16

typedef struct {
    uint32_t state[4][STREAMS];
} Generator;

/* Hash: the finalizer of splitmix64 (Steele, Lea & Flood, 2014). */
static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static Generator make_generator(uint64_t seed, uint64_t block) {
    Generator generator;
    uint64_t start = mixed(seed + 0x9e3779b97f4a7c15u) + block * 2 * STREAMS * 0x9e3779b97f4a7c15u;
    EACH for (int i = 0; i < STREAMS; i++)
        for (int pair = 0; pair < 2; pair++) {
            uint64_t word = mixed(start + (2 * i + pair) * 0x9e3779b97f4a7c15u);
            generator.state[2 * pair][i] = (uint32_t)word;
            generator.state[2 * pair + 1][i] = (uint32_t)(word >> 32);
        }
    return generator;
}

INLINE uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* Write `count` words, a multiple of STREAMS. */
static void draw_words(Generator *generator, uint32_t *restrict words, int count) {
    uint32_t a[STREAMS], b[STREAMS], c[STREAMS], d[STREAMS];
    memcpy(a, generator->state[0], sizeof a);
    memcpy(b, generator->state[1], sizeof b);
    memcpy(c, generator->state[2], sizeof c);
    memcpy(d, generator->state[3], sizeof d);
    for (int start = 0; start < count; start += STREAMS)
        EACH for (int i = 0; i < STREAMS; i++) {
            words[start + i] = rotated(a[i] + d[i], 7) + a[i];
            uint32_t t = b[i] << 9;
            c[i] ^= a[i];
            d[i] ^= b[i];
            b[i] ^= c[i];
            a[i] ^= d[i];
            c[i] ^= t;
            d[i] = rotated(d[i], 11);
        }
    memcpy(generator->state[0], a, sizeof a);
    memcpy(generator->state[1], b, sizeof b);
    memcpy(generator->state[2], c, sizeof c);
    memcpy(generator->state[3], d, sizeof d);
}

/* ln u of u > 0, by u = 2^k m with m in [sqrt(1/2), sqrt(2)) and a series in (m - 1) / (m + 1). */
INLINE float logarithm(float u) {
    int32_t bits = bits_of_float(u), shifted = bits - 0x3f3504f3;
    float k = (float)(shifted >> 23);
    float m = float_of_bits((shifted & 0x007fffff) + 0x3f3504f3);
    float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    float p = 2.0f / 9.0f;
    p = p * q + 2.0f / 7.0f;
    p = p * q + 2.0f / 5.0f;
    p = p * q + 2.0f / 3.0f;
    return k * 0.693147181f + s * (p * q + 2.0f);
}

/* Turn words into normal draws; count is even. Of each pair one word gives the radius, one the
   angle: 30 bits within an eighth of the circle on both sides of an axis, 2 bits the axis. */
static void to_normals(const uint32_t *restrict words, float *restrict normals, int count) {
    int half = count / 2;
    EACH for (int i = 0; i < half; i++) {
        float u = ((float)(int32_t)(words[i] >> 1) + 0.5f) * 4.65661287e-10f; /* 2^-31 */
        float radius = -2.0f * logarithm(u);
        radius = sqrtf(radius > 0.0f ? radius : 0.0f);
        uint32_t word = words[half + i];
        float angle = (float)((int32_t)word >> 2) * 1.46291808e-9f; /* pi / 4 of 2^29 */
        float q = angle * angle;
        float sine = angle * (1.0f + q * (-1.66666667e-1f +
                                          q * (8.33333333e-3f + q * (-1.98412698e-4f +
                                                                     q * 2.75573192e-6f))));
        float cosine = 1.0f + q * (-0.5f + q * (4.16666667e-2f +
                                                q * (-1.38888889e-3f + q * 2.48015873e-5f)));
        cosine = word & 1 ? -cosine : cosine;
        float first = word & 2 ? sine : cosine, second = word & 2 ? cosine : sine;
        normals[i] = radius * first;
        normals[half + i] = radius * second;
    }
}

/* Write `count` normal draws. */
void EXPORT(normals)(uint64_t seed, int64_t count, float *out) {
    uint32_t words[BLOCK];
    float block[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        Generator generator = make_generator(seed, start / BLOCK);
        draw_words(&generator, words, BLOCK);
        int64_t now = count - start < BLOCK ? count - start : BLOCK;
        to_normals(words, now == BLOCK ? out + start : block, BLOCK);
        if (now < BLOCK) memcpy(out + start, block, sizeof(float) * now);
    }
}

/* Kept and dropped units, and their noise, of `rows` rows of `size` units.

   levels (size,): of 65536 draws those that drop a unit. keep: ones and zeros. noise: sigma eps of
   kept, scale eps of dropped units; NULL for none. Rows of the mask: `rows`, or fewer, which are
   then those of the first rows, repeated. */
void EXPORT(mixture)(uint64_t seed, int64_t rows, int64_t mask_rows, int64_t size,
                     const int32_t *levels, const float *sigma, const float *scale, float *keep,
                     float *noise) {
    uint32_t words[BLOCK / 2];
    uint16_t drawn[BLOCK];
    int64_t count = mask_rows * size;
    for (int64_t start = 0; start < count; start += BLOCK) {
        Generator generator = make_generator(~seed, start / BLOCK);
        draw_words(&generator, words, BLOCK / 2);
        memcpy(drawn, words, sizeof drawn);
        int64_t stop = start + BLOCK < count ? start + BLOCK : count, unit = start % size;
        for (int64_t i = start; i < stop;) {
            int64_t run = size - unit < stop - i ? size - unit : stop - i;
            EACH for (int64_t j = 0; j < run; j++)
                keep[i + j] = (int32_t)drawn[i - start + j] < levels[unit + j] ? 0.0f : 1.0f;
            i += run;
            unit = 0;
        }
    }
    if (!noise) return;
    EXPORT(normals)(seed, rows * size, noise);
    for (int64_t row = 0; row < rows; row++) {
        const float *restrict kept = keep + row % mask_rows * size;
        float *restrict here = noise + row * size;
        EACH for (int64_t j = 0; j < size; j++) here[j] *= kept[j] != 0.0f ? sigma[j] : scale[j];
    }
}

#define SUM_ROWS 256 /* rows that are summed in float before they are added in double */

/* Sum a, or a b, (rows, size), down the columns: sums (2, size) of all, and where keep is 0. */
int EXPORT(split_sums)(int64_t rows, int64_t keep_rows, int64_t size, const float *a,
                       const float *b, const float *keep, double *sums) {
    float *part = malloc(sizeof(float) * 2 * size);
    if (!part) return 0;
    float *restrict every = part, *restrict dropped = part + size;
    memset(sums, 0, sizeof(double) * 2 * size);
    for (int64_t start = 0; start < rows; start += SUM_ROWS) {
        int64_t stop = start + SUM_ROWS < rows ? start + SUM_ROWS : rows;
        memset(part, 0, sizeof(float) * 2 * size);
        for (int64_t row = start; row < stop; row++) {
            const float *restrict left = a + row * size, *restrict right = b + row * size;
            const float *restrict kept = keep + row % keep_rows * size;
            if (b)
                EACH for (int64_t j = 0; j < size; j++) {
                    float value = left[j] * right[j];
                    every[j] += value;
                    dropped[j] += value * (1.0f - kept[j]);
                }
            else
                EACH for (int64_t j = 0; j < size; j++) {
                    every[j] += left[j];
                    dropped[j] += left[j] * (1.0f - kept[j]);
                }
        }
        for (int64_t j = 0; j < 2 * size; j++) sums[j] += part[j];
    }
    free(part);
    return 1;
}
