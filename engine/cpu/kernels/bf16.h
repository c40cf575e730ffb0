// Vectors of bfloat16, the upper half of a float32: widened when they are read,
// rounded to the nearest, ties to even, when they are written. All instruction
// sets give the same bits.

typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef uint16_t vh_unaligned __attribute__((vector_size(VL * 2), aligned(2), may_alias));

// GCC makes five instructions of a conversion that is one.
INLINE vf wide(vh h) {
#if defined(PS_MASK_AVX512)
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif defined(PS_MASK_AVX2)
  return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
  return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

// The upper halves, after rounding by integers. A NaN stays one.
INLINE vh rounded_bits(vf v) {
  const vu u = (vu)v, up = u + 0x7fff + (u >> 16 & 1), nan = u | 0x400000;
  const vu m = (vu)(v != v), r = (m & nan) | (~m & up);
#if defined(PS_MASK_AVX512)
  return (vh)_mm512_cvtepi32_epi16((__m512i)(r >> 16));
#elif defined(PS_MASK_AVX2)
  const __m256i w = (__m256i)(r >> 16);
  return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(w, w), 0x08));
#else
  return __builtin_convertvector(r >> 16, vh);
#endif
}

#if defined(PS_AVX512BF16)
// VCVTNEPS2BF16 takes what is below the least normal number for zero: vectors
// with such numbers go the other way, so that the bits are those of all machines.
// It is no function of its own: a call, though never made, would cost the loops
// round it their registers.
INLINE vh rounded(vf v) {
  enum { DENORMAL = 0x20 };
  if (__builtin_expect(_mm512_fpclass_ps_mask((__m512)v, DENORMAL), 0)) return rounded_bits(v);
  return (vh)_mm512_cvtneps_pbh((__m512)v);
}
#else
INLINE vh rounded(vf v) { return rounded_bits(v); }
#endif

INLINE vf load_bf16(const bf16 *p) { return wide(*(const vh_unaligned *)p); }
INLINE void store_bf16(bf16 *p, vf v) { *(vh_unaligned *)p = rounded(v); }

// The first n at p, zeros behind; 0 < n < VL. Nothing behind is touched.
INLINE vf load_part_bf16(const bf16 *p, int64_t n) {
#if defined(PS_MASK_AVX512)
  return wide((vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
#else
  vh t = {0};
  memcpy(&t, p, n * sizeof *p);
  return wide(t);
#endif
}

INLINE void store_part_bf16(bf16 *p, int64_t n, vf v) {
#if defined(PS_MASK_AVX512)
  _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)rounded(v));
#else
  const vh t = rounded(v);
  memcpy(p, &t, n * sizeof *p);
#endif
}
