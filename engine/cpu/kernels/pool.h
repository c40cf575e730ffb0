// A pool of threads that runs command lists.
#ifndef POTSTILL_POOL_H
#define POTSTILL_POOL_H
#include "kernels.h"

typedef struct ps_pool ps_pool;

// A pool of n threads, the caller of ps_run among them, and the kernels of a level,
// those of level 0 where this build has no such level; null if a thread cannot be
// started. With dot, products of codes are computed by instructions for four products of
// bytes: level 2 and above by AVX512_VNNI, level 1 by AVX-VNNI, on arm64 by FEAT_DotProd.
ps_pool *ps_pool_new(int n, int level, int dot);
void ps_pool_free(ps_pool *);

// Runs the commands in order, the tasks of each on all threads, and returns
// when the last is done. One caller at a time.
void ps_run(ps_pool *, const ps_command *commands, int64_t n);

// 3: AVX-512 with AVX512_BF16, 2: AVX-512, 1: AVX2 and FMA, 0: none of these. 4 is 3
// with matrix products by multiply-adds of float32: Intel's processors take two cycles
// for a dot product of pairs, and do two multiply-adds of as many numbers in these.
int ps_level(void);
// Which products of four bytes the machine has: on x86-64 2 is AVX512_VNNI, plus 1 is AVX-VNNI; on
// arm64 1 is FEAT_DotProd.
int ps_dots(void);
int ps_kernel_count(void);
const char *ps_kernel_name(int);
#endif
