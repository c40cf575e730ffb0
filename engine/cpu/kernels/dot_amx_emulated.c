// dot_amx.c with its tiles in C: what tests hold to the other instruction sets where there is no AMX.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")
#include <immintrin.h>
#define VL 16
#define PS_MASK_AVX512
#define PS_TILES
#define PS_TILES_EMULATED
#define PS_TABLE ps_dottiles_emulated
#include "dot.h"
PS_TARGET_END
#endif
