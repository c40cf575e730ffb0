// The kernels for x86-64 with AVX-512 F, DQ, BW and VL: vectors of sixteen floats.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#include <immintrin.h>
#define VL 16
#define GEMM_ROWS 8
#define GEMM_VECTORS 4
#define PS_MASK_AVX512
#define PS_TABLE ps_avx512
#include "variant.h"
PS_TARGET_END
#endif
