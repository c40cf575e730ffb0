// Depthwise convolutions of codes, in exact integers. The taps of a channel are taken
// four at a time: the codes of four rows of a column of x, byte beside byte in the lane
// of their channel, times four weights that lie alike. Where there is an instruction for
// that it is used; else even and odd bytes are widened to two pairs of int16.
//
// Weights are packed by vectors of channels, the last of which begins so early that it
// is full: what it computes twice is the same. In front of each stand its biases less
// X.Zero·Σw; behind them, for each column of the kernel, the rows in fours, those that
// are not there with weights of zero. Padding has the code X.Zero.

enum { QPARTS = 4 / QSTEP };

// Four codes, or four weights, of each channel of a vector.
typedef struct {
  vi part[QPARTS];
} qquad;

INLINE vi qquad_dot(vi acc, qquad x, qquad w) {
  for (int i = 0; i < QPARTS; i++) acc = qdot(acc, x.part[i], w.part[i]);
  return acc;
}

typedef uint32_t vu __attribute__((vector_size(VL * 4)));

INLINE qquad qquad_of(vi bytes) {
#if defined(PS_DOT)
  return (qquad){{bytes}};
#else
  const vi mask = splat_int(0x00ff00ff);
  return (qquad){{bytes & mask, (vi)((vu)bytes >> 8) & mask}};
#endif
}

// The weights w one row further down, behind those of the four rows above.
INLINE qquad qquad_down(qquad w, qquad above) {
#if defined(PS_DOT)
  return (qquad){{w.part[0] << 8 | (vi)((vu)above.part[0] >> 24)}};
#else
  return (qquad){{w.part[1] << 16 | (vi)((vu)above.part[1] >> 16), w.part[0]}};
#endif
}

// The codes of the first n of VL channels in `rows` rows; what else lies in the lanes
// has weights of zero.
INLINE vi interleave(const uint8_t *const p[4], int64_t at, int64_t n, const int rows) {
  if (n < VL) {
    vi v = {0};
    uint8_t *lane = (uint8_t *)&v;
    for (int64_t l = 0; l < n; l++)
      for (int r = 0; r < rows; r++) lane[4 * l + r] = p[r][at + l];
    return v;
  }
#if defined(PS_MASK_AVX512)
  __m512i v = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)(p[0] + at)));
  if (rows > 1) v = _mm512_mask_broadcast_i32x4(v, 0x00f0, _mm_loadu_si128((const __m128i *)(p[1] + at)));
  if (rows > 2) v = _mm512_mask_broadcast_i32x4(v, 0x0f00, _mm_loadu_si128((const __m128i *)(p[2] + at)));
  if (rows > 3) v = _mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128((const __m128i *)(p[3] + at)));
  v = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
  return (vi)_mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
#elif defined(PS_MASK_AVX2)
  __m128i r[4];
  for (int i = 0; i < 4; i++) r[i] = i < rows ? _mm_loadl_epi64((const __m128i *)(p[i] + at)) : _mm_setzero_si128();
  const __m128i a = _mm_unpacklo_epi8(r[0], r[1]), b = _mm_unpacklo_epi8(r[2], r[3]);
  return (vi)_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(a, b)), _mm_unpackhi_epi16(a, b), 1);
#else
  vi v = load_codes(p[0] + at, VL);
  for (int i = 1; i < rows; i++) v |= load_codes(p[i] + at, VL) << 8 * i;
  return v;
#endif
}

// The fours of a column of the kernel; the first channel of vector v, and how many it has.
INLINE int64_t qdw_fours(const qconv_args *a) { return (a->kh + 3) / 4; }
INLINE int64_t qdw_first(const qconv_args *a, int64_t v) { return a->c < VL ? 0 : min64(v * VL, a->c - VL); }
INLINE int64_t qdw_vectors(const qconv_args *a) { return (a->c + VL - 1) / VL; }

// The biases of vector v, with its weights behind them.
INLINE int32_t *qdw_packed(const qconv_args *a, int64_t v) {
  return (int32_t *)a->packed + v * VL * (1 + a->kw * qdw_fours(a) * QPARTS);
}

INLINE qquad qdw_weights(const int32_t *packed, int64_t four) {
  qquad w;
  for (int i = 0; i < QPARTS; i++) w.part[i] = *(const vi_unaligned *)(packed + VL * (1 + four * QPARTS + i));
  return w;
}

