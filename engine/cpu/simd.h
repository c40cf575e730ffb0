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

INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
INLINE void store(float *p, vf v) { *(vf_unaligned *)p = v; }
INLINE vf splat(float x) { return x - (vf){0}; }

// The first n floats at p, zeros behind; 0 < n < VL. Nothing behind is touched.
INLINE vf load_part(const float *p, int64_t n) {
#if defined(PS_MASK_AVX512)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(PS_MASK_AVX2)
  static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(mask + 8 - n)));
#else
  float t[VL] = {0};
  for (int64_t i = 0; i < n; i++) t[i] = p[i];
  return load(t);
#endif
}

INLINE void store_part(float *p, int64_t n, vf v) {
#if defined(PS_MASK_AVX512)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(PS_MASK_AVX2)
  static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(mask + 8 - n)), (__m256)v);
#else
  float t[VL];
  store(t, v);
  for (int64_t i = 0; i < n; i++) p[i] = t[i];
#endif
}

// The n floats at p, n ≤ VL.
INLINE vf load_n(const float *p, int64_t n) { return n >= VL ? load(p) : load_part(p, n); }
INLINE void store_n(float *p, int64_t n, vf v) {
  if (n >= VL) store(p, v);
  else store_part(p, n, v);
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

// Whether activate and slope have the activation; for the others see activation.h.
INLINE int act_inline(int64_t act) { return act <= PS_RELU6; }

// Activations let a NaN through: the comparisons are false for it.
INLINE vf activate(vf v, int64_t act) {
  if (act == PS_IDENTITY) return v;
  v = pick(v < splat(0), splat(0), v);
  return act == PS_RELU6 ? pick(v > splat(6), splat(6), v) : v;
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
