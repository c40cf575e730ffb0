// The kernels for any machine: vectors of four floats, which are SSE2 on x86-64
// and NEON on arm64.
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#define VL 4
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define PS_TABLE ps_generic
#include "variant.h"
