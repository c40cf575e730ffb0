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

// The columns of x that the pixels of a row read, with those of the padding.
INLINE int64_t qcolumns(const qconv_args *a) { return (a->ow - 1) * a->sw + a->kw; }

// Row h of a picture with its padding, as many columns.
INLINE void qpadded(const qconv_args *a, qelem *to, const uint8_t *x, int64_t h) {
  const int64_t columns = qcolumns(a), read = h < 0 || h >= a->h ? 0 : min64(a->w_, columns - a->left);
  const int64_t n = read > 0 ? read * a->c : 0;
  const int64_t before = n > 0 ? a->left * a->c : 0;
  qfill(to, before, (qelem)a->xzero);
  if (n > 0) qcopy(to + before, x + h * a->w_ * a->c, n);
  qfill(to + before + n, columns * a->c - before - n, (qelem)a->xzero);
}

// Copies the rows of x that the pixels from p0 to p1 read, and finds their lines.
INLINE void qrows(const qconv_args *a, const qelem **rows, int64_t p0, int64_t p1) {
  const int64_t line = qcolumns(a) * a->c, last = (a->kh - 1) * a->dilh;
  qelem *next = (qelem *)ps_scratch(), *first = next;
  const uint8_t *x = 0;
  int64_t begin = 0, end = 0; // the rows of the picture that are there, from first on
  qpixel at = {p0 / (a->oh * a->ow), p0 / a->ow % a->oh, p0 % a->ow};
  while (p0 < p1) {
    const int64_t h = at.i * a->sh - a->top;
    if (x == 0 || at.i == 0) x = a->x + at.image * a->h * a->w_ * a->c, first = next, begin = end = h;
    for (; end <= h + last; end++, next += line) qpadded(a, next, x, end);
    for (; at.j < a->ow && p0 < p1; at.j++, p0++) *rows++ = first + (h - begin) * line + at.j * a->sw * a->c;
    at.j = 0;
    if (++at.i == a->oh) at.i = 0, at.image++;
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
  int64_t p0, p1, group;
  qcoder coder, product; // of what is stored, and of the product where it is added to something
  qterms terms;
  const char *next; // the weights that the thread reads after these, null if they are not known
  int64_t each;     // bytes of them that are fetched in each step of a tile
} qpixels;

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

// R pixels times N vectors of outputs from vector v on; the first `keep` pixels are
// stored. With `fetch` the weights of the next vectors are fetched into the second cache,
// some by each tile: those of large layers would else come from afar when they are wanted.
// R, N and fetch are constants where this is inlined, so acc lives in registers.
INLINE void qtile(const qconv_args *a, const int R, const int N, const int fetch, const qpixels *t, int64_t pixel, int64_t keep, int64_t v) {
  vi acc[QFEW][QVECTORS];
  const qelem *const *rows = t->rows + (pixel - t->p0);
  const int32_t *bias = qbias_at(a, t->group, v), *w = qweights_at(a, t->group, v);
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = *(const vi_unaligned *)(bias + n * VL);
  const int64_t each = t->each;
  const char *next = t->next + (fetch ? (pixel - t->p0) / R * t->steps * each : 0);
  for (int64_t u = 0; u < t->lines; u++)
    for (int64_t s = 0; s < t->line; s++, w += VL) {
      if (fetch) __builtin_prefetch(next, 0, 2), next += each;
      vi wv[QVECTORS];
      for (int n = 0; n < N; n++) wv[n] = *(const vi_unaligned *)(w + n * t->steps * VL);
      for (int r = 0; r < R; r++) {
        const vi x = splat_int(((const int_unaligned *)(rows[r] + u * t->stride))[s]);
        for (int n = 0; n < N; n++) acc[r][n] = qdot(acc[r][n], x, wv[n]);
      }
    }
  qfinish(a, R, N, t, acc, pixel, keep, v);
}

// N vectors from vector v on of all pixels, R at a time.
#define QTILES(N, R)                                                                                          \
  for (int64_t p = t.p0; p < t.p1;) {                                                                         \
    const int64_t left = t.p1 - p;                                                                            \
    if (N == QVECTORS && t.next && left >= R) qtile(a, R, N, 1, &t, p, left, v), p += R;                       \
    else if (left > R - R / 4) qtile(a, R, N, 0, &t, p, left, v), p += R;                                      \
    else if (left > QROWS / 2) qtile(a, QROWS, N, 0, &t, p, left, v), p += QROWS;                              \
    else qtile(a, 1, N, 0, &t, p, 1, v), p++;                                                                  \
  }

// Has the tiles of QVECTORS vectors from v on fetch the weights of the next as many: those of the
// task, or else of the part that the thread is likely to take next, `threads` parts further on.
INLINE void qnext(const qconv_args *a, qpixels *t, int64_t v, int64_t v0, int64_t v1) {
  const int64_t next = v + 2 * QVECTORS <= v1 ? v + QVECTORS : v1 + (a->threads - 1) * (v1 - v0);
  const int64_t tiles = (t->p1 - t->p0) / QROWS;
  t->next = tiles && next + QVECTORS <= qvectors(a) ? (const char *)qweights_at(a, t->group, next) : 0;
  if (t->next) t->each = (QVECTORS * VL * (int64_t)sizeof(int32_t) + tiles - 1) / tiles;
}

// A task: a block of pixels, a group, and a part of its vectors of outputs.
static void qconv(const void *args, int64_t task) {
  const qconv_args *a = args;
  const int64_t split = task % a->splits, vectors = qvectors(a);
  TASK_RANGE(p0, p1, task / a->splits / a->groups, a->block, a->n * a->oh * a->ow);
  const int64_t v0 = vectors * split / a->splits, v1 = vectors * (split + 1) / a->splits;
  if (v0 == v1) return;
  qpixels t = {.lines = 1, .line = qsteps(a), .steps = qsteps(a), .p0 = p0, .p1 = p1, .group = task / a->splits % a->groups, .coder = CODER(a)};
  if (a->sum) t.product = t.coder, t.coder = CODER(a->sum), t.terms = qterms_of(a->sum);
  if (a->way == PS_QCONV_ROWS) {
    t.lines = a->kh, t.line = qline(a), t.stride = a->dilh * qcolumns(a) * a->c;
    qrows(a, t.rows, p0, p1);
  } else {
    qelem *scratch = (qelem *)ps_scratch();
    qpixel at = {p0 / (a->oh * a->ow), p0 / a->ow % a->oh, p0 % a->ow};
    for (int64_t p = p0; p < p1; p++) {
#if defined(PS_DOT)
      if (a->way == PS_QCONV_DIRECT) {
        t.rows[p - p0] = a->x + ((at.image * a->h + at.i * a->sh) * a->w_ + at.j * a->sw) * a->c + t.group * a->cg;
      } else
#endif
      {
        qgather(a, scratch, at, t.group);
        t.rows[p - p0] = scratch;
        scratch += t.steps * QSTEP;
      }
      if (++at.j == a->ow) {
        at.j = 0;
        if (++at.i == a->oh) at.i = 0, at.image++;
      }
    }
  }
  for (int i = 0; i < QFEW; i++) t.rows[p1 - p0 + i] = t.rows[p1 - p0 - 1];
  int64_t v = v0;
#if QVECTORS > 2
  for (; v + QVECTORS <= v1; v += QVECTORS) {
    qnext(a, &t, v, v0, v1);
    QTILES(QVECTORS, QROWS)
  }
  t.next = 0;
  for (; v + 2 <= v1; v += 2) QTILES(2, QFEW)
#else
  for (; v + 2 <= v1; v += 2) {
    qnext(a, &t, v, v0, v1);
    QTILES(2, QROWS)
  }
  t.next = 0;
#endif
  for (; v < v1; v++) QTILES(1, QFEW)
}
