/* Which instruction sets of those compiled the processor has. */

#include "scan.h"

/* 4 for x86-64-v4 (AVX-512), 3 for x86-64-v3 (AVX2, FMA), 1 for any other kind of processor, 0 for
   an x86-64 that is older than these. */
int vand_level(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2");
    int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512cd");
    return v4 ? 4 : v3 ? 3 : 0;
#else
    return 1;
#endif
}

/* Bounds of `bounded` in vector.h, in a file of their own, where its callers cannot see them. With
   constants GCC (12) makes a clamp of two comparisons and two selections; with values that it does
   not know, of a minimum and a maximum, which are faster and let a NaN through as well. */
const float vand_exp_bounds[2] __attribute__((visibility("hidden"))) = {87.0f, -87.0f};

/* A check that the caller's arguments have the same layout. */
int64_t vand_arguments_size(void) { return sizeof(Scan); }

/* Hash of the sources. */
const char *vand_sources(void) { return VAND_SOURCES; }
