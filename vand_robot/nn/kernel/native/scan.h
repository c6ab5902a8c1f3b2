/* What a scan is asked for; the same layout as `Arguments` in library.py. */

#ifndef VAND_SCAN_H
#define VAND_SCAN_H

#include <stdint.h>

typedef struct {
    int64_t cell, steps, batch, inputs, hidden, threads;
    int64_t fresh; /* whether d_path holds nothing yet, which stands for zeros; without lengths */
    int64_t stride_A, stride_B, stride_C, stride_keep; /* from step to step, 0: one for all */
    const int64_t *lengths; /* (B,) valid steps, or NULL for all; with them: */
    const int64_t *counts;  /* (T,) first sequences that are worked on at a step */
    const int64_t *offsets; /* (T,) sum of the counts before it */
    const float *x, *weight_ih, *weight_hh, *bias_ih, *bias_hh;
    const float *A, *B, *C, *keep; /* (T or 1, B, S) or NULL */
    float *path;  /* (T + 1, B, S) from h_0 on */
    float *output; /* (T, B, H) the hidden part of the states, zero at padding */
    float *acts;  /* (R, ACTS * H) packed: sum of the counts, or T B, rows */
    float *gates; /* (R, G) packed; NULL without keep, and where m is found by mu and the gap */
    float *gap;   /* (T, B, S) mu - m; NULL without keep */
    float *mu;    /* (T, B, S); NULL if the gradient of A is not asked for */
    float *d_path; /* (T + 1, B, S) gradient of every state */
    const float *d_output; /* (T, B, H), still to be added to it; NULL for none */
    const float *d_gap;
    float *d_x, *d_A, *d_C, *d_keep; /* NULL if not asked for */
    float *d_weight_ih, *d_weight_hh, *d_bias_ih, *d_bias_hh;
} Scan;

#endif
