// Codes in uint8: engine.Codes has the rounding. Products and sums of floats that
// stand beside each other must not be contracted to a fused multiply-add, which
// rounds once: between a product and a sum there is a comparison, or ROUNDED.

typedef uint8_t vb __attribute__((vector_size(VL)));
typedef uint8_t vb_unaligned __attribute__((vector_size(VL), aligned(1), may_alias));

// n codes at p as integers, zeros behind them; n ≤ VL is not more.
INLINE vi load_codes(const uint8_t *p, int64_t n) {
  vb b = {0};
  if (n >= VL) b = *(const vb_unaligned *)p;
  else
    for (int64_t i = 0; i < n; i++) b[i] = p[i];
#if defined(PS_MASK_AVX512)
  return (vi)_mm512_cvtepu8_epi32((__m128i)b);
#elif defined(PS_MASK_AVX2)
  return (vi)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)b));
#else
  return __builtin_convertvector(b, vi);
#endif
}

INLINE void store_codes(uint8_t *p, int64_t n, vi q) {
#if defined(PS_MASK_AVX512)
  if (n >= VL) _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)q));
  else _mm512_mask_cvtepi32_storeu_epi8(p, (__mmask16)((1u << n) - 1), (__m512i)q);
#else
#if defined(PS_MASK_AVX2)
  const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)q), _mm256_extracti128_si256((__m256i)q, 1));
  const vb b = (vb)_mm_cvtsi128_si64(_mm_packus_epi16(half, half));
#else
  const vb b = __builtin_convertvector(q, vb);
#endif
  if (n >= VL) *(vb_unaligned *)p = b;
  else
    for (int64_t i = 0; i < n; i++) p[i] = b[i];
#endif
}

INLINE vf as_floats(vi v) {
#if defined(PS_MASK_AVX512)
  return (vf)_mm512_cvtepi32_ps((__m512i)v);
#elif defined(PS_MASK_AVX2)
  return (vf)_mm256_cvtepi32_ps((__m256i)v);
#else
  return __builtin_convertvector(v, vf);
#endif
}

INLINE vi as_ints(vf v) {
#if defined(PS_MASK_AVX512)
  return (vi)_mm512_cvtps_epi32((__m512)v);
#elif defined(PS_MASK_AVX2)
  return (vi)_mm256_cvtps_epi32((__m256)v);
#else
  return __builtin_convertvector(v, vi);
#endif
}

INLINE vi splat_int(int32_t x) { return x - (vi){0}; }

// The codes of v, with least = lo-zero and most = hi-zero. A NaN becomes the least.
INLINE vi codes_of(vf v, float least, float most, int32_t zero) {
#if defined(PS_MASK_AVX512) // the second operand is what comes of a NaN
  v = (vf)_mm512_min_ps(_mm512_max_ps((__m512)v, (__m512)splat(least)), (__m512)splat(most));
#elif defined(PS_MASK_AVX2)
  v = (vf)_mm256_min_ps(_mm256_max_ps((__m256)v, (__m256)splat(least)), (__m256)splat(most));
#else
  v = pick(v >= splat(least), v, splat(least));
  v = pick(v > splat(most), splat(most), v);
#endif
#if defined(PS_MASK_AVX512) || defined(PS_MASK_AVX2)
  return as_ints(v) + splat_int(zero);
#else
  return as_ints(nearest(v)) + splat_int(zero);
#endif
}

#define CODES_OF(a, v) codes_of(v, (float)((a)->lo - (a)->yzero), (float)((a)->hi - (a)->yzero), (int32_t)(a)->yzero)

static void quantize(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const float *x = a->x;
  uint8_t *y = a->y;
  for (int64_t i = lo; i < hi; i += VL) store_codes(y + i, hi - i, CODES_OF(a, load_n(x + i, hi - i) / splat(a->m)));
}

static void dequantize(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x;
  float *y = a->y;
  for (int64_t i = lo; i < hi; i += VL)
    store_n(y + i, hi - i, as_floats(load_codes(x + i, hi - i) - splat_int(a->xzero)) * splat(a->m));
}

static void lookup(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x, *table = a->b;
  uint8_t *y = a->y;
  for (int64_t i = lo; i < hi; i++) y[i] = table[x[i]];
}
