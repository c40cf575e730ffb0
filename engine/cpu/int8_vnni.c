// The kernels of int8.h for x86-64 with AVX-512 VNNI.
#if defined(__x86_64__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")
#include <immintrin.h>
#define VL 16
#define PS_MASK_AVX512
#define PS_INT8
#include "int8.h"
#include "simd.h"

INLINE __mmask16 first(int64_t n) { return n >= 16 ? 0xFFFF : (__mmask16)((1u << n) - 1); }

typedef struct {
  float lo, hi;
} extent;

// The range of the weights of output channels [c0, c1).
static extent range_of(const quantize_args *a, int64_t c0, int64_t c1) {
  extent r = {a->w[c0], a->w[c0]};
  for (int64_t i = 0; i < a->i; i++)
    for (int64_t c = c0; c < c1; c++) {
      const float v = a->w[i * a->o + c];
      r.lo = v < r.lo ? v : r.lo;
      r.hi = v > r.hi ? v : r.hi;
    }
  return r;
}

void ps_quantize_weight(const void *args, int64_t task) {
  const quantize_args *a = args;
  const int64_t o0 = 16 * task, o1 = min64(o0 + 16, a->o), quads = (a->i + 3) / 4;
  uint8_t *codes = a->codes + task * quads * 64;
  memset(codes, 0, quads * 64);
  extent range = range_of(a, 0, a->o);
  for (int64_t o = o0; o < o1; o++) {
    if (a->per_channel) range = range_of(a, o, o + 1);
    const double low = range.lo, span = (double)range.hi - low;
    for (int64_t i = 0; i < a->i; i++) {
      const double q = span > 0 ? rint((a->w[i * a->o + o] - low) / span * 255) : 0;
      codes[(i / 4 * 16 + o - o0) * 4 + i % 4] = (uint8_t)((int)q - 128);
    }
    a->scale[o] = (float)(span / 255);
    a->shift[o] = (float)(low + 128 * (span / 255));
  }
}

// Rounds n values to bytes, with zeros behind up to a multiple of 16, and
// returns the bytes' sum, a NaN if there is one among the values.
INLINE float to_bytes(const float *x, int64_t n, __m512 steps, uint8_t *dst) {
  __m128i sum = _mm_setzero_si128(); // of each half
  __mmask16 nan = 0;
  for (int64_t c = 0; c < n; c += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(first(n - c), x + c), steps);
    const __m512 in = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255));
    const __m128i q = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(in)); // to nearest, ties to even
    sum = _mm_add_epi64(sum, _mm_sad_epu8(q, _mm_setzero_si128()));
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    _mm_storeu_si128((__m128i *)(dst + c), q);
  }
  return nan ? NAN : (float)(_mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 2));
}

// A tile has as many pixels as the registers hold beside `vectors` of codes; a
// pooled one has whole windows.
enum { INT8_ROWS = 8, INT8_VECTORS = 4 };

// Whole tiles live in registers only if their loops are gone early.
#define UNROLL _Pragma("GCC unroll 8")

// A product's operands: pixels and `vectors` vectors of output channels.
typedef struct {
  const uint8_t *bytes; // of the pixels, `stride` apart
  const float *sums;    // of each pixel's bytes
  const uint8_t *codes; // `group` apart for each vector
  const float *scale, *shift, *bias; // of the vectors' channels; bias may be null
  float *y;             // rows are `o` apart
  int64_t quads, stride, group, o;
  int64_t cols;         // channels that exist from the first on
  float unit;           // Max/255
} int8_tile;

