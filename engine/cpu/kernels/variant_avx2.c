// The kernels for x86-64 with AVX2 and FMA: vectors of eight floats.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx2,fma")
#include <immintrin.h>
#define VL 8
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define PS_MASK_AVX2
#define PS_TABLE ps_avx2
#include "variant.h"
PS_TARGET_END
#endif
