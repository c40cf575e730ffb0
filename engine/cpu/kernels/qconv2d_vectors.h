// Convolutions of codes by vectors: the sums of some pixels times some vectors of outputs live in
// registers.

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
  qpixel at = qpixel_at(a, p0);
  while (p0 < p1) {
    const int64_t h = at.i * a->sh - a->top;
    if (x == 0 || at.i == 0) x = a->x + at.image * a->h * a->w_ * a->c, first = next, begin = end = h;
    for (; end <= h + last; end++, next += line) qpadded(a, next, x, end);
    for (; at.j < a->ow && p0 < p1; at.j++, p0++) *rows++ = first + (h - begin) * line + at.j * a->sw * a->c;
    at.j = 0;
    if (++at.i == a->oh) at.i = 0, at.image++;
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
// task, or else of the part that the thread is likely to take next, `threads` parts further on. A
// step of a tile fetches one line, so that there must be tiles enough for all.
INLINE void qnext(const qconv_args *a, qpixels *t, int64_t v) {
  enum { LINE = 64, BYTES = QVECTORS * VL * 4 }; // of the cache; of a step of all vectors
  const int64_t next = v + 2 * QVECTORS <= t->v1 ? v + QVECTORS : t->v1 + (a->threads - 1) * (t->v1 - t->v0);
  const int64_t tiles = (t->p1 - t->p0) / QROWS;
  t->next = tiles * LINE >= BYTES && next + QVECTORS <= qvectors(a) ? (const char *)qweights_at(a, t->group, next) : 0;
  if (t->next) t->each = (BYTES + tiles - 1) / tiles;
}

static void qconv(const void *args, int64_t task) {
  const qconv_args *a = args;
  qpixels t = qpixels_of(a, task);
  const int64_t p0 = t.p0, p1 = t.p1, v1 = t.v1;
  if (t.v0 == v1) return;
  if (a->way == PS_QCONV_ROWS) {
    t.lines = a->kh, t.line = qline(a), t.stride = a->dilh * qcolumns(a) * a->c;
    qrows(a, t.rows, p0, p1);
  } else {
    qelem *scratch = (qelem *)ps_scratch();
    qpixel at = qpixel_at(a, p0);
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
      qpixel_next(a, &at);
    }
  }
  for (int i = 0; i < QFEW; i++) t.rows[p1 - p0 + i] = t.rows[p1 - p0 - 1];
  int64_t v = t.v0;
#if QVECTORS > 2
  for (; v + QVECTORS <= v1; v += QVECTORS) {
    qnext(a, &t, v);
    QTILES(QVECTORS, QROWS)
  }
  t.next = 0;
  for (; v + 2 <= v1; v += 2) QTILES(2, QFEW)
#else
  for (; v + 2 <= v1; v += 2) {
    qnext(a, &t, v);
    QTILES(2, QROWS)
  }
  t.next = 0;
#endif
  for (; v < v1; v++) QTILES(1, QFEW)
}