// One tile: m pixels of x, the products of which are stored as they are
// (window = 1) or as the largest of four (window = 2).
INLINE void int8_step(const int m, const int vectors, const int window, const int8_tile *t, int64_t at) {
  const int each = window * window;
  const int64_t stride = t->stride, group = t->group, width = t->o, cols = t->cols;
  const uint8_t *x = t->bytes + at * stride, *b = t->codes;
  const float *sums = t->sums + at, *bias = t->bias;
  float *y = t->y + at / each * width;
  vi acc[INT8_ROWS][INT8_VECTORS]; // a __m512i may alias anything, and would be kept in memory
  UNROLL for (int r = 0; r < m; r++)
    UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = (vi){0};
  for (int64_t k = t->quads; k > 0; k--, x += 4, b += 64) {
    __m512i bv[INT8_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) bv[v] = _mm512_loadu_si512(b + v * group);
    UNROLL for (int r = 0; r < m; r++) {
      int32_t quad;
      memcpy(&quad, x + r * stride, 4);
      const __m512i xv = _mm512_set1_epi32(quad);
      UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = (vi)_mm512_dpbusd_epi32((__m512i)acc[r][v], xv, bv[v]);
    }
  }
  const __m512 unit = _mm512_set1_ps(t->unit);
  __m512 scale[INT8_VECTORS], shift[INT8_VECTORS], offset[INT8_VECTORS], largest[INT8_VECTORS];
  UNROLL for (int v = 0; v < vectors; v++) {
    const __mmask16 mask = first(cols - 16 * v);
    scale[v] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, t->scale + 16 * v), unit);
    shift[v] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, t->shift + 16 * v), unit);
    offset[v] = bias ? _mm512_maskz_loadu_ps(mask, bias + 16 * v) : _mm512_setzero_ps();
  }
  UNROLL for (int r = 0; r < m; r++) {
    const __m512 sum = _mm512_set1_ps(sums[r]);
    // A maximum may lose a NaN; a sum does not. Without one this is zero.
    const float nan = each > 1 && r % each == each - 1 ? (sums[r] + sums[r - 1] + sums[r - 2] + sums[r - 3]) * 0 : 0;
    UNROLL for (int v = 0; v < vectors; v++) {
      const __m512 p = _mm512_fmadd_ps(scale[v], _mm512_cvtepi32_ps((__m512i)acc[r][v]), _mm512_fmadd_ps(shift[v], sum, offset[v]));
      largest[v] = r % each == 0 ? p : _mm512_max_ps(largest[v], p);
      if (r % each < each - 1) continue;
      if (each > 1) largest[v] = _mm512_add_ps(largest[v], _mm512_set1_ps(nan));
      _mm512_mask_storeu_ps(y + r / each * width + 16 * v, first(cols - 16 * v), largest[v]);
    }
  }
}

// All tiles of a panel: full ones, then smaller ones by powers of two.
#define INT8_PANEL(NAME, V, W)                                                                  \
  static __attribute__((noinline)) void NAME(int64_t count, const int8_tile *t) {               \
    enum { M = V <= 2 ? INT8_ROWS : W == 1 ? 6 : 4 };                                           \
    int64_t at = 0;                                                                             \
    for (; at + M <= count; at += M) int8_step(M, V, W, t, at);                                 \
    for (; at + 4 <= count; at += 4) int8_step(4, V, W, t, at);                                 \
    if (W == 2) return;                                                                         \
    for (; at + 2 <= count; at += 2) int8_step(2, V, 1, t, at);                                 \
    if (at < count) int8_step(1, V, 1, t, at);                                                  \
  }
INT8_PANEL(int8_1, 1, 1)
INT8_PANEL(int8_2, 2, 1)
INT8_PANEL(int8_3, 3, 1)
INT8_PANEL(int8_4, 4, 1)
INT8_PANEL(int8_1_pool, 1, 2)
INT8_PANEL(int8_2_pool, 2, 2)
INT8_PANEL(int8_3_pool, 3, 2)
INT8_PANEL(int8_4_pool, 4, 2)

// Where the first pixel of x lies that pixel p of y is made of.
INLINE int64_t source(const pointwise_int8_args *a, int64_t p) {
  if (a->window == 1) return p;
  const int64_t n = p / (a->oh * a->ow), i = p / a->ow % a->oh, j = p % a->ow;
  return (n * a->h + 2 * i) * a->w + 2 * j;
}

void ps_pointwise_int8(const void *args, int64_t task) {
  static void (*const panels[2][INT8_VECTORS])(int64_t, const int8_tile *) = {
      {int8_1, int8_2, int8_3, int8_4}, {int8_1_pool, int8_2_pool, int8_3_pool, int8_4_pool}};
  const pointwise_int8_args *a = args;
  TASK_RANGE(lo, hi, task, a->block, a->pixels);
  uint8_t bytes[PS_INT8_BYTES] __attribute__((aligned(64)));
  float sums[PS_INT8_BYTES / 16];
  const int64_t channels = a->i, stride = (channels + 15) / 16 * 16, quads = (channels + 3) / 4, group = quads * 64;
  const int64_t window = a->window, row = a->w * channels;
  const __m512 steps = _mm512_set1_ps((float)(255 / a->max));
  int64_t count = 0;
  for (int64_t p = lo; p < hi; p++) {
    const float *x = a->x + source(a, p) * channels;
    for (int64_t u = 0; u < window; u++, x += row)
      for (int64_t v = 0; v < window; v++, count++)
        sums[count] = to_bytes(x + v * channels, channels, steps, bytes + count * stride);
  }
  for (int64_t o = 0, vectors; o < a->o; o += 16 * vectors) {
    vectors = min64((a->o - o + 15) / 16, INT8_VECTORS);
    const int8_tile t = {bytes, sums, a->codes + o / 16 * group, a->scale + o, a->shift + o, a->bias ? a->bias + o : NULL,
                         a->y + lo * a->o + o, quads, stride, group, a->o, a->o - o, (float)(a->max / 255)};
    panels[window - 1][vectors - 1](count, &t);
  }
}
PS_TARGET_END

int ps_has_int8(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vnni") != 0;
}
#else
#include "int8.h"
int ps_has_int8(void) { return 0; }
#endif
