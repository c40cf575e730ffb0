// Products of codes for x86-64 with AVX-512 and AVX512_VNNI.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")
#include <immintrin.h>
#define VL 16
#define PS_MASK_AVX512
#define PS_TABLE ps_dot512
#include "dot.h"
PS_TARGET_END
#endif
