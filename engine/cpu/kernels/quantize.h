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

// What numbers are rounded to: codes from lo to hi, with least = lo-zero and
// most = hi-zero. Kernels make it once: the codes that they store might, for all that C
// knows, change their arguments.
typedef struct {
  vf least, most;
  vi zero, zeros, lows; // zeros in words of 16 bits, lows in bytes
} qcoder;

INLINE qcoder coder_of(int64_t lo, int64_t hi, int64_t zero) {
  return (qcoder){splat((float)(lo - zero)), splat((float)(hi - zero)), splat_int((int32_t)zero), splat_int((int32_t)(zero * 0x10001)),
                  splat_int((int32_t)((uint32_t)lo * 0x1010101u))};
}
#define CODER(a) coder_of((a)->lo, (a)->hi, (a)->yzero)

// The codes of v. A NaN becomes the least.
INLINE vi codes_of(const qcoder *c, vf v) {
#if defined(PS_MASK_AVX512) // the second operand is what comes of a NaN
  v = (vf)_mm512_min_ps(_mm512_max_ps((__m512)v, (__m512)c->least), (__m512)c->most);
#elif defined(PS_MASK_AVX2)
  v = (vf)_mm256_min_ps(_mm256_max_ps((__m256)v, (__m256)c->least), (__m256)c->most);
#else
  v = pick(v >= c->least, v, c->least);
  v = pick(v > c->most, c->most, v);
#endif
#if defined(PS_MASK_AVX512) || defined(PS_MASK_AVX2)
  return as_ints(v) + c->zero;
#else
  return as_ints(nearest(v)) + c->zero;
#endif
}

// Stores the codes of four vectors at four places, which follow each other where
// `together`. On x86-64 the vectors are packed with saturation, so that there is nothing
// to bound below before that: the least integer becomes code 0, and this the least code.
// It is also what a NaN is converted to, which the minimum lets through.
INLINE void store_four(uint8_t *const y[4], const qcoder *c, const vf v[4], const int together) {
#if defined(PS_MASK_AVX512)
  __m512i q[4];
  for (int i = 0; i < 4; i++) q[i] = _mm512_cvtps_epi32(_mm512_min_ps((__m512)c->most, (__m512)v[i]));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), (__m512i)c->zeros);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), (__m512i)c->zeros);
  const __m512i codes = _mm512_max_epu8(_mm512_packus_epi16(low, high), (__m512i)c->lows);
  const __m512i b = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), codes);
  if (together) {
    _mm512_storeu_si512(y[0], b);
    return;
  }
  _mm_storeu_si128((__m128i *)y[0], _mm512_castsi512_si128(b));
  _mm_storeu_si128((__m128i *)y[1], _mm512_extracti32x4_epi32(b, 1));
  _mm_storeu_si128((__m128i *)y[2], _mm512_extracti32x4_epi32(b, 2));
  _mm_storeu_si128((__m128i *)y[3], _mm512_extracti32x4_epi32(b, 3));
#elif defined(PS_MASK_AVX2)
  __m256i q[4];
  for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_min_ps((__m256)c->most, (__m256)v[i]));
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]), (__m256i)c->zeros);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(q[2], q[3]), (__m256i)c->zeros);
  const __m256i codes = _mm256_max_epu8(_mm256_packus_epi16(low, high), (__m256i)c->lows);
  const __m256i b = _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  if (together) {
    _mm256_storeu_si256((__m256i *)y[0], b);
    return;
  }
  const __m128i first = _mm256_castsi256_si128(b), second = _mm256_extracti128_si256(b, 1);
  _mm_storel_epi64((__m128i *)y[0], first);
  _mm_storeh_pd((double *)y[1], _mm_castsi128_pd(first));
  _mm_storel_epi64((__m128i *)y[2], second);
  _mm_storeh_pd((double *)y[3], _mm_castsi128_pd(second));
#else
  (void)together;
  for (int i = 0; i < 4; i++) store_codes(y[i], VL, codes_of(c, v[i]));
#endif
}

static void quantize(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const float *x = a->x;
  uint8_t *y = a->y;
  const qcoder coder = CODER(a);
  const vf m = splat(a->m);
  int64_t i = lo;
  for (; i + 4 * VL <= hi; i += 4 * VL) {
    vf v[4];
    uint8_t *to[4];
    for (int k = 0; k < 4; k++) v[k] = load(x + i + k * VL) / m, to[k] = y + i + k * VL;
    store_four(to, &coder, v, 1);
  }
  for (; i < hi; i += VL) store_codes(y + i, hi - i, codes_of(&coder, load_n(x + i, hi - i) / m));
}

static void dequantize(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x;
  float *y = a->y;
  const vi zero = splat_int((int32_t)a->xzero);
  const vf m = splat(a->m);
  for (int64_t i = lo; i < hi; i += VL) store_n(y + i, hi - i, as_floats(load_codes(x + i, hi - i) - zero) * m);
}

static void lookup(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x, *table = a->b;
  uint8_t *y = a->y;
  for (int64_t i = lo; i < hi; i++) y[i] = table[x[i]];
}
