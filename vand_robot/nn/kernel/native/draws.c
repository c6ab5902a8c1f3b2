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

/* Write the normal draws of one block, or as many of them as are asked for. */
static void draw_block(uint64_t seed, int64_t start, int64_t stop, float *out) {
    uint32_t words[BLOCK];
    float block[BLOCK];
    Generator generator = make_generator(seed, start / BLOCK);
    draw_words(&generator, words, BLOCK);
    int64_t count = stop - start;
    to_normals(words, count == BLOCK ? out : block, BLOCK);
    if (count < BLOCK) memcpy(out, block, sizeof(float) * count);
}

/* Write `count` normal draws. */
void EXPORT(normals)(uint64_t seed, int64_t count, float *out) {
    for (int64_t start = 0; start < count; start += BLOCK)
        draw_block(seed, start, start + BLOCK < count ? start + BLOCK : count, out + start);
}

#define RESOLUTION 65536 /* of the probabilities that masks are drawn with */

/* How many of RESOLUTION draws drop a unit: rounded; all of them for d = 1 alone. */
static int32_t level_of(float drop) {
    double level = drop * (double)RESOLUTION, rounded = rint(level);
    if (level >= RESOLUTION) return RESOLUTION;
    return rounded < RESOLUTION ? (int32_t)rounded : RESOLUTION - 1;
}

/* Kept and dropped units, and their noise, of `rows` rows of `size` units.

   drop (size,): ratio d. keep: ones and zeros. noise: sigma eps of kept, scale eps of dropped
   units; NULL for none. Rows of the mask: `rows`, or fewer, which are then those of the first
   rows, repeated. Returns whether there was memory enough. */
int EXPORT(mixture)(uint64_t seed, int64_t rows, int64_t mask_rows, int64_t size,
                    const float *drop, const float *sigma, const float *scale, float *keep,
                    float *noise) {
    uint32_t words[BLOCK / 2];
    uint16_t drawn[BLOCK];
    int64_t count = mask_rows * size;
    int32_t *levels = malloc(sizeof(int32_t) * size);
    if (!levels) return 0;
    for (int64_t i = 0; i < size; i++) levels[i] = level_of(drop[i]);
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
    free(levels);
    for (int64_t start = 0; noise && start < rows * size; start += BLOCK) {
        int64_t stop = start + BLOCK < rows * size ? start + BLOCK : rows * size;
        draw_block(seed, start, stop, noise + start);
        for (int64_t i = start; i < stop;) { /* while they are in the cache */
            int64_t row = i / size, unit = i % size;
            int64_t run = size - unit < stop - i ? size - unit : stop - i;
            const float *restrict kept = keep + row % mask_rows * size + unit;
            const float *restrict if_kept = sigma + unit, *restrict if_dropped = scale + unit;
            float *restrict here = noise + i;
            EACH for (int64_t j = 0; j < run; j++)
                here[j] *= kept[j] != 0.0f ? if_kept[j] : if_dropped[j];
            i += run;
        }
    }
    return 1;
}

#define SUM_ROWS 256 /* rows that are summed in float before they are added in double */

/* Some rows of `vectors` vectors of columns, from column j on, whose sums stay in registers: of a,
   or a b, of all rows (every), and of those where keep is 0 (dropped, NULL for not asked). */
INLINE void sum_columns(const int vectors, int64_t start, int64_t stop, int64_t keep_rows,
                        int64_t size, int64_t j, const float *a, const float *b, const float *keep,
                        double *every, double *dropped) {
    vec all[4] = {{0}, {0}, {0}, {0}}, without[4] = {{0}, {0}, {0}, {0}}, one = {0};
    one += 1.0f;
    int64_t row_kept = keep ? start % keep_rows : 0;
    for (int64_t row = start; row < stop; row++) {
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) {
            int64_t at = row * size + j + i * LANES;
            vec value = load(a + at);
            if (b) value *= load(b + at);
            all[i] += value;
            if (keep)
                without[i] += value * (one - load(keep + row_kept * size + j + i * LANES));
        }
        if (keep) row_kept = row_kept + 1 < keep_rows ? row_kept + 1 : 0;
    }
    for (int i = 0; i < vectors; i++)
        for (int k = 0; k < LANES; k++) {
            every[j + i * LANES + k] += all[i][k];
            if (keep) dropped[j + i * LANES + k] += without[i][k];
        }
}

