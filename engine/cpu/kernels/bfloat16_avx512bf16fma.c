// The products on activations in bfloat16 for x86-64 with AVX-512 F, DQ, BW, VL and BF16
// where multiply-adds of float32 are as fast as dot products of pairs (gemm_wide.h):
// results alone are rounded by AVX512_BF16. The other kernels are those of
// bfloat16_avx512bf16.c.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma")
#include <immintrin.h>
#define VL 16
#define GEMM_ROWS 8
#define GEMM_VECTORS 4
#define PS_MASK_AVX512
#define PS_AVX512BF16
#define PS_BFLOAT16
#define PS_WIDE
#pragma GCC diagnostic ignored "-Wunused-function" // what products do not call
#include "kernels.h"
#include "simd.h"

#include "activation.h"
#include "gemm.h"
#include "gemm_weight.h"

const ps_kernel ps_avx512bf16fma_bf16[PS_KERNEL_COUNT] = {[ps_k_pack] = pack, [ps_k_igemm] = igemm, [ps_k_wgrad] = wgrad};
PS_TARGET_END
#endif
