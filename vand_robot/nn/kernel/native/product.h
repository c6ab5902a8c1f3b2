/* Matrix products: out = base + a b with b packed once, and out += a' b over many rows.

   Every element is summed in the order of the inner index, whatever the number of rows and
   whichever tile it falls into, so cutting a batch in parts changes nothing. */

#ifndef VAND_PRODUCT_H
#define VAND_PRODUCT_H

#include "vector.h"

#define DEPTH 512 /* inner indices that are done at once: a panel of them fits the second cache */

#define EVEN_SPLIT (TILE_ROWS / 3 * 4) /* rows that are two tiles of a half, not a whole and a rest */

/* A matrix (depth, width), panel after panel of PANEL columns, zero past its width. */
typedef struct {
    const float *panels;
    int depth, width;
} Packed;

INLINE size_t packed_size(int depth, int width) {
    return (size_t)((width + PANEL - 1) / PANEL) * PANEL * depth;
}

/* Pack b, or its transpose: from is (depth, width), or with `turned` (width, depth). */
static Packed pack(float *to, const float *from, int turned, int depth, int width) {
    Packed packed = {to, depth, width};
    for (int start = 0; start < width; start += PANEL, to += (size_t)PANEL * depth) {
        int columns = width - start < PANEL ? width - start : PANEL;
        if (columns < PANEL) memset(to, 0, sizeof(float) * PANEL * depth);
        if (turned)
            for (int j = 0; j < columns; j++) {
                const float *row = from + (size_t)(start + j) * depth;
                for (int k = 0; k < depth; k++) to[(size_t)k * PANEL + j] = row[k];
            }
        else
            for (int k = 0; k < depth; k++)
                memcpy(to + (size_t)k * PANEL, from + (size_t)k * width + start,
                       sizeof(float) * columns);
    }
    return packed;
}

/* What a product is added to: rows of it, `stride` apart (0: one row for all); NULL for zero. */
typedef struct {
    const float *rows;
    size_t stride;
} Base;

/* One tile of `rows` rows and `panels` panels, all columns there. */
INLINE void tile(const int rows, const int panels, int depth, const float *a, size_t stride_a,
                 const float *b, size_t stride_b, Base base, float *out, size_t stride_out) {
    vec sum[TILE_ROWS][8];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++)
            sum[i][j] = base.rows ? load(base.rows + i * base.stride + j * LANES) : (vec){0};
    for (int k = 0; k < depth; k++) {
        vec column[8];
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++)
            column[j] = load(b + (size_t)(j / 2) * stride_b + (size_t)k * PANEL + j % 2 * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            float factor = a[i * stride_a + k];
#pragma GCC unroll 8
            for (int j = 0; j < 2 * panels; j++) sum[i][j] += factor * column[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++)
            store(out + i * stride_out + j * LANES, sum[i][j]);
}

/* The same where the last panel has but `columns` of its columns. */
INLINE void edge_tile(const int rows, int columns, int depth, const float *a, size_t stride_a,
                      const float *b, Base base, float *out, size_t stride_out) {
    float copy[TILE_ROWS * PANEL] = {0};
    Base copied = {base.rows ? copy : NULL, PANEL};
    if (base.rows)
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) copy[i * PANEL + j] = base.rows[i * base.stride + j];
    tile(rows, 1, depth, a, stride_a, b, 0, copied, copy, PANEL);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) out[i * stride_out + j] = copy[i * PANEL + j];
}

