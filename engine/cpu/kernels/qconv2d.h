// Convolutions and linear layers of codes: engine.QConv2D has the formula. An
// output's channels are computed VL at a time, those of a vector for several pixels
// at once. What a pixel reads is lines of elements, one for each row of the kernel, at
// equal distances: x itself where the kernel has one pixel; else, where there are no
// groups, of a copy of the rows of x that a task reads, with their padding; else of its
// taps one behind the other, of a group's channels each, gathered pixel by pixel.
//
// Weights are packed by vectors of outputs: for each step of QSTEP elements of a row
// those of all VL outputs. On processors with VNNI (x86-64) or FEAT_DotProd (arm64) a
// step is four products of bytes, summed in int32 without saturation, else two of int16
// (vpmaddwd on x86-64), which are exact as well: two products of codes fit into int32,
// not into int16. In front of the weights are the biases less X.Zero·Σw, so that rows may
// hold codes as they are; on arm64, which multiplies signed bytes, less (X.Zero-128)·Σw
// for codes less 128.

#if defined(PS_DOT)
typedef uint8_t qelem;
enum { QSTEP = 4 };
#else
typedef int16_t qelem;
enum { QSTEP = 2 };
#endif

// acc + the step's products: x has the step of one row in each lane.
INLINE vi qdot(vi acc, vi x, vi w) {
#if defined(PS_DOT) && VL == 16
  return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif defined(PS_DOT) && defined(__aarch64__) // which has signed by signed bytes
  return (vi)vdotq_s32((int32x4_t)acc, (int8x16_t)(x ^ splat_int((int32_t)0x80808080u)), (int8x16_t)w);
#elif defined(PS_DOT)
  return (vi)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)x, (__m256i)w);
#elif defined(PS_MASK_AVX512)
  return acc + (vi)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif defined(PS_MASK_AVX2)
  return acc + (vi)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#elif defined(__SSE2__)
  return acc + (vi)_mm_madd_epi16((__m128i)x, (__m128i)w);
#else
  return acc + (x << 16 >> 16) * (w << 16 >> 16) + (x >> 16) * (w >> 16);
#endif
}

typedef int32_t int_unaligned __attribute__((aligned(1), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));

// What stands for the number 0 among the bytes that are multiplied.
INLINE int32_t qzero(const qconv_args *a) {
#if defined(PS_DOT) && defined(__aarch64__)
  return (int32_t)a->xzero - 128;
#else
  return (int32_t)a->xzero;
#endif
}

// The steps of a line, and of all lines. What a line's last step reads behind it has
// weights of zero.
INLINE int64_t qline(const qconv_args *a) { return (a->kw * a->cg + QSTEP - 1) / QSTEP; }
INLINE int64_t qsteps(const qconv_args *a) { return a->kh * qline(a); }
INLINE int64_t qvectors(const qconv_args *a) { return (a->og + VL - 1) / VL; }

// The biases of vector v of group g, and its weights.
INLINE int32_t *qbias_at(const qconv_args *a, int64_t g, int64_t v) { return (int32_t *)a->packed + (g * qvectors(a) + v) * VL; }
INLINE int32_t *qweights_at(const qconv_args *a, int64_t g, int64_t v) {
  return (int32_t *)a->packed + (a->groups * qvectors(a) + (g * qvectors(a) + v) * qsteps(a)) * VL;
}

// Packs the weights of a group.
static void qpack(const void *args, int64_t g) {
  const qconv_args *a = args;
  const int64_t each = a->kw * a->cg, line = qline(a);
  for (int64_t v = 0; v < qvectors(a); v++) {
    int32_t sum[VL] = {0}, *bias = qbias_at(a, g, v);
    qelem *dst = (qelem *)qweights_at(a, g, v);
    for (int64_t s = 0; s < qsteps(a); s++)
      for (int64_t l = 0; l < VL; l++)
        for (int64_t e = 0; e < QSTEP; e++) {
          const int64_t k = s % line * QSTEP + e, o = v * VL + l;
          const int8_t w = k < each && o < a->og ? a->w[(s / line * each + k) * a->o + g * a->og + o] : 0;
          sum[l] += w;
          *dst++ = (qelem)w;
        }
    for (int64_t l = 0; l < VL; l++) {
      const int64_t o = v * VL + l;
      bias[l] = o < a->og ? a->bias[g * a->og + o] - qzero(a) * sum[l] : 0;
    }
  }
}

// n codes as elements of a row.
INLINE void qcopy(qelem *to, const uint8_t *from, int64_t n) {
#if defined(PS_DOT) // in pieces of one size, the last two of which may overlap
  if (n >= 16) {
    for (int64_t i = 0; i + 16 <= n; i += 16) memcpy(to + i, from + i, 16);
    memcpy(to + n - 16, from + n - 16, 16);
  } else if (n >= 8) {
    memcpy(to, from, 8);
    memcpy(to + n - 8, from + n - 8, 8);
  } else if (n >= 4) {
    memcpy(to, from, 4);
    memcpy(to + n - 4, from + n - 4, 4);
  } else {
    for (int64_t i = 0; i < n; i++) to[i] = from[i];
  }
#else
  for (int64_t i = 0; i < n; i++) to[i] = from[i];
#endif
}

// Sets n elements to the same. It is given the value: what is stored might, for all that C
// knows, be a part of the arguments, which were then read anew for each element.
INLINE void qfill(qelem *to, int64_t n, qelem value) {
  for (int64_t i = 0; i < n; i++) to[i] = value;
}

// A pixel of y.
typedef struct {
  int64_t image, i, j;
} qpixel;

