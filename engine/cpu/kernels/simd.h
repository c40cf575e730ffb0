// Vectors of VL floats, in GCC's and Clang's vector extensions, so that one
// text serves every instruction set. A file that includes the kernels defines
// VL and, where the instruction set has masked moves, PS_MASK_AVX512 or
// PS_MASK_AVX2.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vf load_f32(const float *p) { return *(const vf_unaligned *)p; }
INLINE void store_f32(float *p, vf v) { *(vf_unaligned *)p = v; }
INLINE vf splat(float x) { return x - (vf){0}; }

// ROUNDED has the product v rounded to float32, where the compiler could make one
// multiply-add of it and of the sum that it goes into.
#if defined(__x86_64__)
#define ROUNDED(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define ROUNDED(v) __asm__("" : "+w"(v))
#else
#define ROUNDED(v) __asm__("" : "+m"(v))
#endif

// The first n floats at p, zeros behind; 0 < n < VL. Nothing behind is touched.
INLINE vf load_part_f32(const float *p, int64_t n) {
#if defined(PS_MASK_AVX512)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(PS_MASK_AVX2)
  static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(mask + 8 - n)));
#else
  float t[VL] = {0};
  for (int64_t i = 0; i < n; i++) t[i] = p[i];
  return load_f32(t);
#endif
}

INLINE void store_part_f32(float *p, int64_t n, vf v) {
#if defined(PS_MASK_AVX512)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(PS_MASK_AVX2)
  static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(mask + 8 - n)), (__m256)v);
#else
  float t[VL];
  store_f32(t, v);
  for (int64_t i = 0; i < n; i++) p[i] = t[i];
#endif
}

#include "bf16.h"

// One element, and one that is rounded to what p points at.
INLINE float get_f32(const float *p) { return *p; }
INLINE void put_f32(float *p, float v) { *p = v; }
INLINE float get_bf16(const bf16 *p) { return load_part_bf16(p, 1)[0]; }
INLINE void put_bf16(bf16 *p, float v) { store_part_bf16(p, 1, splat(v)); }
#define get(p) PS_BY_TYPE(p, get)(p)
#define put(p, v) PS_BY_STORE(p, put)(p, v)