/* `rows` rows, all columns: few rows take several panels at once, to have enough sums going. */
INLINE void strip(const int rows, const int panels, int depth, const float *a, size_t stride_a,
                  const float *b, size_t stride_b, int width, Base base, float *out,
                  size_t stride_out) {
    int j = 0;
    for (; j + panels * PANEL <= width; j += panels * PANEL) {
        Base here = {base.rows ? base.rows + j : NULL, base.stride};
        tile(rows, panels, depth, a, stride_a, b + j / PANEL * stride_b, stride_b, here, out + j,
             stride_out);
    }
    for (; j < width; j += PANEL) {
        Base here = {base.rows ? base.rows + j : NULL, base.stride};
        const float *panel = b + j / PANEL * stride_b;
        if (width - j >= PANEL)
            tile(rows, 1, depth, a, stride_a, panel, 0, here, out + j, stride_out);
        else
            edge_tile(rows, width - j, depth, a, stride_a, panel, here, out + j, stride_out);
    }
}

/* One panel, all rows: the panel stays in the cache. */
static void column_of_tiles(int rows, int depth, const float *a, size_t stride_a, const float *b,
                            int columns, Base base, float *out, size_t stride_out) {
    for (int i = 0; i < rows;) {
        int left = rows - i, done = 1;
        Base here = {base.rows ? base.rows + i * base.stride : NULL, base.stride};
        const float *from = a + i * stride_a;
        float *to = out + i * stride_out;
#define ROWS(n)                                                                                \
    if (left >= (n)) {                                                                         \
        done = (n);                                                                            \
        if (columns == PANEL)                                                                  \
            tile(n, 1, depth, from, stride_a, b, 0, here, to, stride_out);                     \
        else                                                                                   \
            edge_tile(n, columns, depth, from, stride_a, b, here, to, stride_out);             \
    }
        if (left == EVEN_SPLIT) left = EVEN_SPLIT / 2;
        ROWS(TILE_ROWS)
        else ROWS(TILE_ROWS * 2 / 3)
        else ROWS(4)
        else ROWS(2)
        else ROWS(1)
#undef ROWS
        i += done;
    }
}

/* out (rows, width) = base + a (rows, depth) b. */
static void product(int rows, const float *a, size_t stride_a, Packed b, Base base, float *out,
                    size_t stride_out) {
    size_t stride_b = (size_t)b.depth * PANEL;
    for (int start = 0; start < b.depth; start += DEPTH) {
        int depth = b.depth - start < DEPTH ? b.depth - start : DEPTH;
        const float *panels = b.panels + (size_t)start * PANEL, *from = a + start;
        if (rows == 1)
            strip(1, 4, depth, from, stride_a, panels, stride_b, b.width, base, out, stride_out);
        else if (rows == 2)
            strip(2, LANES == 8 ? 1 : 2, depth, from, stride_a, panels, stride_b, b.width, base,
                  out, stride_out);
        else
            for (int j = 0; j < b.width; j += PANEL) {
                Base here = {base.rows ? base.rows + j : NULL, base.stride};
                int columns = b.width - j < PANEL ? b.width - j : PANEL;
                column_of_tiles(rows, depth, from, stride_a, panels + j / PANEL * stride_b,
                                columns, here, out + j, stride_out);
            }
        base = (Base){out, stride_out};
    }
    if (!b.depth)
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < b.width; j++)
                out[i * stride_out + j] = base.rows ? base.rows[i * base.stride + j] : 0.0f;
}

#define OUTER_DEPTH 256 /* rows that are summed at once: their panels fit the second cache */
#define OUTER_COLUMNS 48 /* columns of a that are copied at once, of several tiles */
#define FEW_PANELS 2 /* of b, for which it does not pay to copy a */