// Packs the weights of a vector of channels.
static void qdepthwise_pack(const void *args, int64_t v) {
  const qconv_args *a = args;
  if (v >= qdw_vectors(a)) return; // there are tasks for vectors of four
  const int64_t c = qdw_first(a, v), n = min64(a->c, VL), fours = qdw_fours(a);
  int32_t *bias = qdw_packed(a, v);
  qelem *w = (qelem *)(bias + VL);
  memset(bias, 0, sizeof *bias * VL * (1 + a->kw * fours * QPARTS));
  for (int64_t l = 0; l < n; l++) {
    bias[l] = a->bias[c + l];
    for (int64_t t = 0; t < a->kh * a->kw; t++) {
      const int8_t weight = a->w[t * a->c + c + l];
      const int64_t row = t / a->kw % 4, part = row % QPARTS, four = t % a->kw * fours + t / a->kw / 4;
      w[((four * QPARTS + part) * VL + l) * QSTEP + row / QPARTS] = weight;
      bias[l] -= qzero(a) * weight;
    }
  }
}

// What a task reads: X.Zero in all codes of a row, for padding.
typedef struct {
  const qconv_args *a;
  const uint8_t *padding;
  qcoder coder;
} qdw;

enum { QWINDOW = 512 }; // taps of a kernel, at most

// All channels of pixel (i, j) of a picture, any kernel.
INLINE void qdw_pixel(const qdw *d, const uint8_t *x, int64_t i, int64_t j, int64_t at) {
  const qconv_args *a = d->a;
  const int64_t line = 4 * qdw_fours(a), h0 = i * a->sh - a->top, w0 = j * a->sw - a->left;
  const uint8_t *p[4 * QWINDOW];
  for (int64_t s = 0; s < a->kw; s++)
    for (int64_t r = 0; r < line; r++) {
      const int64_t h = h0 + r * a->dilh, w = w0 + s * a->dilw;
      const int inside = r < a->kh && h >= 0 && h < a->h && w >= 0 && w < a->w_;
      p[s * line + r] = inside ? x + (h * a->w_ + w) * a->c : d->padding;
    }
  for (int64_t v = 0; v < qdw_vectors(a); v++) {
    const int64_t c = qdw_first(a, v), n = min64(a->c, VL);
    const int32_t *packed = qdw_packed(a, v);
    vi acc = *(const vi_unaligned *)packed;
    for (int64_t f = 0; 4 * f < a->kw * line; f++) {
      const vi codes = n < VL ? interleave(p + 4 * f, c, n, 4) : interleave(p + 4 * f, c, VL, 4);
      acc = qquad_dot(acc, qquad_of(codes), qdw_weights(packed, f));
    }
    const vf y = as_floats(acc) * load_n(a->m + c, n);
    if (a->floats) store_n((float *)a->y + at + c, n, y);
    else store_codes((uint8_t *)a->y + at + c, n, codes_of(&d->coder, y));
  }
}

// Kernels of K x K, K being 3 or 5, with stride S, for R rows of y together, 4/R pixels
// of each at a time: K, S and R are constants where this is inlined. A column of x is
// read once for all the sums that it is part of: R rows of y whose stride is 1 have
// their weights in one column of K+R-1 rows, those of the second one further down.
typedef struct {
  qquad weights[2][5][2], kept[4][2], padding;
  const uint8_t *rows[8]; // of x, at the channels
  uint8_t *y[2];
  vi bias;
  vf m;
} qdw_line;

// Column j of x, in fours of rows.
INLINE void qdw_column(const qdw *d, const qdw_line *l, const int rows, int64_t j, const int inside, qquad *to) {
  if (!inside && (j < 0 || j >= d->a->w_)) {
    to[0] = to[1] = l->padding;
    return;
  }
  to[0] = qquad_of(interleave(l->rows, j * d->a->c, VL, rows < 4 ? rows : 4));
  if (rows > 4) to[1] = qquad_of(interleave(l->rows + 4, j * d->a->c, VL, rows - 4));
}

// Pixels j to j+4/R-1 of R rows of y, those before `end`; the columns before the new
// ones are kept.
INLINE void qdw_pixels(const qdw *d, qdw_line *l, const int K, const int S, const int R, int64_t j, int64_t end, const int inside) {
  const int P = 4 / R, Q = (K + 3) / 4;
  const int64_t first = j * S - d->a->left;
  vi acc[4] = {l->bias, l->bias, l->bias, l->bias};
#pragma GCC unroll 16
  for (int k = 0; k < K - S + S * P; k++) {
    qquad x[2] = {l->padding, l->padding};
    if (k < K - S) x[0] = l->kept[k][0], x[1] = l->kept[k][1];
    else qdw_column(d, l, K + R - 1, first + k, inside, x);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
      if (k >= S * p && k < S * p + K)
#pragma GCC unroll 2
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
          for (int q = 0; q < Q; q++) acc[r * P + p] = qquad_dot(acc[r * P + p], x[q], l->weights[r][k - S * p][q]);
    if (k >= S * P) l->kept[k - S * P][0] = x[0], l->kept[k - S * P][1] = x[1];
  }
  vf v[4];
  uint8_t *to[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) v[i] = as_floats(acc[i]) * l->m, to[i] = l->y[i / P] + (j + i % P) * d->a->c;
  if (inside || j + P <= end) store_four(to, &d->coder, v, 0);
  else
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      if (j + i % P < end) store_codes(to[i], VL, codes_of(&d->coder, v[i]));
}