// What a pointer's type says: n elements at p in float32, n ≤ VL, and a vector
// rounded to the type of what is at p.
#define PS_BY_TYPE(p, name) \
  _Generic((p), float *: name##_f32, const float *: name##_f32, bf16 *: name##_bf16, const bf16 *: name##_bf16)
#define load(p) PS_BY_TYPE(p, load)(p)
#define load_part(p, n) PS_BY_TYPE(p, load_part)(p, n)
#define load_n(p, n) PS_BY_TYPE(p, load_n)(p, n)
#define store(p, v) PS_BY_STORE(p, store)(p, v)
#define store_part(p, n, v) PS_BY_STORE(p, store_part)(p, n, v)
#define store_n(p, n, v) PS_BY_STORE(p, store_n)(p, n, v)
#define PS_BY_STORE(p, name) _Generic((p), float *: name##_f32, bf16 *: name##_bf16)

INLINE vf load_n_f32(const float *p, int64_t n) { return n >= VL ? load_f32(p) : load_part_f32(p, n); }
INLINE vf load_n_bf16(const bf16 *p, int64_t n) { return n >= VL ? load_bf16(p) : load_part_bf16(p, n); }
INLINE void store_n_f32(float *p, int64_t n, vf v) {
  if (n >= VL) store_f32(p, v);
  else store_part_f32(p, n, v);
}
INLINE void store_n_bf16(bf16 *p, int64_t n, vf v) {
  if (n >= VL) store_bf16(p, v);
  else store_part_bf16(p, n, v);
}

// Where sums are kept that are stored at y when they are complete: there, if that
// is float32, else in scratch memory. settle stores n of them.
INLINE float *sums_at(elem *y, float *scratch) {
#ifdef PS_BFLOAT16
  (void)y;
  return scratch;
#else
  (void)scratch;
  return y;
#endif
}

INLINE void settle(elem *y, const float *sums, int64_t n) {
#ifdef PS_BFLOAT16
  for (int64_t i = 0; i < n; i += VL) store_n(y + i, n - i, load_n(sums + i, n - i));
#else
  (void)y, (void)sums, (void)n;
#endif
}

INLINE vf square_root(vf v) {
#if defined(PS_MASK_AVX512)
  return (vf)_mm512_sqrt_ps((__m512)v);
#elif defined(PS_MASK_AVX2)
  return (vf)_mm256_sqrt_ps((__m256)v);
#else
  for (int i = 0; i < VL; i++) v[i] = sqrtf(v[i]);
  return v;
#endif
}

// m ? a : b for a comparison's result m.
INLINE vf pick(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }

// A comparison's result where the instruction set has registers for it: choose picks
// by it, choose_int integers.
#if defined(PS_MASK_AVX512)
typedef __mmask16 vm;
INLINE vf choose(vm m, vf a, vf b) { return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
INLINE vi choose_int(vm m, vi a, vi b) { return (vi)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
INLINE vm same(vi a, vi b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
// Whether v takes the place of the largest value so far: if larger, or a NaN.
INLINE vm above(vf v, vf best) {
  return _mm512_cmp_ps_mask((__m512)v, (__m512)best, _CMP_GT_OQ) | _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
}
// The larger of both, or what is a NaN: choose(above(v, best), v, best).
INLINE vf larger(vf v, vf best) { // the maximum is best where one of both is a NaN
  const vf m = (vf)_mm512_max_ps((__m512)v, (__m512)best);
  return choose(_mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q), v, m);
}
#else
typedef vi vm;
INLINE vf choose(vm m, vf a, vf b) { return pick(m, a, b); }
INLINE vi choose_int(vm m, vi a, vi b) { return (m & a) | (~m & b); }
INLINE vm same(vi a, vi b) { return a == b; }
INLINE vm above(vf v, vf best) { return (v > best) | (v != v); }
INLINE vf larger(vf v, vf best) { return pick(above(v, best), v, best); }
#endif

// Whether activate and slope have the activation; for the others see activation.h.
INLINE int act_inline(int64_t act) { return act <= PS_RELU6; }

// Activations let a NaN through: the comparisons are false for it.
INLINE vf activate(vf v, int64_t act) {
  if (act == PS_IDENTITY) return v;
#if defined(PS_MASK_AVX512) // the second operand is what comes of a NaN, and of two zeros
  v = (vf)_mm512_max_ps((__m512)splat(0), (__m512)v);
  return act == PS_RELU6 ? (vf)_mm512_min_ps((__m512)splat(6), (__m512)v) : v;
#elif defined(PS_MASK_AVX2)
  v = (vf)_mm256_max_ps((__m256)splat(0), (__m256)v);
  return act == PS_RELU6 ? (vf)_mm256_min_ps((__m256)splat(6), (__m256)v) : v;
#else
  v = pick(v < splat(0), splat(0), v);
  return act == PS_RELU6 ? pick(v > splat(6), splat(6), v) : v;
#endif
}

// The slope of the activation where its result is y, as a mask.
INLINE vi slope(vf y, int64_t act) {
  if (act == PS_IDENTITY) return ~(vi){0};
  vi m = ~(y <= splat(0));
  return act == PS_RELU6 ? m & ~(y >= splat(6)) : m;
}

// Makes the compiler forget where p comes from: it would else turn constant
// distances between addresses into registers, and run out of these.
#define OPAQUE(p) __asm__("" : "+r"(p))

INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

// The part [lo, hi) of n things that task t of size `each` covers.
#define TASK_RANGE(lo, hi, t, each, n)      \
  const int64_t lo = (t) * (each);          \
  const int64_t hi = min64(lo + (each), (n))