INLINE qpixel qpixel_at(const qconv_args *a, int64_t p) { return (qpixel){p / (a->oh * a->ow), p / a->ow % a->oh, p % a->ow}; }

INLINE void qpixel_next(const qconv_args *a, qpixel *at) {
  if (++at->j < a->ow) return;
  at->j = 0;
  if (++at->i == a->oh) at->i = 0, at->image++;
}

// The lines of a pixel of a group.
INLINE void qgather(const qconv_args *a, qelem *row, qpixel at, int64_t g) {
  const uint8_t *x = a->x + at.image * a->h * a->w_ * a->c + g * a->cg;
  const int64_t h0 = at.i * a->sh - a->top, w0 = at.j * a->sw - a->left, line = qline(a) * QSTEP;
  for (int64_t u = 0; u < a->kh; u++, row += line) {
    const int64_t h = h0 + u * a->dilh;
    qelem *to = row;
    for (int64_t v = 0; v < a->kw; v++, to += a->cg) {
      const int64_t w = w0 + v * a->dilw;
      if (h >= 0 && h < a->h && w >= 0 && w < a->w_) qcopy(to, x + (h * a->w_ + w) * a->c, a->cg);
      else qfill(to, a->cg, (qelem)a->xzero);
    }
    qfill(to, row + line - to, 0);
  }
}

// How many pixels are computed together: with as many vectors as there are, and with
// one or two, whose sums would else wait for each other.
#define QROWS 6
#define QFEW 12
#if VL == 16
#define QVECTORS 4
#else
#define QVECTORS 2
#endif
enum { QBLOCK = 192 }; // pixels of a task, at most

// The pixels of a task: where their lines are, how many steps a line has, the distance
// of lines, and what is common to all outputs.
typedef struct {
  const qelem *rows[QBLOCK + QFEW];
  int64_t lines, line, steps, stride;
  int64_t p0, p1, group, v0, v1;
  qcoder coder, product; // of what is stored, and of the product where it is added to something
  qterms terms;
  const char *next; // the weights that the thread reads after these, null if they are not known
  int64_t each;     // bytes of them that are fetched in each step of a tile
} qpixels;

// What a task computes: a block of pixels, of a group, of which it has a part of the vectors of
// outputs.
INLINE qpixels qpixels_of(const qconv_args *a, int64_t task) {
  const int64_t split = task % a->splits, vectors = qvectors(a);
  TASK_RANGE(p0, p1, task / a->splits / a->groups, a->block, a->n * a->oh * a->ow);
  qpixels t = {.lines = 1, .line = qsteps(a), .steps = qsteps(a), .p0 = p0, .p1 = p1, .group = task / a->splits % a->groups,
               .v0 = vectors * split / a->splits, .v1 = vectors * (split + 1) / a->splits, .coder = CODER(a)};
  if (a->sum) t.product = t.coder, t.coder = CODER(a->sum), t.terms = qterms_of(a->sum);
  return t;
}

// The sum of the codes of a product v and of n codes at b.
INLINE vf qsummed(const qpixels *t, vf v, const uint8_t *b, int64_t n) {
  return qadd_sum(&t->terms, codes_of(&t->product, v), b, n);
}

// What becomes of the sums of a tile, R pixels times N vectors of outputs from vector v on;
// the first `keep` pixels are stored.
INLINE void qfinish(const qconv_args *a, const int R, const int N, const qpixels *t, vi acc[QFEW][QVECTORS], int64_t pixel, int64_t keep,
                    int64_t v) {
  const int64_t at = t->group * a->og + v * VL, left = a->og - v * VL, each = a->o, from = pixel * each + at;
  vf out[QFEW][QVECTORS];
  for (int n = 0; n < N; n++) {
    const vf m = load_n(a->m + at + n * VL, left - n * VL);
    for (int r = 0; r < R; r++) out[r][n] = as_floats(acc[r][n]) * m;
  }
  if (a->floats) {
    float *y = (float *)a->y + from;
    for (int r = 0; r < R && r < keep; r++, y += each)
      for (int n = 0; n < N; n++) store_n(y + n * VL, left - n * VL, out[r][n]);
    return;
  }
  uint8_t *y = (uint8_t *)a->y + from;
  const uint8_t *b = a->sum ? (const uint8_t *)a->sum->b + from : 0;
  const qcoder coder = t->coder;
  if (keep < R || left < N * VL) {
    for (int r = 0; r < R && r < keep; r++, y += each, b += b ? each : 0)
      for (int n = 0; n < N; n++) {
        const int64_t some = left - n * VL;
        store_codes(y + n * VL, some, codes_of(&coder, b ? qsummed(t, out[r][n], b + n * VL, some) : out[r][n]));
      }
    return;
  }
  if (b)
    for (int r = 0; r < R; r++)
      for (int n = 0; n < N; n++) out[r][n] = qsummed(t, out[r][n], b + r * each + n * VL, VL);
#pragma GCC unroll 8
  for (int k = 0; k + 4 <= R * N; k += 4) {
    vf four[4];
    uint8_t *to[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int r = (k + i) / N, n = (k + i) % N;
      four[i] = out[r][n], to[i] = y + r * each + n * VL;
    }
    store_four(to, &coder, four, N == 4);
  }
#pragma GCC unroll 4
  for (int k = R * N / 4 * 4; k < R * N; k++) {
    const int r = k / N, n = k % N;
    store_codes(y + r * each + n * VL, VL, codes_of(&coder, out[r][n]));
  }
}

#if defined(PS_TILES)
#include "qconv2d_tiles.h"
#else
#include "qconv2d_vectors.h"
#endif