// R rows of y, from row i of a picture on, a vector of channels.
INLINE void qdw_rows(const qdw *d, const int K, const int S, const int R, const uint8_t *const *rows, uint8_t *y, int64_t v) {
  const qconv_args *a = d->a;
  const int P = 4 / R, Q = (K + 3) / 4;
  const int64_t c = qdw_first(a, v);
  const int32_t *packed = qdw_packed(a, v);
  qdw_line l;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) l.rows[i] = rows[i < K + R - 1 ? i : 0] + c;
  l.padding = qquad_of(splat_int((int32_t)((uint32_t)a->xzero * 0x1010101u)));
  l.bias = *(const vi_unaligned *)packed, l.m = load(a->m + c);
  l.y[0] = y + c, l.y[1] = y + a->ow * a->c + c;
  const qquad none = qquad_of((vi){0});
#pragma GCC unroll 5
  for (int s = 0; s < K; s++)
#pragma GCC unroll 2
    for (int q = 0; q < Q; q++) {
      l.weights[0][s][q] = qdw_weights(packed, s * Q + q);
      if (R > 1) l.weights[1][s][q] = qquad_down(l.weights[0][s][q], q ? l.weights[0][s][0] : none);
    }
#pragma GCC unroll 4
  for (int k = 0; k < K - S; k++) qdw_column(d, &l, K + R - 1, k - a->left, 0, l.kept[k]);
  for (int64_t j = 0; j < a->ow; j += P) {
    const int64_t first = j * S - a->left + K - S;
    if (first >= 0 && first + S * P <= a->w_ && j + P <= a->ow) qdw_pixels(d, &l, K, S, R, j, a->ow, 1);
    else qdw_pixels(d, &l, K, S, R, j, a->ow, 0);
  }
}

// How many rows of y, of `left`, are computed together; 0 where it goes by pixels.
INLINE int qdw_together(const qconv_args *a, int64_t left) {
  if (a->floats || a->c < VL || a->kh != a->kw || (a->kh != 3 && a->kh != 5) || a->dilh != 1 || a->dilw != 1 || a->sh != a->sw || a->sh > 2) return 0;
  return a->sh == 1 && left > 1 ? 2 : 1;
}

// A task: some rows of outputs.
static void qdepthwise(const void *args, int64_t task) {
  const qconv_args *a = args;
  uint8_t *padding = (uint8_t *)ps_scratch();
  memset(padding, (int)a->xzero, a->w_ * a->c);
  const qdw d = {a, padding, CODER(a)};
  const int64_t line = a->w_ * a->c;
  TASK_RANGE(lo, hi, task, a->block, a->n * a->oh);
  for (int64_t row = lo, next; row < hi; row = next) {
    const int64_t i = row % a->oh, at = row * a->ow * a->c;
    const uint8_t *x = a->x + row / a->oh * a->h * line, *rows[8];
    const int together = qdw_together(a, min64(hi - row, a->oh - i));
    next = row + (together ? together : 1);
    if (!together) {
      for (int64_t j = 0; j < a->ow; j++) qdw_pixel(&d, x, i, j, at + j * a->c);
      continue;
    }
    for (int64_t u = 0; u < a->kh + together - 1; u++) {
      const int64_t h = i * a->sh - a->top + u;
      rows[u] = h < 0 || h >= a->h ? padding : x + h * line;
    }
    uint8_t *y = (uint8_t *)a->y + at;
#define QDW_ROWS(K, S, R) \
  for (int64_t v = 0; v < qdw_vectors(a); v++) qdw_rows(&d, K, S, R, rows, y, v)
    if (a->kh == 3 && a->sh == 1 && together == 2) QDW_ROWS(3, 1, 2);
    else if (a->kh == 3 && a->sh == 1) QDW_ROWS(3, 1, 1);
    else if (a->kh == 3) QDW_ROWS(3, 2, 1);
    else if (a->sh == 1 && together == 2) QDW_ROWS(5, 1, 2);
    else if (a->sh == 1) QDW_ROWS(5, 1, 1);
    else QDW_ROWS(5, 2, 1);
#undef QDW_ROWS
  }
}
