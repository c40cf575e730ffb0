// Products of codes for x86-64 with AVX2 and AVX-VNNI.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avxvnni,avx2,fma")
#include <immintrin.h>
#define VL 8
#define PS_MASK_AVX2
#define PS_TABLE ps_dot256
#include "dot.h"
PS_TARGET_END
#endif