/* Sum a, or a b, (rows, size), down the columns: sums (2, size) of all, and where keep is 0; without
   keep (size,). Pieces of rows are summed in float, and those in double. */
INLINE void split_sums(int64_t rows, int64_t keep_rows, int64_t size, const float *a,
                       const float *b, const float *keep, double *sums) {
    double *every = sums, *dropped = sums + size;
    memset(sums, 0, sizeof(double) * (keep ? 2 : 1) * size);
    for (int64_t start = 0; start < rows; start += SUM_ROWS) {
        int64_t stop = start + SUM_ROWS < rows ? start + SUM_ROWS : rows, j = 0;
        for (; j + 4 * LANES <= size; j += 4 * LANES)
            sum_columns(4, start, stop, keep_rows, size, j, a, b, keep, every, dropped);
        for (; j + 2 * LANES <= size; j += 2 * LANES)
            sum_columns(2, start, stop, keep_rows, size, j, a, b, keep, every, dropped);
        for (; j + LANES <= size; j += LANES)
            sum_columns(1, start, stop, keep_rows, size, j, a, b, keep, every, dropped);
        for (; j < size; j++) {
            float all = 0.0f, without = 0.0f;
            for (int64_t row = start; row < stop; row++) {
                float value = a[row * size + j] * (b ? b[row * size + j] : 1.0f);
                all += value;
                if (keep) without += value * (1.0f - keep[row % keep_rows * size + j]);
            }
            every[j] += all;
            if (keep) dropped[j] += without;
        }
    }
}

/* Sum squares of a, (rows, size), down the columns: sums (size,). */
void EXPORT(square_sums)(int64_t rows, int64_t size, const float *a, double *sums) {
    split_sums(rows, 1, size, a, a, NULL, sums);
}

/* What kept and dropped samples of a unit say of d: 1, or so that each kind counts half, however
   many there are of it; where only one kind is ever drawn, it counts alone. */
static void shares_of(float drop, int trapezoid, double *kept, double *dropped) {
    double p = level_of(drop) / (double)RESOLUTION;
    *kept = *dropped = 1.0;
    if (!trapezoid) return;
    *kept = p > 0.0 && p < 1.0 ? 0.5 / (1.0 - p) : 1.0 - p;
    *dropped = p > 0.0 && p < 1.0 ? 0.5 / p : p;
}

/* Gradients of a mixture's parameters, (size,) each: d keep / d d = -1, straight through the mask,
   d noise / d keep = (sigma - scale) eps. What there is no gradient of is NULL. */
int EXPORT(mixture_backward)(int64_t rows, int64_t keep_rows, int64_t size, int trapezoid,
                             const float *d_keep, const float *d_noise, const float *keep,
                             const float *noise, const float *drop, const float *sigma,
                             const float *scale, float *by_drop, float *by_sigma,
                             float *by_scale) {
    double *sums = calloc(4 * size, sizeof(double)), *noisy = sums + 2 * size;
    int done = sums != NULL;
    if (done && d_keep) split_sums(keep_rows, keep_rows, size, d_keep, NULL, keep, sums);
    if (done && d_noise) split_sums(rows, keep_rows, size, d_noise, noise, keep, noisy);
    for (int64_t i = 0; done && i < size; i++) {
        double if_kept, if_dropped, gradient;
        shares_of(drop[i], trapezoid, &if_kept, &if_dropped);
        gradient = -(if_kept * (sums[i] - sums[size + i]) + if_dropped * sums[size + i]);
        if (d_noise) {
            double kept = (noisy[i] - noisy[size + i]) / sigma[i];
            double dropped = noisy[size + i] / scale[i];
            gradient += (scale[i] - sigma[i]) * (if_kept * kept + if_dropped * dropped);
            by_sigma[i] = (float)kept;
            by_scale[i] = (float)dropped;
        }
        by_drop[i] = (float)gradient;
    }
    free(sums);
    return done;
}