/* One tile of out += a' b: `rows` columns of a, one packed panel of b, or one half of it. */
INLINE void outer_tile(const int rows, const int vectors, int depth, const float *a,
                       size_t stride_a, const float *b, float *out, size_t stride_out) {
    vec sum[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = load(out + i * stride_out + j * LANES);
    for (int k = 0; k < depth; k++) {
        vec left = load(b + (size_t)k * PANEL), right = left;
        if (vectors > 1) right = load(b + (size_t)k * PANEL + LANES);
        const float *row = a + k * stride_a;
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            sum[i][0] += row[i] * left;
            if (vectors > 1) sum[i][1] += row[i] * right;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) store(out + i * stride_out + j * LANES, sum[i][j]);
}

/* The same of up to TILE_ROWS columns of a. */
INLINE void outer_tiles(const int vectors, int rows, int depth, const float *a, size_t stride_a,
                        const float *b, float *out, size_t stride_out) {
    if (rows == TILE_ROWS) {
        outer_tile(TILE_ROWS, vectors, depth, a, stride_a, b, out, stride_out);
        return;
    }
    int i = 0;
    for (; i + 4 <= rows; i += 4)
        outer_tile(4, vectors, depth, a + i, stride_a, b, out + i * stride_out, stride_out);
    for (; i + 2 <= rows; i += 2)
        outer_tile(2, vectors, depth, a + i, stride_a, b, out + i * stride_out, stride_out);
    if (i < rows)
        outer_tile(1, vectors, depth, a + i, stride_a, b, out + i * stride_out, stride_out);
}

/* Pack rows that lie anywhere, panel after panel, zero past their width. */
static void pack_rows(float *panels, const float *const *rows, int depth, int width) {
    for (int k = 0; k < depth; k++) {
        float *to = panels + (size_t)k * PANEL;
        int j = 0;
        for (; j + PANEL <= width; j += PANEL, to += (size_t)depth * PANEL) {
            store(to, load(rows[k] + j));
            store(to + LANES, load(rows[k] + j + LANES));
        }
        if (j == width) continue;
        memset(to, 0, sizeof(float) * PANEL);
        memcpy(to, rows[k] + j, sizeof(float) * (width - j));
    }
}

/* Copy columns of a, (depth, columns), tile after tile, so that a tile lies in one piece. */
static void pack_columns(float *tiles, const float *a, size_t stride_a, int depth, int columns) {
    for (int k = 0; k < depth; k++, a += stride_a, tiles += TILE_ROWS) {
        int i = 0;
        for (; i + TILE_ROWS <= columns; i += TILE_ROWS)
            memcpy(tiles + (size_t)i * depth, a + i, sizeof(float) * TILE_ROWS);
        for (int j = i; j < columns; j++) tiles[(size_t)i * depth + j - i] = a[j];
    }
}

/* out (height, padded width) += a' b: a (depth, height), b (depth, width) with rows anywhere.

   out has rows of `stride_out` floats, PANEL times the number of panels of b. Scratch: `panels`,
   as many floats times OUTER_DEPTH or `depth`, whichever is less. */
static void outer_product(int depth, const float *a, size_t stride_a, int height,
                          const float *const *b, int width, float *out, size_t stride_out,
                          float *panels) {
    float copy[OUTER_COLUMNS * OUTER_DEPTH];
    int copies = width > FEW_PANELS * PANEL;
    for (int start = 0; start < depth; start += OUTER_DEPTH, a += OUTER_DEPTH * stride_a) {
        int now = depth - start < OUTER_DEPTH ? depth - start : OUTER_DEPTH;
        pack_rows(panels, b + start, now, width);
        for (int i = 0; i < height; i += OUTER_COLUMNS) {
            int columns = height - i < OUTER_COLUMNS ? height - i : OUTER_COLUMNS;
            if (copies) pack_columns(copy, a + i, stride_a, now, columns);
            for (int j = 0; j < width; j += PANEL)
                for (int first = 0; first < columns; first += TILE_ROWS) {
                    int rows = columns - first < TILE_ROWS ? columns - first : TILE_ROWS;
                    const float *from = copies ? copy + (size_t)first * now : a + i + first;
                    size_t stride = copies ? TILE_ROWS : stride_a;
                    float *to = out + (i + first) * stride_out + j;
                    const float *panel = panels + (size_t)j * now;
                    if (width - j > LANES)
                        outer_tiles(2, rows, now, from, stride, panel, to, stride_out);
                    else
                        outer_tiles(1, rows, now, from, stride, panel, to, stride_out);
                }
        }
    }
}

#endif
