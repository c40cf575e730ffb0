// Convolutions and linear layers of codes: engine.QConv2D has the formula. An
// output's channels are computed VL at a time, those of a vector for several pixels
// at once. What a pixel reads of x is one row: its taps one behind the other, of a
// group's channels each, or x itself where the kernel has one pixel.
//
// Weights are packed by vectors of outputs: for each step of QSTEP elements of a row
// those of all VL outputs. On processors with VNNI a step is four products of uint8
// and int8, summed in int32 without saturation, else two of int16 (vpmaddwd on
// x86-64), which are exact as well: two products of codes fit into int32, not into
// int16. In front of the weights are the biases less X.Zero·Σw, so that rows may hold
// codes as they are.

#if defined(PS_VNNI)
typedef uint8_t qelem;
enum { QSTEP = 4 };
#else
typedef int16_t qelem;
enum { QSTEP = 2 };
#endif

// acc + the step's products: x has the step of one row in each lane.
INLINE vi qdot(vi acc, vi x, vi w) {
#if defined(PS_VNNI) && VL == 16
  return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif defined(PS_VNNI)
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

INLINE int64_t qsteps(const qconv_args *a) { return (a->k + QSTEP - 1) / QSTEP; }
INLINE int64_t qvectors(const qconv_args *a) { return (a->og + VL - 1) / VL; }

// The biases of vector v of group g, and its weights.
INLINE int32_t *qbias_at(const qconv_args *a, int64_t g, int64_t v) { return (int32_t *)a->packed + (g * qvectors(a) + v) * VL; }
INLINE int32_t *qweights_at(const qconv_args *a, int64_t g, int64_t v) {
  return (int32_t *)a->packed + (a->groups * qvectors(a) + (g * qvectors(a) + v) * qsteps(a)) * VL;
}

// Packs the weights of a group.
static void qpack(const void *args, int64_t g) {
  const qconv_args *a = args;
  for (int64_t v = 0; v < qvectors(a); v++) {
    int32_t sum[VL] = {0}, *bias = qbias_at(a, g, v);
    qelem *dst = (qelem *)qweights_at(a, g, v);
    for (int64_t s = 0; s < qsteps(a); s++)
      for (int64_t l = 0; l < VL; l++)
        for (int64_t e = 0; e < QSTEP; e++) {
          const int64_t k = s * QSTEP + e, o = v * VL + l;
          const int8_t w = k < a->k && o < a->og ? a->w[k * a->o + g * a->og + o] : 0;
          sum[l] += w;
          *dst++ = (qelem)w;
        }
    for (int64_t l = 0; l < VL; l++) {
      const int64_t o = v * VL + l;
      bias[l] = o < a->og ? a->bias[g * a->og + o] - (int32_t)a->xzero * sum[l] : 0;
    }
  }
}

// The row of a pixel of a group, at most a->k elements and the rest of a step.
INLINE void qgather(const qconv_args *a, qelem *row, int64_t pixel, int64_t g) {
  const int64_t j = pixel % a->ow, i = pixel / a->ow % a->oh, image = pixel / a->ow / a->oh;
  const uint8_t *x = a->x + image * a->h * a->w_ * a->c + g * a->cg;
  const int64_t h0 = i * a->sh - a->top, w0 = j * a->sw - a->left;
  const int whole = a->dilw == 1 && a->groups == 1 && w0 >= 0 && w0 + a->kw <= a->w_; // a kernel's row lies in one piece
  qelem *end = row + qsteps(a) * QSTEP;
  for (int64_t u = 0; u < a->kh; u++) {
    const int64_t h = h0 + u * a->dilh;
    const int inside = h >= 0 && h < a->h;
    const int64_t pieces = whole || !inside ? 1 : a->kw, n = whole || !inside ? a->kw * a->cg : a->cg;
    for (int64_t v = 0; v < pieces; v++, row += n) {
      const int64_t w = w0 + v * a->dilw;
      if (!inside || (!whole && (w < 0 || w >= a->w_))) {
        for (int64_t c = 0; c < n; c++) row[c] = (qelem)a->xzero;
        continue;
      }
      const uint8_t *p = x + (h * a->w_ + w) * a->c;
#if defined(PS_VNNI)
      if (n == 3) row[0] = p[0], row[1] = p[1], row[2] = p[2];
      else memcpy(row, p, n);
#else
      for (int64_t c = 0; c < n; c++) row[c] = p[c];
#endif
    }
  }
  while (row < end) *row++ = 0;
}

#define QROWS 6
#if VL == 16
#define QVECTORS 4
#else
#define QVECTORS 2
#endif
enum { QBLOCK = 96 }; // pixels of a task, at most

// R pixels times N vectors of outputs from vector v on; the first `keep` pixels are
// stored. R and N are constants where this is inlined, so acc lives in registers.
INLINE void qtile(const qconv_args *a, const int R, const int N, const qelem *const *rows, int64_t pixel, int64_t keep, int64_t g,
                  int64_t v) {
  vi acc[QROWS][QVECTORS];
  const int64_t steps = qsteps(a);
  const int32_t *bias = qbias_at(a, g, v), *w = qweights_at(a, g, v);
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = *(const vi_unaligned *)(bias + n * VL);
  for (int64_t s = 0; s < steps; s++) {
    vi wv[QVECTORS];
    for (int n = 0; n < N; n++) wv[n] = *(const vi_unaligned *)(w + (n * steps + s) * VL);
    for (int r = 0; r < R; r++) {
      const vi x = splat_int(((const int_unaligned *)rows[r])[s]);
      for (int n = 0; n < N; n++) acc[r][n] = qdot(acc[r][n], x, wv[n]);
    }
  }
  for (int n = 0; n < N; n++) {
    const int64_t o = (v + n) * VL, left = a->og - o, at = g * a->og + o;
    const vf m = load_n(a->m + at, left);
    for (int r = 0; r < R && r < keep; r++) {
      const vf y = as_floats(acc[r][n]) * m;
      if (a->floats) store_n((float *)a->y + (pixel + r) * a->o + at, left, y);
      else store_codes((uint8_t *)a->y + (pixel + r) * a->o + at, left, CODES_OF(a, y));
    }
  }
}

#define QTILES(N)                                                                                             \
  for (int64_t p = p0; p < p1; p += QROWS) {                                                                  \
    if (p1 - p > QROWS / 2 || p1 - p0 >= QROWS) qtile(a, QROWS, N, rows + (p - p0), p, p1 - p, g, v);          \
    else                                                                                                      \
      for (int64_t q = p; q < p1; q++) qtile(a, 1, N, rows + (q - p0), q, 1, g, v);                            \
  }

// A task: a block of pixels, a group, and a part of its vectors of outputs.
static void qconv(const void *args, int64_t task) {
  const qconv_args *a = args;
  const int64_t split = task % a->splits, g = task / a->splits % a->groups, vectors = qvectors(a);
  TASK_RANGE(p0, p1, task / a->splits / a->groups, a->block, a->n * a->oh * a->ow);
  const int64_t v0 = vectors * split / a->splits, v1 = vectors * (split + 1) / a->splits;
  if (v0 == v1) return;
  const qelem *rows[QBLOCK + QROWS];
  qelem *scratch = (qelem *)ps_scratch();
  for (int64_t p = p0; p < p1; p++) {
#if defined(PS_VNNI)
    if (a->direct) {
      rows[p - p0] = a->x + p * a->c + g * a->cg;
      continue;
    }
#endif
    qgather(a, scratch, p, g);
    rows[p - p0] = scratch;
    scratch += qsteps(a) * QSTEP;
  }
  for (int i = 0; i < QROWS; i++) rows[p1 - p0 + i] = rows[p1 - p0 - 1];
  int64_t v = v0;
  for (; v + QVECTORS <= v1; v += QVECTORS) QTILES(QVECTORS)
#if QVECTORS > 2
  for (; v + 2 <= v1; v += 2) QTILES(2)
#endif
  for (; v < v1; v++) QTILES(1)
}
