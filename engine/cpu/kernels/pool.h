// A pool of threads that runs command lists.
#ifndef POTSTILL_POOL_H
#define POTSTILL_POOL_H
#include "kernels.h"

typedef struct ps_pool ps_pool;

// A pool of n threads, the caller of ps_run among them, and the kernels of a level,
// those of level 0 where this build has no such level; null if a thread cannot be
// started. With PS_BY_DOTS, products of codes are computed by instructions for four products of
// bytes: level 2 and above by AVX512_VNNI, level 1 by AVX-VNNI, on arm64 by FEAT_DotProd. With
// PS_BY_TILES they are computed by AMX-INT8, with PS_BY_EMULATED_TILES as it would, slowly, on any
// processor with AVX512_VNNI.
enum { PS_BY_PAIRS, PS_BY_DOTS, PS_BY_TILES, PS_BY_EMULATED_TILES };
ps_pool *ps_pool_new(int n, int level, int by);
void ps_pool_free(ps_pool *);

// Runs the commands in order, the tasks of each on all threads, and returns
// when the last is done. One caller at a time.
void ps_run(ps_pool *, const ps_command *commands, int64_t n);

// 3: AVX-512 with AVX512_BF16, 2: AVX-512, 1: AVX2 and FMA, 0: none of these. 4 is 3
// with matrix products by multiply-adds of float32: Intel's processors take two cycles
// for a dot product of pairs, and do two multiply-adds of as many numbers in these.
int ps_level(void);
// Which products of four bytes the machine has: on x86-64 4 is AMX-INT8, which the system is asked
// for, 2 AVX512_VNNI, 1 AVX-VNNI, added up; on arm64 1 is FEAT_DotProd.
int ps_dots(void);
int ps_kernel_count(void);
const char *ps_kernel_name(int);
#endif
