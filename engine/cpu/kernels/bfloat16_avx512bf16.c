// The kernels on activations in bfloat16 for x86-64 with AVX-512 F, DQ, BW, VL and BF16.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma")
#include <immintrin.h>
#define VL 16
#define GEMM_ROWS 8
#define GEMM_VECTORS 4
#define PS_MASK_AVX512
#define PS_AVX512BF16
#define PS_PAIRS
#define PS_TABLE ps_avx512bf16_bf16
#include "bfloat16.h"
PS_TARGET_END
#endif
