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
  __m512 sum = _mm512_setzero_ps();
  for (int64_t c = 0; c < n; c += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(first(n - c), x + c), steps);
    // Both return the second operand where one is a NaN.
    const __m512 in = _mm512_min_ps(_mm512_set1_ps(255), _mm512_max_ps(_mm512_setzero_ps(), v));
    const __m512 q = _mm512_roundscale_ps(in, _MM_FROUND_TO_NEAREST_INT);
    sum = _mm512_add_ps(sum, q);
    _mm_storeu_si128((__m128i *)(dst + c), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(q)));
  }
  return _mm512_reduce_add_ps(sum);
}

enum { INT8_ROWS = 8, INT8_VECTORS = 4 };

// The pixels of a tile: what the registers hold beside `vectors` of codes.
INLINE int int8_rows(int vectors) { return vectors > 2 ? 6 : INT8_ROWS; }

// Whole tiles live in registers only if their loops are gone early.
#define UNROLL _Pragma("GCC unroll 8")

// A product's operands: m pixels and `vectors` vectors of output channels.
typedef struct {
  const pointwise_int8_args *a;
  const uint8_t *bytes; // of the pixels, `stride` apart
  const float *sums;    // of the bytes
  float *y;
  int64_t stride, start; // start: the first output channel
  float unit;            // Max/255
} int8_tile;

INLINE void int8_step(const int m, const int vectors, const int8_tile *t, int64_t at) {
  const pointwise_int8_args *a = t->a;
  const int64_t quads = (a->i + 3) / 4, group = quads * 64;
  const uint8_t *x = t->bytes + at * t->stride, *b = a->codes + t->start / 16 * group;
  vi acc[INT8_ROWS][INT8_VECTORS]; // a __m512i may alias anything, and would be kept in memory
  UNROLL for (int r = 0; r < m; r++)
    UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = (vi){0};
  for (int64_t k = 0; k < quads; k++, x += 4, b += 64) {
    __m512i bv[INT8_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) bv[v] = _mm512_loadu_si512(b + v * group);
    UNROLL for (int r = 0; r < m; r++) {
      int32_t quad;
      memcpy(&quad, x + r * t->stride, 4);
      const __m512i xv = _mm512_set1_epi32(quad);
      UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = (vi)_mm512_dpbusd_epi32((__m512i)acc[r][v], xv, bv[v]);
    }
  }
  UNROLL for (int v = 0; v < vectors; v++) {
    const int64_t o = t->start + 16 * v;
    const __mmask16 mask = first(a->o - o);
    const __m512 unit = _mm512_set1_ps(t->unit);
    const __m512 scale = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a->scale + o), unit);
    const __m512 shift = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a->shift + o), unit);
    const __m512 bias = a->bias ? _mm512_maskz_loadu_ps(mask, a->bias + o) : _mm512_setzero_ps();
    UNROLL for (int r = 0; r < m; r++) {
      const __m512 rest = _mm512_fmadd_ps(shift, _mm512_set1_ps(t->sums[at + r]), bias);
      const __m512 y = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps((__m512i)acc[r][v]), rest);
      _mm512_mask_storeu_ps(t->y + (at + r) * a->o + o, mask, y);
    }
  }
}

// All tiles of a panel: full ones, then single pixels by the largest powers of two.
#define INT8_PANEL(NAME, V)                                                                                     \
  static __attribute__((noinline)) void NAME(int64_t count, const int8_tile *t) {                               \
    int64_t at = 0;                                                                                             \
    for (; at + int8_rows(V) <= count; at += int8_rows(V)) int8_step(int8_rows(V), V, t, at);                   \
    for (; at + 4 <= count; at += 4) int8_step(4, V, t, at);                                                    \
    for (; at + 2 <= count; at += 2) int8_step(2, V, t, at);                                                    \
    for (; at < count; at++) int8_step(1, V, t, at);                                                            \
  }
INT8_PANEL(int8_1, 1)
INT8_PANEL(int8_2, 2)
INT8_PANEL(int8_3, 3)
INT8_PANEL(int8_4, 4)

void ps_pointwise_int8(const void *args, int64_t task) {
  const pointwise_int8_args *a = args;
  TASK_RANGE(lo, hi, task, a->block, a->pixels);
  uint8_t bytes[PS_INT8_BYTES] __attribute__((aligned(64)));
  float sums[PS_INT8_BYTES / 16];
  int8_tile t = {a, bytes, sums, a->y + lo * a->o, (a->i + 15) / 16 * 16, 0, (float)(a->max / 255)};
  const __m512 steps = _mm512_set1_ps((float)(255 / a->max));
  for (int64_t p = lo; p < hi; p++)
    sums[p - lo] = to_bytes(a->x + p * a->i, a->i, steps, bytes + (p - lo) * t.stride);
  for (int64_t vectors; t.start < a->o; t.start += 16 * vectors) {
    vectors = min64((a->o - t.start + 15) / 16, INT8_VECTORS);
    switch (vectors) {
      case 1: int8_1(hi - lo, &t); break;
      case 2: int8_2(hi - lo, &t); break;
      case 3: int8_3(hi - lo, &t); break;
      default: int8_4(hi - lo, &t);
    }
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
